package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"

	"github.com/offramp/offramp/proxy"
)

// Bounds of the listener. It serves operators and machines, not crowds.
const (
	maxConnections    = 256
	maxStreams        = 32 // open event streams
	maxBodyBytes      = 64 << 10
	maxHeaderBytes    = 16 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	shutdownPatience  = 5 * time.Second
)

// Settings are what a Server is made of. A source that is nil is answered
// with 404 and the reason.
type Settings struct {
	// Token must be sent by callers of the API and of /metrics. Zero: open,
	// which is for loopback only.
	Token proxy.Secret
	// Version is shown on the dashboard.
	Version string
	// Ready returns why the gateway cannot serve now, such as "draining";
	// nothing when it can.
	Ready func(context.Context) []string
	// Warnings returns what does not keep the gateway from serving, such as an
	// upstream in trouble; nil: there are none.
	Warnings func(context.Context) []string

	Apps      Apps
	Traffic   Traffic
	Stages    Stages
	Report    Document
	Evidence  Document // what the report is made of, for one report on several gateways
	Capture   Capture
	Inventory Document
	Backends  func() any // a list of backends and how each is doing
	Occupancy Occupancy
	Webhooks  Webhooks
	Feed      Feed
	Metrics   prometheus.Gatherer
	Log       zerolog.Logger
}

// Server is the admin listener. It is a prometheus.Collector of its own
// metrics.
type Server struct {
	Settings

	started time.Time
	streams chan struct{} // one token per open event stream
	metrics *metrics
	handler http.Handler
}

// New returns a server. It starts nothing.
func New(s Settings) *Server {
	server := &Server{Settings: s, started: time.Now(), streams: make(chan struct{}, maxStreams), metrics: newMetrics()}
	server.handler = server.routes()
	return server
}

// Handler returns everything the server answers.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves on l until ctx ends, then lets requests finish for a moment. It
// closes l.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          standardLog(s.Log),
		// Event streams end with the gateway.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		// The context is over, and what is left has a patience of its own.
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
		defer cancel()
		stopped <- server.Shutdown(patience)
	}()
	serving := server.Serve(netutil.LimitListener(l, maxConnections))
	cancel()
	err := <-stopped
	if !errors.Is(serving, http.ErrServerClosed) {
		return fmt.Errorf("admin: serve: %w", serving)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("admin: shut down: %w", err), server.Close())
	}
	return nil
}

// routes lists every path there is.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range []struct {
		pattern string
		open    bool // needs no token
		serve   http.HandlerFunc
	}{
		{"GET /{$}", true, page("index.html", "text/html; charset=utf-8")},
		{"GET /console.js", true, page("console.js", "text/javascript; charset=utf-8")},
		{"GET /console.css", true, page("console.css", "text/css; charset=utf-8")},
		{"GET /live", true, s.live},
		{"GET /ready", true, s.ready},
		{"GET /metrics", false, s.exposition()},
		{"GET /api/v1/apps", false, s.listApps},
		{"GET /api/v1/apps/{id}", false, s.showApp},
		{"GET /api/v1/apps/{id}/connections", false, s.listConnections},
		{"GET /api/v1/apps/{id}/channels", false, s.listChannels},
		{"GET /api/v1/apps/{id}/channels/{channel}/users", false, s.listUsers},
		{"GET /api/v1/apps/{id}/stage", false, s.showStage},
		{"PUT /api/v1/apps/{id}/stage", false, s.setStage},
		{"POST /api/v1/apps/{id}/rollback", false, s.rollBack},
		{"POST /api/v1/apps/{id}/rearm", false, s.rearm},
		{"GET /api/v1/apps/{id}/report", false, s.document("report", s.Report)},
		{"GET /api/v1/apps/{id}/evidence", false, s.document("evidence", s.Evidence)},
		{"POST /api/v1/apps/{id}/capture", false, s.capture},
		{"GET /api/v1/apps/{id}/inventory", false, s.document("inventory", s.Inventory)},
		{"GET /api/v1/apps/{id}/backends/{backend}/channels/{channel}", false, s.showOccupancy},
		{"GET /api/v1/backends", false, s.listBackends},
		{"GET /api/v1/webhooks", false, s.listWebhooks},
		{"GET /api/v1/webhooks/dead", false, s.listDead},
		{"POST /api/v1/webhooks/replay", false, s.replay},
		{"GET /api/v1/events", false, s.events},
	} {
		var h http.Handler = r.serve
		if !r.open {
			h = s.authorised(h)
		}
		mux.Handle(r.pattern, s.counted(r.pattern, h))
	}
	mux.Handle("/api/", s.authorised(http.HandlerFunc(unknownPath)))
	return s.guarded(mux)
}

func unknownPath(w http.ResponseWriter, r *http.Request) {
	fail(w, http.StatusNotFound, "there is nothing at "+r.Method+" "+clip(r.URL.Path, 100), "the paths are listed in docs/operations.md")
}
