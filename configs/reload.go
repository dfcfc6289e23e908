package configs

import (
	"context"
	"os"
	"reflect"
	"slices"

	"github.com/offramp/offramp/proxy"
)

// Change is one difference between two configurations. It names a setting and
// never holds its value, which may be a secret.
type Change struct {
	Path    string `json:"path"`    // such as apps[my-app].limits
	What    string `json:"what"`    // "added", "removed" or "changed"
	Restart bool   `json:"restart"` // takes effect at the next start only
}

// Reload is the outcome of reading the configuration anew.
type Reload struct {
	// Config is what to run from now on: the new file, but with the running
	// values of whatever needs a restart. Nil when Err is set.
	Config  *Config
	Changes []Change // in a fixed order; empty: nothing to do
	Err     error    // the file is at fault; go on as before
}

// Watch loads the configuration for every value that triggers delivers, such
// as SIGHUP, and passes the outcome to apply; it returns when ctx ends or
// triggers is closed. Loads happen one after the other, so a burst of triggers
// means as many loads as triggers buffers.
func Watch(ctx context.Context, running *Config, triggers <-chan os.Signal, load func() (*Config, error), apply func(Reload)) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, more := <-triggers:
			if !more {
				return
			}
		}
		next, err := load()
		if err != nil {
			apply(Reload{Err: err})
			continue
		}
		changes := Diff(running, next)
		running = keepFixed(running, next)
		apply(Reload{Config: running, Changes: changes})
	}
}

// part is a piece of T that is compared as a whole.
type part[T any] struct {
	path    string
	restart bool
	get     func(*T) any
}

// parts are the top-level settings besides apps. Listeners, the database and
// the cluster are opened once.
var parts = []part[Config]{
	{"listen", true, func(c *Config) any { return c.Listen }},
	{"path_prefix", true, func(c *Config) any { return c.PathPrefix }},
	{"admin.listen", true, func(c *Config) any { return c.Admin.Listen }},
	{"admin.token", true, func(c *Config) any { return c.Admin.Token }},
	{"data", true, func(c *Config) any { return c.Data }},
	{"tls", true, func(c *Config) any { return c.TLS }},
	{"cluster", true, func(c *Config) any { return c.Cluster }},
	{"drain", false, func(c *Config) any { return c.Drain }},
}

// appParts are an app's settings. Plugin processes are launched at the start.
var appParts = []part[proxy.App]{
	{"credentials", false, func(a *proxy.App) any { return a.Credentials }},
	{"enabled", false, func(a *proxy.App) any { return a.Enabled }},
	{"client_events", false, func(a *proxy.App) any { return a.ClientEvents }},
	{"subscription_counting", false, func(a *proxy.App) any { return a.SubscriptionCounting }},
	{"watchlist", false, func(a *proxy.App) any { return a.Watchlist }},
	{"authorized_connections", false, func(a *proxy.App) any { return a.AuthorizedConnections }},
	{"authorize_within", false, func(a *proxy.App) any { return a.AuthorizeWithin }},
	{"tls_only", false, func(a *proxy.App) any { return a.TLSOnly }},
	{"origins", false, func(a *proxy.App) any { return a.Origins }},
	{"activity_timeout", false, func(a *proxy.App) any { return a.ActivityTimeout }},
	{"ping_after", false, func(a *proxy.App) any { return a.PingAfter }},
	{"pong_within", false, func(a *proxy.App) any { return a.PongWithin }},
	{"limits", false, func(a *proxy.App) any { return a.Limits }},
	{"webhooks", false, func(a *proxy.App) any { return a.Webhooks }},
	{"upstream", false, func(a *proxy.App) any { return a.Upstream }},
	{"stage", false, func(a *proxy.App) any { return a.Stage }},
	{"rules", false, func(a *proxy.App) any { return a.Rules }},
	{"staff", false, func(a *proxy.App) any { return a.Staff }},
	{"backends", true, func(a *proxy.App) any { return unbound(a.Backends) }},
	{"ignore_rules", false, func(a *proxy.App) any { return a.IgnoreRules }},
}

// Diff returns what changes from running to next: top-level settings first,
// then apps in the order of the running file, then new apps.
func Diff(running, next *Config) []Change {
	changes := differences(parts, "", running, next)
	for _, was := range running.Apps {
		path := "apps[" + was.ID + "]"
		is := appByID(next, was.ID)
		if is == nil {
			changes = append(changes, Change{Path: path, What: "removed"})
			continue
		}
		changes = append(changes, differences(appParts, path, was, is)...)
		if !reflect.DeepEqual(was.Backends, rebind(was.Backends, is.Backends)) {
			changes = append(changes, Change{Path: path + ".backends[].channels", What: "changed"})
		}
	}
	for _, is := range next.Apps {
		if appByID(running, is.ID) == nil {
			changes = append(changes, Change{Path: "apps[" + is.ID + "]", What: "added"})
			if len(is.Backends) > 0 {
				changes = append(changes, Change{Path: "apps[" + is.ID + "].backends", What: "added", Restart: true})
			}
		}
	}
	return changes
}

func differences[T any](parts []part[T], prefix string, was, is *T) []Change {
	var changes []Change
	for _, p := range parts {
		if !reflect.DeepEqual(p.get(was), p.get(is)) {
			changes = append(changes, Change{Path: join(prefix, p.path), What: "changed", Restart: p.restart})
		}
	}
	return changes
}

// rebind returns the running backends with the channels and samples that next
// gives to those of their names, which take effect at once.
func rebind(running, next []proxy.Backend) []proxy.Backend {
	rebound := slices.Clone(running)
	for i := range rebound {
		at := slices.IndexFunc(next, func(b proxy.Backend) bool { return b.Name == rebound[i].Name })
		if at >= 0 {
			rebound[i].Channels, rebound[i].Sample = next[at].Channels, next[at].Sample
		}
	}
	return rebound
}

// unbound returns backends without what takes effect at once.
func unbound(backends []proxy.Backend) []proxy.Backend {
	list := slices.Clone(backends)
	for i := range list {
		list[i].Channels, list[i].Sample = nil, 0
	}
	return list
}

// keepFixed returns next with what needs a restart as it is running.
func keepFixed(running, next *Config) *Config {
	cfg := *next
	cfg.Listen, cfg.PathPrefix, cfg.Admin = running.Listen, running.PathPrefix, running.Admin
	cfg.Data, cfg.TLS, cfg.Cluster = running.Data, running.TLS, running.Cluster
	cfg.Apps = make([]*proxy.App, len(next.Apps))
	for i, is := range next.Apps {
		app := *is
		app.Backends = nil
		if was := appByID(running, is.ID); was != nil {
			app.Backends = rebind(was.Backends, is.Backends)
		}
		cfg.Apps[i] = &app
	}
	return &cfg
}

func appByID(cfg *Config, id string) *proxy.App {
	for _, a := range cfg.Apps {
		if a.ID == id {
			return a
		}
	}
	return nil
}
