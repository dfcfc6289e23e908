package proxy

import (
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// Credential is one key and its secret. An app may have several that are
// valid at the same time; the first is the oldest and signs webhooks
// (protocol.md 7.1).
type Credential struct {
	Key    string
	Secret Secret
}

// App is everything the gateway knows of one customer app. It is immutable:
// a reload builds a new one and swaps it whole.
type App struct {
	ID          string
	Credentials []Credential // at least one, oldest first
	Enabled     bool

	ClientEvents          bool
	SubscriptionCounting  bool
	Watchlist             bool
	AuthorizedConnections bool
	TLSOnly               bool
	// Origins allowed on WebSocket upgrade and HTTP fallback, with "*" as a
	// wildcard for one run of characters. Empty: any.
	Origins []string

	ActivityTimeout time.Duration // told to clients in the established frame
	PingAfter       time.Duration // silence before the server's own control-frame ping
	PongWithin      time.Duration // patience after it, then 4201
	AuthorizeWithin time.Duration // authorized connections: patience before 4009
	Limits          Limits
	Webhooks        []Webhook
	Upstream        *Upstream // nil: the vendor is never contacted
	Stage           Stage     // for channels that no rule matches
	Rules           []Rule    // first match wins
	Staff           []string  // ids of users whom the engine serves from mirror on, once they have signed in
	Backends        []Backend
	// IgnoreRules is a file of differences that the app's report accepts;
	// empty: none. It is read for each report.
	IgnoreRules string
}

// Credential returns the credential with that key.
func (a *App) Credential(key string) (Credential, bool) {
	for _, c := range a.Credentials {
		if c.Key == key {
			return c, true
		}
	}
	return Credential{}, false
}

// Limits are an app's bounds. Zero means unlimited where the field says so;
// every other field is positive.
type Limits struct {
	Connections           int // open connections; 0: unlimited
	EventBytes            int // bytes of an event's data
	ClientEventsPerSecond int // per connection
	PresenceMembers       int // distinct users of a presence channel
	PresenceUserInfoBytes int // bytes of the serialized user object (channel_data)
	ChannelNameLength     int // characters of a channel name
	PublishesPerSecond    int // HTTP API, per app; 0: unlimited
}

// DefaultLimits returns the vendor's documented limits (protocol.md 9).
func DefaultLimits() Limits {
	return Limits{
		EventBytes:            10240,
		ClientEventsPerSecond: 10,
		PresenceMembers:       100,
		PresenceUserInfoBytes: 1024,
		ChannelNameLength:     protocol.DefaultChannelNameLength,
	}
}

// Defaults returns an enabled app with the vendor's default timings and
// limits and no credentials: what a configuration starts from.
func Defaults() App {
	return App{
		Enabled:         true,
		ActivityTimeout: 120 * time.Second,
		PingAfter:       60 * time.Second,
		PongWithin:      15 * time.Second,
		AuthorizeWithin: 30 * time.Second,
		Limits:          DefaultLimits(),
		Stage:           StageExited,
	}
}

// WebhookType is the name of a webhook event (protocol.md 7.2).
type WebhookType string

// The webhook events there are.
const (
	WebhookChannelOccupied   WebhookType = "channel_occupied"
	WebhookChannelVacated    WebhookType = "channel_vacated"
	WebhookMemberAdded       WebhookType = "member_added"
	WebhookMemberRemoved     WebhookType = "member_removed"
	WebhookClientEvent       WebhookType = "client_event"
	WebhookCacheMiss         WebhookType = "cache_miss"
	WebhookSubscriptionCount WebhookType = "subscription_count"
)

// WebhookTypes returns every webhook event name, in the documented order.
func WebhookTypes() []WebhookType {
	return []WebhookType{
		WebhookChannelOccupied, WebhookChannelVacated, WebhookMemberAdded, WebhookMemberRemoved,
		WebhookClientEvent, WebhookCacheMiss, WebhookSubscriptionCount,
	}
}

// Webhook is one receiver of an app's webhooks.
type Webhook struct {
	URL    string
	Events []WebhookType // only these are sent
	Batch  bool          // several events in one request
	// AllowPrivate permits a receiver whose address is link-local or a cloud
	// metadata address, which is refused otherwise.
	AllowPrivate bool
}

// Upstream is the Pusher-compatible service an app is leaving.
type Upstream struct {
	WebSocket string // base URL, ws:// or wss://
	API       string // base URL, http:// or https://
	WhenDown  WhenDown
	// Tripwire is how long after a move to exited the upstream is watched for
	// those who were forgotten there; 0: not at all.
	Tripwire time.Duration
}

// WhenDown is what becomes of clients and events that are an upstream's while
// it is down.
type WhenDown string

// The choices.
const (
	WhenDownRefuse WhenDown = "refuse" // they are asked to try again
	WhenDownServe  WhenDown = "serve"  // the engine serves them meanwhile
)

// Role is what a backend is to an app.
type Role string

// The roles (contract.md, backends).
const (
	RoleShadow Role = "shadow" // compared, never seen by clients
	RoleMirror Role = "mirror" // publishes are copied
	RoleBridge Role = "bridge" // both ways
)

// Backend is another system that an app's traffic is copied to, through a
// translator plugin.
type Backend struct {
	Name     string
	Plugin   string // name of a built-in translator, or path of an executable
	Role     Role
	Channels []string       // name patterns with "*"; any match
	Sample   float64        // share of channels by hash, 0..1
	Settings map[string]any // decoded YAML; Secret values already resolved to Secret
}

// Takes reports whether the backend gets a channel's traffic: a pattern
// matches its name, and the name falls into the sample. The sample is by
// channel, never by event, and the same on every node and in every run, so
// that host and comparator agree without asking each other.
func (b Backend) Takes(name protocol.ChannelName) bool {
	for _, pattern := range b.Channels {
		if MatchPattern(pattern, string(name)) {
			return b.Sample >= 1 || share(name) < b.Sample
		}
	}
	return false
}

// share maps a channel name evenly onto 0..1.
func share(name protocol.ChannelName) float64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	// FNV leaves the high bits of short names alike; this finaliser
	// (MurmurHash3's) spreads them.
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return float64((h^h>>33)>>11) / (1 << 53)
}
