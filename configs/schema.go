package configs

import (
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Setting is one line of the reference: a setting that a file may have.
type Setting struct {
	Path     string // such as apps[].limits.event_bytes
	Takes    string // what it may be, for a person
	Default  string // as it would be written; empty: none
	Required bool   // its section is not complete without it
}

// Settings returns every setting there is, in the order of the example file.
func Settings() []Setting {
	r := &reader{}
	return flatten("", r.root(defaults(), new([]*appDraft)))
}

func flatten(prefix string, settings []setting) []Setting {
	var all []Setting
	for _, s := range settings {
		path := join(prefix, s.key)
		all = append(all, Setting{Path: path, Takes: s.takes, Default: s.standard, Required: s.required})
		if s.list {
			path += "[]"
		}
		all = append(all, flatten(path, s.inside)...)
	}
	return all
}

// root is the table of a whole document.
func (r *reader) root(cfg *Config, apps *[]*appDraft) []setting {
	return []setting{
		text("listen", &cfg.Listen, "an address, host:port", listenAddress),
		text("path_prefix", &cfg.PathPrefix, "empty, or a path such as /realtime", pathPrefix),
		section("admin",
			text("listen", &cfg.Admin.Listen, "an address, host:port", listenAddress),
			secret("token", &cfg.Admin.Token)),
		file("data", &cfg.Data, "a directory"),
		optional("tls", &cfg.TLS, tlsSettings),
		section("cluster", optional("redis", &cfg.Cluster.Redis, redisSettings)),
		section("drain", duration("over", &cfg.Drain.Over, 0, 15*time.Minute)),
		needed(sections("apps", newAppDraft, appSettings, func(_ *reader, path string, d *appDraft) {
			d.path = path
			*apps = append(*apps, d)
		})),
	}
}

func tlsSettings(t *TLS) []setting {
	return []setting{
		file("cert", &t.Cert, "a PEM file"),
		file("key", &t.Key, "a PEM file"),
		optional("acme", &t.ACME, acmeSettings),
	}
}

func acmeSettings(a *ACME) []setting {
	return []setting{
		needed(texts("domains", &a.Domains, "a list of host names", hostName)),
		needed(text("email", &a.Email, "an address for the authority's warnings", emailAddress)),
		text("directory", &a.Directory, "the URL of an ACME directory; empty: Let's Encrypt", urlWith("https", "http")),
	}
}

// appDraft is an app while it is being read: the settings that go into it in
// another form stand beside it.
type appDraft struct {
	proxy.App
	path string // where it stands in the file

	key, cluster string
	secret       proxy.Secret
	moreKeys     []proxy.Credential
	percent      int
	by           proxy.Sticky
}

func newAppDraft() *appDraft { return &appDraft{App: proxy.Defaults(), by: proxy.ByChannel} }

func appSettings(a *appDraft) []setting {
	return []setting{
		needed(text("id", &a.ID, "the app's id", identifier)),
		needed(text("key", &a.key, "the app's key", identifier)),
		needed(secret("secret", &a.secret)),
		sections("more_keys", newOf[proxy.Credential], credentialSettings, func(_ *reader, _ string, c *proxy.Credential) {
			a.moreKeys = append(a.moreKeys, *c)
		}),
		boolean("enabled", &a.Enabled),
		boolean("client_events", &a.ClientEvents),
		boolean("subscription_counting", &a.SubscriptionCounting),
		boolean("watchlist", &a.Watchlist),
		boolean("authorized_connections", &a.AuthorizedConnections),
		duration("authorize_within", &a.AuthorizeWithin, time.Second, 10*time.Minute),
		boolean("tls_only", &a.TLSOnly),
		texts("origins", &a.Origins, "a list of origins such as https://*.example.com", origin),
		duration("activity_timeout", &a.ActivityTimeout, time.Second, time.Hour, wholeSeconds),
		duration("ping_after", &a.PingAfter, 100*time.Millisecond, time.Hour),
		duration("pong_within", &a.PongWithin, 100*time.Millisecond, 10*time.Minute),
		section("limits", limitSettings(&a.Limits)...),
		sections("webhooks", newWebhook, webhookSettings, func(r *reader, path string, w *proxy.Webhook) {
			r.webhook(path, w)
			a.Webhooks = append(a.Webhooks, *w)
		}),
		optional("upstream", &a.Upstream, func(u *proxy.Upstream) []setting { return upstreamSettings(u, &a.cluster) }),
		stage("stage", &a.Stage),
		integer("percent", &a.percent, 0, 100),
		choice("by", &a.by, proxy.ByChannel, proxy.ByUser),
		sections("rules", newRule, ruleSettings, func(r *reader, path string, rule *proxy.Rule) {
			r.rule(path, rule)
			a.Rules = append(a.Rules, *rule)
		}),
		texts("staff", &a.Staff, "a list of user ids", filled),
		sections("backends", newBackend, backendSettings, func(r *reader, path string, b *proxy.Backend) {
			r.backend(path, b)
			a.Backends = append(a.Backends, *b)
		}),
		file("ignore_rules", &a.IgnoreRules, "a YAML file of accepted differences"),
	}
}

func newOf[T any]() *T { return new(T) }

func newWebhook() *proxy.Webhook { return &proxy.Webhook{Events: proxy.WebhookTypes()} }

func newRule() *proxy.Rule { return &proxy.Rule{By: proxy.ByChannel} }

func newBackend() *proxy.Backend {
	return &proxy.Backend{Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1}
}

func credentialSettings(c *proxy.Credential) []setting {
	return []setting{
		needed(text("key", &c.Key, "a key", identifier)),
		needed(secret("secret", &c.Secret)),
	}
}

// Bounds of the limits. They keep a slip of the keyboard from becoming an
// outage; the vendor's own values are far below.
const (
	mostEventBytes  = 1 << 20
	mostMembers     = 100_000
	mostUserInfo    = 64 << 10
	mostRate        = 1_000_000
	mostConnections = 10_000_000
)

func limitSettings(l *proxy.Limits) []setting {
	return []setting{
		integer("connections", &l.Connections, 0, mostConnections),
		integer("event_bytes", &l.EventBytes, 1, mostEventBytes),
		integer("client_events_per_second", &l.ClientEventsPerSecond, 1, mostRate),
		integer("presence_members", &l.PresenceMembers, 1, mostMembers),
		integer("presence_user_info_bytes", &l.PresenceUserInfoBytes, 1, mostUserInfo),
		integer("channel_name_length", &l.ChannelNameLength, 1, protocol.MaxChannelNameLength),
		integer("publishes_per_second", &l.PublishesPerSecond, 0, mostRate),
	}
}

func webhookSettings(w *proxy.Webhook) []setting {
	return []setting{
		needed(text("url", &w.URL, "an http or https URL", urlWith("http", "https"))),
		choices("events", &w.Events, proxy.WebhookTypes()),
		boolean("batch", &w.Batch),
		boolean("allow_private", &w.AllowPrivate),
	}
}

// defaultTripwire is a business cycle of most apps.
const defaultTripwire = 7 * 24 * time.Hour

func upstreamSettings(u *proxy.Upstream, cluster *string) []setting {
	u.WhenDown, u.Tripwire = proxy.WhenDownRefuse, defaultTripwire
	return []setting{
		text("cluster", cluster, "the vendor's name of a cluster, such as eu", clusterName),
		text("websocket", &u.WebSocket, "a ws or wss URL", urlWith("ws", "wss")),
		text("api", &u.API, "an http or https URL", urlWith("http", "https")),
		duration("tripwire", &u.Tripwire, 0, 90*24*time.Hour),
		choice("when_down", &u.WhenDown, proxy.WhenDownRefuse, proxy.WhenDownServe),
	}
}

func ruleSettings(rule *proxy.Rule) []setting {
	return []setting{
		needed(text("channels", &rule.Channels, "a channel name, with * for any run of characters", channelPattern)),
		needed(stage("stage", &rule.Stage)),
		integer("percent", &rule.Percent, 0, 100),
		choice("by", &rule.By, proxy.ByChannel, proxy.ByUser),
	}
}

func backendSettings(b *proxy.Backend) []setting {
	return []setting{
		needed(text("name", &b.Name, "a name for reports and metrics", backendName)),
		needed(text("plugin", &b.Plugin, "a built-in translator's name, or the path of an executable", filled)),
		choice("role", &b.Role, proxy.RoleShadow, proxy.RoleMirror, proxy.RoleBridge),
		texts("channels", &b.Channels, "a list of channel names, with * for any run of characters", channelPattern),
		fraction("sample", &b.Sample),
		anything("settings", &b.Settings),
	}
}
