package hijack

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Listener wraps what it accepts so that it can be taken over.
type Listener struct {
	net.Listener
	tls    *tls.Config
	closed chan struct{}
	once   sync.Once
}

// Listen returns a Listener that accepts from l, with TLS unless config is nil.
func Listen(l net.Listener, config *tls.Config) *Listener {
	return &Listener{Listener: l, tls: config, closed: make(chan struct{})}
}

// Accept implements net.Listener. The HTTP server gives a listener up at its
// first error. One that is not closed comes from a shortage, of descriptors
// say, or from a peer that hung up early, and passes: Accept waits it out.
func (l *Listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	for wait := shortWait; err != nil; wait = min(2*wait, longWait) {
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-l.closed:
			return nil, net.ErrClosed
		}
		accepted, err = l.Listener.Accept()
	}
	if l.tls == nil {
		return &conn{Conn: accepted}, nil
	}
	secure := tls.Server(accepted, l.tls)
	return tlsConn{conn: &conn{Conn: secure}, tls: secure}, nil
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// How long a shortage is waited out before the next try.
const (
	shortWait = 5 * time.Millisecond
	longWait  = time.Second
)

// conn is an accepted connection as the HTTP server holds it.
type conn struct {
	net.Conn
	taken atomic.Bool

	// What Watch has read ahead; of whoever reads.
	ahead   byte
	isAhead bool
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.taken.Load() {
		return 0, io.EOF
	}
	if c.isAhead && len(p) > 0 {
		p[0], c.isAhead = c.ahead, false
		return 1, nil
	}
	return c.Conn.Read(p)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.Close()
}

func (c *conn) inner() *conn { return c }

// tlsConn lets the HTTP server see that a conn speaks TLS.
type tlsConn struct {
	*conn
	tls *tls.Conn
}

// Handshake completes the TLS handshake.
func (c tlsConn) Handshake() error { return c.tls.Handshake() }

// ConnectionState describes the TLS session.
func (c tlsConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// Conn returns the connection that a request came on, as it was accepted. It
// is the HTTP server's until Take.
func Conn(ctx *fasthttp.RequestCtx) net.Conn {
	if c, ok := ctx.Conn().(interface{ inner() *conn }); ok {
		return c.inner().Conn
	}
	return ctx.Conn()
}

// Take lets the HTTP server answer nothing to the request, and calls take,
// once it has let go, with the connection and what the client had sent behind
// the request. take owns the connection; ctx is valid until it returns.
func Take(ctx *fasthttp.RequestCtx, take func(c net.Conn, early []byte)) {
	outer, wrapped := ctx.Conn().(interface{ inner() *conn })
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(hijacked net.Conn) {
		if !wrapped { // not accepted by a Listener: the HTTP server closes it afterwards
			take(hijacked, nil)
			return
		}
		c := outer.inner()
		c.taken.Store(true)
		take(c.Conn, buffered(hijacked))
	})
}

// buffered returns what the HTTP server has read of a connection that was
// taken, and not used.
func buffered(taken net.Conn) []byte {
	var early []byte
	var buf [512]byte
	for {
		n, err := taken.Read(buf[:])
		early = append(early, buf[:n]...)
		if err != nil {
			return early
		}
	}
}
