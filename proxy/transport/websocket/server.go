package websocket

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
	"github.com/offramp/offramp/proxy/transport/hijack"
)

// DefaultMaxMessageBytes is more than any command of an official client
// needs: a sign-in with a full watchlist has some 20 KiB.
const DefaultMaxMessageBytes = 128 << 10

// Settings are what a Server is made of.
type Settings struct {
	Sessions        *session.Server
	MaxMessageBytes int // of an inbound message, beyond which it ends with 1009; 0: the default
	Log             zerolog.Logger
}

// Server turns upgrade requests into sessions.
type Server struct {
	settings Settings
	traffic  fanout.Traffic
	scratch  scratch

	// While Run runs:
	poller atomic.Pointer[poller]
	crew   atomic.Pointer[crew]
}

// New returns a server. It starts nothing.
func New(s Settings) *Server {
	if s.MaxMessageBytes == 0 {
		s.MaxMessageBytes = DefaultMaxMessageBytes
	}
	return &Server{settings: s, scratch: newScratch()}
}

// Run watches over idle connections until ctx ends. Without it, or where it
// has ended, connections are served all the same and cost more memory.
func (s *Server) Run(ctx context.Context) error {
	p, err := newPoller()
	if err != nil {
		return fmt.Errorf("websocket: %w", err)
	}
	hands := newCrew()
	s.poller.Store(p)
	s.crew.Store(hands)
	defer func() {
		s.poller.Store(nil)
		s.crew.Store(nil)
		close(hands.ended)
	}()
	return p.run(ctx)
}

// give lets a goroutine have a connection until its turn is over.
func (s *Server) give(c *conn) {
	if hands := s.crew.Load(); hands != nil {
		hands.give(c)
		return
	}
	go c.turn()
}

// Serve answers an upgrade request for the app with that key. What is wrong
// with the request as a WebSocket handshake is answered in HTTP; every other
// refusal is a close frame after a successful upgrade (vendor documentation:
// WebSocket protocol, "Error codes").
func (s *Server) Serve(ctx *fasthttp.RequestCtx, key string) {
	app, client, err := s.settings.Sessions.Admit(request(ctx, key))
	s.upgrade(ctx, func(c *conn) {
		if err != nil {
			c.refuse(client, err)
			return
		}
		c.open(app, client)
	})
}

// ServeUnknown answers an upgrade request for a path that is no app's.
func (s *Server) ServeUnknown(ctx *fasthttp.RequestCtx) {
	s.Serve(ctx, "")
}

func request(ctx *fasthttp.RequestCtx, key string) session.Request {
	args := ctx.QueryArgs()
	r := session.Request{
		Key:       key,
		Library:   string(args.Peek("client")),
		Version:   string(args.Peek("version")),
		Origin:    string(ctx.Request.Header.Peek("Origin")),
		Remote:    ctx.RemoteAddr().String(),
		Transport: "ws",
		TLS:       ctx.IsTLS(),
		Via:       string(ctx.Request.Header.Peek(protocol.ViaHeader)),
	}
	if args.Has("protocol") {
		version := string(args.Peek("protocol"))
		r.Protocol = &version
	}
	return r
}

// upgrade makes the handshake and, once the HTTP server has let go of the
// connection, calls start with it.
func (s *Server) upgrade(ctx *fasthttp.RequestCtx, start func(*conn)) {
	c := newConn(s, hijack.Conn(ctx))
	if !s.handshake(ctx, c) {
		return // answered in HTTP
	}
	hijack.Take(ctx, func(_ net.Conn, early []byte) {
		defer func() {
			if cause := recover(); cause != nil {
				s.settings.Sessions.Panicked("open a connection", cause)
				c.Abort()
			}
		}()
		c.early = early
		start(c)
	})
}

// answer is the http.ResponseWriter that gorilla gets when it refuses.
func answer(ctx *fasthttp.RequestCtx) func(http.ResponseWriter, *http.Request, int, error) {
	return func(_ http.ResponseWriter, _ *http.Request, status int, reason error) {
		ctx.Error(reason.Error()+"\n", status)
		ctx.Response.Header.Set("Sec-WebSocket-Version", "13")
	}
}

var bytesDesc = prometheus.NewDesc("offramp_websocket_sent_bytes_total", "Bytes written to WebSocket connections.", nil, nil)
var slowDesc = prometheus.NewDesc("offramp_websocket_slow_total", "WebSocket connections closed because they read too slowly.", nil, nil)

var _ prometheus.Collector = (*Server)(nil)

// Describe implements prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	ch <- bytesDesc
	ch <- slowDesc
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(s.traffic.Bytes.Load()))
	ch <- prometheus.MustNewConstMetric(slowDesc, prometheus.CounterValue, float64(s.traffic.Slow.Load()))
}
