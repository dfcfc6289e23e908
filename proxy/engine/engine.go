package engine

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// Settings are what an Engine is made of.
type Settings struct {
	Node     uint64                             // random per process; becomes part of event and socket ids
	Apps     func(id string) (*proxy.App, bool) // current configuration; called per command, so cheap
	Broker   proxy.Broker
	Presence proxy.Presence
	Tap      Tap // nil: nobody watches
	Log      zerolog.Logger
}

// Tap is where the engine's records go.
type Tap interface {
	proxy.Sink
	// Wants reports whether records of a kind are wanted at all. The answer
	// does not change.
	Wants(k proxy.Kind) bool
}

// Outlet is a connection as its transport sees it. Its methods are called
// from any goroutine, never block, and never call back into the engine.
type Outlet interface {
	fanout.Outlet
	// Close ends the connection with a code and a reason, after what has been
	// sent. The transport says both in-band first where the client's protocol
	// is older than 6. Further calls do nothing. When the connection has ended
	// the transport calls Conn.Close, as it does for every other end.
	Close(code int, reason string)
}

// Engine serves the channels of one node.
type Engine struct {
	settings Settings
}

// New returns an engine. It starts nothing.
func New(s Settings) *Engine { return &Engine{settings: s} }

// Run serves until ctx ends and returns when all its goroutines have.
func (e *Engine) Run(ctx context.Context) error { return nil }

// Connect registers a connection and sends the established frame to out as
// its first. It refuses with 4200 while draining, else 4003 for a disabled
// app, 4004 at the app's connection limit.
func (e *Engine) Connect(app *proxy.App, client proxy.Client, out Outlet) (*Conn, *protocol.Error) {
	return nil, nil
}

// Drain refuses new connections with 4200 from now on and closes the present
// ones with the same code, oldest first, spread evenly over that time. It
// returns when all have been told, or with ctx's error.
func (e *Engine) Drain(ctx context.Context, over time.Duration) error { return nil }

// Draining reports whether Drain has begun.
func (e *Engine) Draining() bool { return false }
