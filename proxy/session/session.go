package session

import (
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// errInternal ends a connection whose handling failed for a reason of ours
// (RFC 6455, section 7.4.1). Clients reconnect after it.
var errInternal = &protocol.Error{Code: 1011, Message: "Internal error"}

// Session is one open client connection. Its methods Handle and End belong to
// the transport, which calls them one at a time; the others may be called
// from any goroutine.
type Session struct {
	// Set at construction.
	server    *Server
	app       *proxy.App
	link      Link
	conn      Conn
	transport string
	inBand    bool // errors that close are sent as an event first

	// Time of the last sign of life, by the server's clock.
	seen atomic.Int64

	// Guarded by the shard's mu.
	shard *shard
	index int

	// Owned by the sweeper.
	pinged time.Duration // when a ping was sent that is unanswered; 0: none is
	lost   bool          // given up
}

var (
	_ Outlet         = (*Session)(nil)
	_ fanout.Wrapper = (*Session)(nil)
)

// Send implements Outlet.
func (s *Session) Send(b *fanout.Batch, from int) bool { return s.link.Send(b, from) }

// Unwrap implements fanout.Wrapper.
func (s *Session) Unwrap() fanout.Outlet { return s.link }

// Close implements Outlet.
func (s *Session) Close(code int, reason string) { closeLink(s.link, s.inBand, code, reason) }

// closeLink closes with a code that concerns the whole connection. Before
// protocol 6 the server says it in an event first (vendor documentation:
// WebSocket protocol, version 6).
func closeLink(link Link, inBand bool, code int, reason string) {
	if inBand && code >= protocol.CodeSSLOnly {
		link.Send(fanout.One(protocol.AppendError(nil, &protocol.Error{Code: code, Message: reason})), 0)
	}
	link.Close(code, reason)
}

// Seen notes a sign of life: anything at all that came from the peer.
func (s *Session) Seen() { s.seen.Store(int64(s.server.clock.now())) }

// Handle carries out one inbound text frame and reports whether the
// connection goes on. A panic while handling it ends this connection and
// nothing else.
func (s *Session) Handle(frame []byte) (ok bool) {
	defer s.Contain("handle a frame")
	s.conn.Handle(frame)
	return true
}

// End takes the connection out of everything; the transport calls it once,
// when nothing will come or go any more. code and reason say how it ended.
func (s *Session) End(code int, reason string) {
	s.server.remove(s)
	s.server.metrics.closed(s, code)
	defer s.Contain("end a connection")
	s.conn.Close(code, reason)
}

// Contain is deferred at the edge of a connection: it turns a panic into the
// end of that connection.
func (s *Session) Contain(doing string) {
	if cause := recover(); cause != nil {
		s.server.Panicked(doing, cause)
		s.Close(errInternal.Code, errInternal.Message)
	}
}
