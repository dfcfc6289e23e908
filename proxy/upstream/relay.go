package upstream

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/httpapi"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
	"github.com/offramp/offramp/proxy/session"
	"github.com/offramp/offramp/proxy/transport/hijack"
)

// Apps finds apps. Implementation: proxy/apps.Registry.
type Apps interface {
	ByID(id string) (*proxy.App, bool)
	ByKey(key string) (*proxy.App, proxy.Credential, bool)
	All() []*proxy.App
}

// Route says where apps are. Implementation: proxy/route.Router.
type Route interface {
	Position(app *proxy.App) *route.Position
	Changed() <-chan struct{}
	Note(app, channels, who, what string) error
	Left(app string) (at time.Time, moved bool, err error)
}

// Upgrades answers requests to become a WebSocket connection.
type Upgrades interface {
	Serve(ctx *fasthttp.RequestCtx, key string)
	ServeUnknown(ctx *fasthttp.RequestCtx)
}

// Settings are what a Relay is made of.
type Settings struct {
	Apps  Apps
	Route Route
	// Those who serve what is not relayed.
	WebSocket Upgrades
	API       *httpapi.API
	// Engine serves the clients that are not relayed, and Feed watches it.
	Engine *engine.Engine
	Feed   *Feed
	// Shadow is where relayed clients have their doubles at stage shadow. It
	// is an engine of its own, watched by nobody, so that what happens in it
	// is neither told to clients nor to webhooks. nil: there are no doubles.
	Shadow *engine.Engine
	// Hooks takes in the vendor's webhooks; nil: they are not served.
	Hooks Hooks
	Tap   engine.Tap
	// LookAtVendor is how often a tripwire looks; 0: every minute.
	LookAtVendor time.Duration
	// CallWithin is how long the vendor may take to answer a call; 0: 20 s.
	CallWithin time.Duration
	Node       uint64 // random per process; becomes part of event ids
	PathPrefix string // as in httpapi.Settings
	Log        zerolog.Logger
}

// Relay serves the apps that are still the vendor's, and passes on everything
// else. It is safe for concurrent use.
type Relay struct {
	settings Settings
	metrics  *metrics
	rooms    rooms
	calls    *http.Transport  // of the HTTP API
	copies   chan publication // accepted by the vendor, for Run to copy
	events   atomic.Uint64
	bridges  sync.Map      // by app id: *bridge
	guards   sync.Map      // by app id: *guard
	beyond   sync.Map      // by app id: the gateways that its upstream leads to
	looking  chan struct{} // bridges are to be looked at again
	healths  sync.Map      // by app id: *health
	trips    sync.Map      // by app id: *tripwire
	failures chan string   // apps whose upstream has failed, for Run to try
	hooking  chan struct{} // has room for the webhooks that are taken in
	ids      identities
	ears     ears

	mu       sync.Mutex
	clients  map[relayed]struct{}
	sockets  map[protocol.SocketID]*virtual    // doubles by the vendor's socket id
	split    map[protocol.SocketID]*terminated // by the engine's socket id
	turned   chan struct{}                     // closed when positions may have changed
	opening  chan struct{}                     // closed when a bridge has been opened
	draining bool
	ended    bool
	running  sync.WaitGroup // of clients
}

// Bounds of the HTTP API's way to the vendor.
const (
	dialTimeout  = 5 * time.Second
	callTimeout  = 20 * time.Second
	idleCalls    = 64
	queuedCopies = 4096
	maxFailing   = 64 // apps that are about to be tried
)

// New returns a relay. It starts nothing.
func New(s Settings) *Relay {
	s.CallWithin = cmp.Or(s.CallWithin, callTimeout)
	r := &Relay{
		settings: s,
		metrics:  newMetrics(),
		calls: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout: dialTimeout,
			MaxIdleConnsPerHost: idleCalls,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true, // bodies are passed on as they are
		},
		copies:   make(chan publication, queuedCopies),
		clients:  make(map[relayed]struct{}),
		sockets:  make(map[protocol.SocketID]*virtual),
		split:    make(map[protocol.SocketID]*terminated),
		hooking:  make(chan struct{}, maxHooks),
		looking:  make(chan struct{}, 1),
		failures: make(chan string, maxFailing),
		turned:   make(chan struct{}),
		opening:  make(chan struct{}),
		ears:     newEars(),
	}
	if s.Feed != nil {
		for _, app := range s.Apps.All() {
			s.Feed.of(app.ID).bridged.Store(r.bridged(app))
		}
	}
	return r
}

var _ Upgrades = (*Relay)(nil)

// appOf returns the app of a key when its clients are relayed.
func (r *Relay) appOf(key string) *proxy.App {
	app, _, ok := r.settings.Apps.ByKey(key)
	if !ok || !r.takes(app) {
		return nil
	}
	return app
}

func (r *Relay) takes(app *proxy.App) bool {
	return app.Enabled && app.Upstream != nil && r.position(app).Relayed()
}

// Serve answers an upgrade request for the app with that key.
func (r *Relay) Serve(ctx *fasthttp.RequestCtx, key string) {
	app := r.appOf(key)
	if app == nil || !upgradable(ctx) || r.isDraining() {
		r.settings.WebSocket.Serve(ctx, key)
		return
	}
	l, err := r.newLink(ctx, app, key)
	if err != nil {
		r.settings.Log.Error().Err(err).Str("app", app.ID).Msg("client cannot be relayed")
		r.settings.WebSocket.Serve(ctx, key)
		return
	}
	hijack.Take(ctx, func(c net.Conn, early []byte) {
		l.client = c
		if !r.begin(l, func() { l.run(early) }) {
			_ = c.Close() // the process is ending
		}
	})
}

