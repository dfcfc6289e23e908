package upstream

import (
	"context"
	"fmt"
	"net"
	"net/http"
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
	"github.com/offramp/offramp/proxy/transport/hijack"
)

// Apps finds apps. Implementation: proxy/apps.Registry.
type Apps interface {
	ByID(id string) (*proxy.App, bool)
	ByKey(key string) (*proxy.App, proxy.Credential, bool)
}

// Route says where apps are. Implementation: proxy/route.Router.
type Route interface {
	Position(app *proxy.App) *route.Position
	Changed() <-chan struct{}
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
	// Shadow is where relayed clients have their doubles at stage shadow. It
	// is an engine of its own, watched by nobody, so that what happens in it
	// is neither told to clients nor to webhooks. nil: there are no doubles.
	Shadow     *engine.Engine
	Tap        engine.Tap
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

	mu       sync.Mutex
	clients  map[relayed]struct{}
	sockets  map[protocol.SocketID]*virtual // doubles by the vendor's socket id
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
)

// New returns a relay. It starts nothing.
func New(s Settings) *Relay {
	return &Relay{
		settings: s,
		metrics:  newMetrics(),
		calls: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout: dialTimeout,
			MaxIdleConnsPerHost: idleCalls,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true, // bodies are passed on as they are
		},
		copies:  make(chan publication, queuedCopies),
		clients: make(map[relayed]struct{}),
		sockets: make(map[protocol.SocketID]*virtual),
	}
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
	return app.Enabled && app.Upstream != nil && r.settings.Route.Position(app).Relayed()
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

// Run copies what the vendor accepted, and follows the stages: clients of an
// app that is no longer relayed are sent away, to come back to the engine.
// When ctx ends it cuts every connection that is left and waits for it.
func (r *Relay) Run(ctx context.Context) error {
	var helpers sync.WaitGroup
	helpers.Go(func() { r.copyAccepted(ctx) })
	helpers.Go(func() { r.follow(ctx) })
	<-ctx.Done()
	helpers.Wait()
	r.mu.Lock()
	r.draining, r.ended = true, true
	for c := range r.clients {
		c.abort()
	}
	r.mu.Unlock()
	r.running.Wait()
	r.calls.CloseIdleConnections()
	return nil
}

// moveOver is the time that the clients of an app are sent away in when its
// stage moves.
const moveOver = 5 * time.Second

// follow sends away the clients of apps that are no longer relayed.
func (r *Relay) follow(ctx context.Context) {
	for {
		changed := r.settings.Route.Changed()
		moved := r.clientsWhere(func(c relayed) bool {
			app, ok := r.settings.Apps.ByID(c.owner().ID)
			return !ok || !r.takes(app)
		})
		if len(moved) > 0 {
			r.settings.Log.Info().Int("connections", len(moved)).Dur("over", moveOver).Msg("stage moved: relayed clients are sent to the engine")
		}
		if r.release(ctx, moved, moveOver) != nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
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
