package front

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
)

// conn is an accepted connection as the HTTP server holds it. A transport can
// take the connection underneath away from it without the HTTP server's
// clean-up closing it.
type conn struct {
	net.Conn
	detached atomic.Bool
}

// Underlying returns the accepted connection.
func (c *conn) Underlying() net.Conn { return c.Conn }

// Detach makes Close do nothing and Read report the end of the input.
func (c *conn) Detach() { c.detached.Store(true) }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.detached.Load() {
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if c.detached.Load() {
		return nil
	}
	return c.Conn.Close()
}

// tlsConn lets the HTTP server see that a conn speaks TLS.
type tlsConn struct {
	*conn
	tls *tls.Conn
}

// Handshake completes the TLS handshake.
func (c tlsConn) Handshake() error { return c.tls.Handshake() }

// ConnectionState describes the TLS session.
func (c tlsConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// listener makes conns of what it accepts.
type listener struct {
	net.Listener
	tls *tls.Config // nil: plain TCP
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.tls == nil {
		return &conn{Conn: accepted}, nil
	}
	secure := tls.Server(accepted, l.tls)
	return tlsConn{conn: &conn{Conn: secure}, tls: secure}, nil
}
