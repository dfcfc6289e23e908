package hijack

import (
	"errors"
	"os"
	"time"

	"github.com/valyala/fasthttp"
)

// Watch closes gone when the client hangs up while its request is waiting for
// an answer. The caller calls stop, once, before it gives the request back.
// Connections that no Listener has accepted are not watched.
func Watch(ctx *fasthttp.RequestCtx) (gone <-chan struct{}, stop func()) {
	wrapped, ok := ctx.Conn().(interface{ inner() *conn })
	if !ok {
		return nil, func() {}
	}
	c := wrapped.inner()
	hungUp, done := make(chan struct{}), make(chan struct{})
	_ = c.Conn.SetReadDeadline(time.Time{}) // that of the request
	go func() {
		defer close(done)
		if c.readAhead() {
			close(hungUp)
		}
	}()
	return hungUp, func() {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
		<-done
		_ = c.Conn.SetReadDeadline(time.Time{}) // the HTTP server sets its own for the next request
	}
}

// readAhead reads a byte, which only a client that does not wait for the
// answer sends, and reports whether there is none because it has hung up.
func (c *conn) readAhead() (hungUp bool) {
	if c.isAhead {
		return false
	}
	var one [1]byte
	n, err := c.Conn.Read(one[:])
	if n > 0 {
		c.ahead, c.isAhead = one[0], true
		return false
	}
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}
