package session

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// Outlet is what a connection is for those who serve it: the engine, a relay.
// No method blocks, and none calls back.
type Outlet interface {
	fanout.Outlet
	// Close ends the connection with a code and a reason, after what has been
	// sent; clients older than protocol 6 are told in-band first. Further
	// calls do nothing.
	Close(code int, reason string)
}

// Conn is where a connection's frames go. Its methods are called one at a
// time, Close last and once.
type Conn interface {
	// Handle carries out one text frame. It keeps nothing of frame.
	Handle(frame []byte)
	// Close is told that the connection has ended and how; code 0 is unknown.
	Close(code int, reason string)
}

// Link is a connection as its transport gives it to a Session.
type Link interface {
	fanout.Outlet
	// Close says code and reason to the peer, after what was sent, and then
	// ends the connection. Only the first call has an effect.
	Close(code int, reason string)
	// Ping asks the peer for a sign of life.
	Ping()
	// Abort ends the connection without waiting for the peer.
	Abort()
}

// Apps finds the app that a key belongs to.
type Apps interface {
	ByKey(key string) (*proxy.App, proxy.Credential, bool)
}

// Settings are what a Server is made of.
type Settings struct {
	Apps Apps
	// Connect registers a connection with whoever is to serve it, which sends
	// the established frame to out, or refuses it.
	Connect func(app *proxy.App, client proxy.Client, out Outlet) (Conn, *protocol.Error)
	Log     zerolog.Logger
}

// Server admits connections and keeps those that are open. It is safe for
// concurrent use.
type Server struct {
	settings Settings
	metrics  metrics
	clock    clock
	ended    atomic.Bool // Run has
	shards   [shardCount]shard
}

// New returns a server. It starts nothing.
func New(s Settings) *Server {
	srv := &Server{settings: s, metrics: newMetrics(), clock: clock{start: time.Now()}}
	srv.clock.tick()
	return srv
}

// Run watches over silent connections until ctx ends. Then it ends those that
// are still open.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.ended.Store(true)
			s.abort()
			return nil
		case <-ticker.C:
			s.clock.tick()
			s.sweep()
		}
	}
}

// Admit decides whether a request may become a connection. The client is also
// returned with a refusal, so that it can be told in the way it understands.
func (s *Server) Admit(r Request) (*proxy.App, proxy.Client, *protocol.Error) {
	client, err := r.client()
	if r.Key == "" { // not a path of ours, whatever else the request says
		err = protocol.ErrPathNotFound
	}
	if err != nil {
		return nil, client, s.refuse(nil, client, err)
	}
	app, _, ok := s.settings.Apps.ByKey(r.Key)
	if !ok {
		return nil, client, s.refuse(nil, client, protocol.ErrNoApp(r.Key))
	}
	switch {
	case !app.Enabled:
		err = protocol.ErrAppDisabled
	case app.TLSOnly && !r.TLS:
		err = protocol.ErrSSLOnly
	case !originAllowed(app, r.Origin):
		err = protocol.ErrOrigin
	default:
		return app, client, nil
	}
	return app, client, s.refuse(app, client, err)
}

// Open connects an admitted client. link is ready to be sent frames; the
// first of them is sent before Open returns. A refused link is closed with
// the refusal.
func (s *Server) Open(app *proxy.App, client proxy.Client, link Link) (*Session, *protocol.Error) {
	ses := &Session{server: s, app: app, link: link, inBand: client.Protocol <= lastInBand, transport: client.Transport}
	ses.Seen()
	conn, err := s.connect(app, client, ses)
	if err != nil {
		Refuse(link, client, s.refuse(app, client, err))
		return nil, err
	}
	ses.conn = conn
	s.metrics.opened(ses)
	s.add(ses)
	if s.ended.Load() {
		ses.abort()
	}
	return ses, nil
}

func (s *Server) connect(app *proxy.App, client proxy.Client, ses *Session) (conn Conn, err *protocol.Error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.Panicked("connect a client", cause)
			conn, err = nil, errInternal
		}
	}()
	return s.settings.Connect(app, client, ses)
}

// Len returns the number of open connections.
func (s *Server) Len() int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += len(sh.sessions)
		sh.mu.Unlock()
	}
	return n
}

// Refuse closes a link that is no connection yet.
func Refuse(link Link, client proxy.Client, err *protocol.Error) {
	closeLink(link, client.Protocol <= lastInBand, err.Code, err.Message)
}

// Panicked notes that serving a connection panicked: it is counted, and logged
// with the stack. The caller is the deferred function that recovered, and ends
// that connection.
func (s *Server) Panicked(doing string, cause any) {
	s.metrics.panics.Inc()
	s.settings.Log.Error().Str("doing", doing).Interface("panic", cause).Bytes("stack", debug.Stack()).
		Msg("a connection failed")
}

func (s *Server) refuse(app *proxy.App, client proxy.Client, err *protocol.Error) *protocol.Error {
	s.metrics.refused(app, client, err)
	return err
}