// Takes reports whether the app's clients are to be connected by Connect.
func (r *Relay) Takes(app *proxy.App) bool {
	return app.Upstream != nil && !r.isDraining() && (r.takes(app) || r.bridged(app))
}

func (r *Relay) bridged(app *proxy.App) bool {
	return app.Upstream != nil && r.position(app).Bridged()
}

// Connect connects a client of an app that Takes: one that did not come over
// a WebSocket to the vendor where the app is relayed, and any other to the
// engine and the vendor, as its channels ask for.
func (r *Relay) Connect(app *proxy.App, client proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
	if r.looped(client.Via) {
		return nil, r.unreachable(app, &client, loopError{client.Via})
	}
	if r.takes(app) {
		return r.connectStream(app, client, out)
	}
	return r.connectTerminated(app, client, out)
}

// ServeUnknown answers an upgrade request for a path that is no app's.
func (r *Relay) ServeUnknown(ctx *fasthttp.RequestCtx) { r.settings.WebSocket.ServeUnknown(ctx) }

func (r *Relay) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// relayed is one relayed client.
type relayed interface {
	owner() *proxy.App
	dismiss(e *protocol.Error) // tells the client to go
	abort()                    // ends the connections
}

// begin runs a client until it ends, and reports whether it did: not while
// the relay is ending.
func (r *Relay) begin(c relayed, run func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.clients[c] = struct{}{}
	r.running.Go(func() {
		run()
		r.mu.Lock()
		delete(r.clients, c)
		r.mu.Unlock()
	})
	return true
}

// run runs a part of a client that Run waits for, unless the relay is ending.
func (r *Relay) run(part func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.running.Go(part)
	return true
}

// current returns an app as it is configured now.
func (r *Relay) current(app *proxy.App) *proxy.App {
	if now, ok := r.settings.Apps.ByID(app.ID); ok {
		return now
	}
	return app
}

// Run copies what the vendor accepted and what the engine did, and follows
// the stages: clients that are served by the wrong side are sent away, to come
// back to the right one. When ctx ends it cuts every connection that is left
// and waits for it.
func (r *Relay) Run(ctx context.Context) error {
	var helpers sync.WaitGroup
	helpers.Go(func() { r.copyAccepted(ctx) })
	helpers.Go(func() { r.follow(ctx) })
	helpers.Go(func() { r.bridge(ctx) })
	helpers.Go(func() { r.census(ctx) })
	helpers.Go(func() { r.turn(ctx) })
	helpers.Go(func() { r.probe(ctx) })
	helpers.Go(func() { r.tripwires(ctx) })
	<-ctx.Done()
	helpers.Wait()
	r.mu.Lock()
	r.draining, r.ended = true, true
	clients := slices.Collect(maps.Keys(r.clients))
	r.mu.Unlock()
	for _, c := range clients {
		c.abort()
	}
	r.running.Wait()
	r.calls.CloseIdleConnections()
	return nil
}

// misplaced reports whether a client belongs elsewhere.
func (r *Relay) misplaced(c relayed) bool {
	app, ok := r.settings.Apps.ByID(c.owner().ID)
	if !ok {
		return true
	}
	if t, ok := c.(*terminated); ok {
		return t.misplaced(r.position(app))
	}
	return !r.takes(app)
}

// splitOf returns the client with that id of the engine's that the vendor may
// know as well.
func (r *Relay) splitOf(id protocol.SocketID) *terminated {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.split[id]
}

// Drain relays no new connection from now on and closes the present ones with
// 4200, which brings a client back at once, spread evenly over that time. It
// returns when all have been told, or with ctx's error.
func (r *Relay) Drain(ctx context.Context, over time.Duration) error {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	return r.release(ctx, r.clientsWhere(func(relayed) bool { return true }), over)
}

func (r *Relay) clientsWhere(holds func(relayed) bool) []relayed {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []relayed
	for c := range r.clients {
		if holds(c) {
			found = append(found, c)
		}
	}
	return found
}

// release tells clients to come back elsewhere, one after the other. A client
// that does not read holds up only itself.
func (r *Relay) release(ctx context.Context, clients []relayed, over time.Duration) error {
	var telling sync.WaitGroup
	defer telling.Wait()
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, c := range clients {
		due := time.Duration(float64(over) * float64(i) / float64(len(clients)))
		timer.Reset(max(due-time.Since(start), 0))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("upstream: %d of %d relayed clients not told to go yet: %w", len(clients)-i, len(clients), ctx.Err())
		}
		telling.Go(func() { c.dismiss(protocol.ErrReconnect) })
	}
	return nil
}

// offer shows a record to watchers.
func (r *Relay) offer(rec proxy.Record) {
	if r.settings.Tap != nil && r.settings.Tap.Wants(rec.Kind) {
		r.settings.Tap.Offer(rec)
	}
}

func (r *Relay) nextID() proxy.EventID {
	return proxy.EventID{Node: r.settings.Node, Seq: r.events.Add(1)}
}
