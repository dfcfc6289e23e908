package engine

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
)

// Settings are what an Engine is made of.
type Settings struct {
	Node     uint64                             // random per process; becomes part of event and socket ids
	Apps     func(id string) (*proxy.App, bool) // current configuration; called per command, so cheap
	Broker   proxy.Broker
	Presence proxy.Presence
	// Occupancy adds up the nodes' subscriptions. Nil: this is the only node,
	// and its own counts are the truth.
	Occupancy proxy.Occupancy
	Tap       Tap // nil: nobody watches
	Log       zerolog.Logger
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
	// sent. Where the client's protocol is older than 6 the transport first
	// sends both as a pusher:error. Further calls do nothing. When the
	// connection has ended the transport calls Conn.Close, as it does for
	// every other end.
	Close(code int, reason string)
}

// Engine serves the channels of one node.
type Engine struct {
	// Set at construction.
	node      uint64
	apps      func(id string) (*proxy.App, bool)
	broker    proxy.Broker
	presence  proxy.Presence
	occupancy proxy.Occupancy // nil: there are no other nodes
	tap       Tap
	log       zerolog.Logger
	started   time.Time
	flusher   *fanout.Flusher

	unauthorised *schedule[*Conn]    // due when authorised connections' patience ends
	counts       *schedule[*channel] // subscription counts that wait to be told

	conns         registry
	events        atomic.Uint64 // sequence of event ids
	backendErrors atomic.Uint64
	draining      atomic.Bool
	resyncs       chan struct{} // capacity 1: news may have been missed
	repairs       repairs
	logged        atomic.Int64 // when a failure was logged last, in Unix nanoseconds

	tenants atomic.Pointer[map[string]*tenant] // replaced whole
	growing sync.Mutex                         // serialises that
}

// New returns an engine. It starts nothing.
func New(s Settings) *Engine {
	e := &Engine{
		node:         s.Node,
		apps:         s.Apps,
		broker:       s.Broker,
		presence:     s.Presence,
		occupancy:    s.Occupancy,
		tap:          s.Tap,
		log:          s.Log,
		started:      time.Now(),
		unauthorised: newSchedule[*Conn](),
		counts:       newSchedule[*channel](),
	}
	e.resyncs = make(chan struct{}, 1)
	e.repairs = newRepairs()
	e.conns.prefix = socketPrefix(s.Node)
	var delivered func(any, int, time.Time)
	if e.wants(proxy.KindDelivered) {
		delivered = e.delivered
	}
	e.flusher = fanout.NewFlusher(delivered)
	e.tenants.Store(&map[string]*tenant{})
	return e
}

// Run serves until ctx ends and returns when all its goroutines have. It
// returns early, with the reason, when the broker fails.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = e.flusher.Run(ctx) })
	wg.Go(func() { e.unauthorised.run(ctx, e.authorisationDue) })
	wg.Go(func() { e.counts.run(ctx, e.countDue) })
	wg.Go(func() { e.resyncWhenAsked(ctx) })
	wg.Go(func() { e.repair(ctx) })
	err := e.broker.Run(ctx, e.deliver)
	cancel()
	if err != nil {
		return fmt.Errorf("engine: run broker: %w", err)
	}
	return nil
}

// tenant returns an app's share of the node, made if need be.
func (e *Engine) tenant(app string) *tenant {
	if t := (*e.tenants.Load())[app]; t != nil {
		return t
	}
	e.growing.Lock()
	defer e.growing.Unlock()
	old := *e.tenants.Load()
	if t := old[app]; t != nil {
		return t
	}
	tenants := maps.Clone(old)
	t := newTenant(app)
	tenants[app] = t
	e.tenants.Store(&tenants)
	return t
}

func (e *Engine) wants(k proxy.Kind) bool { return e.tap != nil && e.tap.Wants(k) }

// offer shows a record to the watchers. A record that they drop is counted by
// them.
func (e *Engine) offer(r proxy.Record) {
	if !e.wants(r.Kind) {
		return
	}
	r.At, r.Leg = time.Now(), proxy.LegEngine
	e.tap.Offer(r)
}

// failed counts a call of the broker or presence that did not work and that no
// client can be told of, and logs it unless it has just logged another one:
// while a backend is away, all fail.
func (e *Engine) failed(err error, t proxy.Topic, what string) {
	e.backendErrors.Add(1)
	last, now := e.logged.Load(), time.Now().UnixNano()
	if now-last < int64(time.Second) || !e.logged.CompareAndSwap(last, now) {
		return
	}
	e.log.Error().Err(err).Str("app", t.App).Str("channel", string(t.Channel)).Msg("could not " + what)
}
