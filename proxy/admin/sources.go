package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Apps is the current configuration.
type Apps interface {
	All() []*proxy.App
	ByID(id string) (*proxy.App, bool)
}

// Traffic is what apps are doing on this node. It is asked for existing apps
// only.
type Traffic interface {
	Stats(app string) Stats
	// Connections returns an app's open connections, oldest first.
	Connections(app string) []Connection
	// Channels returns an app's occupied channels whose names begin with prefix.
	Channels(ctx context.Context, app, prefix string) ([]Channel, error)
	// Users returns the ids of a presence channel's users.
	Users(ctx context.Context, t proxy.Topic) ([]string, error)
}

// Stats are an app's counts on this node: the first three as they are now, the
// others since the process began.
type Stats struct {
	Connections   int    `json:"connections"`
	Channels      int    `json:"channels"`
	Subscriptions int    `json:"subscriptions"`
	ServerEvents  uint64 `json:"server_events"`
	ClientEvents  uint64 `json:"client_events"`
	Deliveries    uint64 `json:"deliveries"`
	Refusals      uint64 `json:"refusals"`
}

// Connection is one open client connection.
type Connection struct {
	Socket        protocol.SocketID `json:"socket"`
	UserID        string            `json:"user_id,omitempty"`
	Since         time.Time         `json:"since"`
	Subscriptions int               `json:"subscriptions"`
	Library       string            `json:"library,omitempty"`
	Version       string            `json:"version,omitempty"`
	Protocol      int               `json:"protocol"`
	Transport     string            `json:"transport"`
	Remote        string            `json:"remote"`
	TLS           bool              `json:"tls"`
}

// Channel is one occupied channel.
type Channel struct {
	Name          protocol.ChannelName `json:"name"`
	Kind          string               `json:"kind"` // as protocol.Kind prints
	Subscriptions int                  `json:"subscriptions"`
	Users         int                  `json:"users,omitempty"` // presence channels
}

// Stages is the migration's state. The values it returns are shown as JSON
// and belong to whoever made them.
type Stages interface {
	// Show returns an app's stage, rules and history.
	Show(ctx context.Context, app string) (any, error)
	// Set changes them, or says with DryRun what would change. It returns
	// ErrRefused, wrapped, when a gate is shut and Force is not set, and
	// ErrInvalid when the change makes no sense.
	Set(ctx context.Context, app string, c StageChange) (any, error)
	// Rollback undoes the last change of the app, or of one of its rules.
	Rollback(ctx context.Context, app string, u StageUndo) (any, error)
	// Rearm opens the bridge again that the loop breaker has stopped.
	Rearm(ctx context.Context, app string, u StageUndo) (any, error)
}

// StageChange is one change of stage, of an app or of one of its rules.
type StageChange struct {
	Stage    string       `json:"stage"`
	Channels string       `json:"channels,omitempty"` // name pattern; empty: the app
	Percent  *int         `json:"percent,omitempty"`  // canary share; nil: as it is
	By       proxy.Sticky `json:"by,omitempty"`
	Who      string       `json:"who,omitempty"` // for the journal; empty: "admin"
	Why      string       `json:"why,omitempty"`
	DryRun   bool         `json:"dry_run,omitempty"`
	Force    bool         `json:"force,omitempty"` // override gates; recorded
}

// StageUndo takes back the last change of stage, or what the loop breaker did.
type StageUndo struct {
	Channels string `json:"channels,omitempty"` // name pattern; empty: the app
	Who      string `json:"who,omitempty"`      // for the journal; empty: "admin"
	Why      string `json:"why,omitempty"`
}

// Errors that sources wrap to choose the answer's status; any other is 500.
var (
	ErrNotFound = errors.New("not found")   // 404
	ErrInvalid  = errors.New("invalid")     // 400
	ErrRefused  = errors.New("refused")     // 409
	ErrNotYet   = errors.New("unavailable") // 503
)

// Webhooks is the outbox.
type Webhooks interface {
	// Status returns a list of receivers and how each stands.
	Status() any
	// Dead returns dead letters that match.
	Dead(f WebhookFilter) (any, error)
	// Replay makes dead letters pending again and returns how many.
	Replay(ctx context.Context, f WebhookFilter) (int, error)
}

// WebhookFilter selects webhook events. Each field that is set narrows it.
type WebhookFilter struct {
	App      string            `json:"app,omitempty"`
	Receiver string            `json:"receiver,omitempty"`
	Type     proxy.WebhookType `json:"type,omitempty"`
	Channel  string            `json:"channel,omitempty"` // name pattern
	Since    time.Time         `json:"since,omitzero"`
	Until    time.Time         `json:"until,omitzero"`
	Limit    int               `json:"limit,omitempty"` // 0: all
}

// Feed is the live stream of records.
type Feed interface {
	// Subscribe delivers matching records until ctx ends. It never waits for
	// the receiver: what does not fit is lost.
	Subscribe(ctx context.Context, f FeedFilter) <-chan proxy.Record
}

// FeedFilter selects records. Each field that is set narrows it.
type FeedFilter struct {
	App     string
	Channel string // name pattern
	Kinds   proxy.Kinds
}

// Document makes one JSON document about an app: its report, its inventory.
// since limits it to what was seen from then on; zero: everything.
type Document func(ctx context.Context, app string, since time.Time) (json.RawMessage, error)

// Capture writes a recording of an app's traffic, which lasts for that long or
// until ctx ends. Without payloads, they are replaced by hashes. It returns
// ErrRefused while another recording runs.
type Capture func(ctx context.Context, app string, length time.Duration, payloads bool, w io.Writer) error
