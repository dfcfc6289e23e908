package translatortest

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// Delay stands between a translator and its backend, at an address of its own,
// and makes the backend slow when it is told to: each piece of what either
// side says then waits. Its Slow is an Options.Slow.
type Delay struct {
	Addr string

	to   string
	wait atomic.Int64 // nanoseconds
}

// slowness is how long each piece waits, in each direction.
const slowness = 300 * time.Millisecond

// NewDelay returns a Delay in front of a TCP address, until the test ends.
func NewDelay(t testing.TB, to string) *Delay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = listener.Close() })
	d := &Delay{Addr: listener.Addr().String(), to: to}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			go d.pass(ctx, conn)
		}
	}()
	return d
}

// Slow makes the backend slow until the returned function is called.
func (d *Delay) Slow() (restore func(), err error) {
	d.wait.Store(int64(slowness))
	return func() { d.wait.Store(0) }, nil
}

func (d *Delay) pass(ctx context.Context, near net.Conn) {
	far, err := net.Dial("tcp", d.to)
	if err != nil {
		_ = near.Close()
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = near.Close(); _ = far.Close() })
	defer stop()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() { d.copy(way[1], way[0]); done <- struct{}{} }()
	}
	<-done
	_, _ = near.Close(), far.Close()
	<-done
}

func (d *Delay) copy(to io.Writer, from io.Reader) {
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			time.Sleep(time.Duration(d.wait.Load()))
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
