package integration

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// wire is a TCP connection between a node and Redis that a drill can spoil.
type wire struct {
	addr   string
	target string

	mu      sync.Mutex
	silent  chan struct{} // not nil while nothing gets through; closed when it does again
	refused bool          // connections are reset, and none is taken
	delay   time.Duration // each way
	conns   map[net.Conn]bool
}

func startWire(t *testing.T, target string) *wire {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: listener.Addr().String(), target: target, conns: make(map[net.Conn]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		w.cut()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.carry(ctx, conn) })
		}
	})
	return w
}

// silence loses everything on its way from now on, as a firewall does that
// drops packets: nobody is told. What was sent arrives once that has ended,
// as TCP sends it again.
func (w *wire) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent == nil {
		w.silent = make(chan struct{})
	}
}

// cut resets all connections and takes no new ones.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = true
	for conn := range w.conns {
		_ = conn.Close()
	}
}

// slow makes everything late by that much, each way.
func (w *wire) slow(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = by
}

// heal lets everything through again.
func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent != nil {
		close(w.silent)
	}
	w.silent, w.refused, w.delay = nil, false, 0
}

// own notes a connection to be closed by cut.
func (w *wire) own(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused {
		_ = conn.Close()
		return false
	}
	w.conns[conn] = true
	return true
}

func (w *wire) carry(ctx context.Context, from net.Conn) {
	to, err := new(net.Dialer).DialContext(ctx, "tcp", w.target)
	if err != nil {
		_ = from.Close()
		return
	}
	ends := []net.Conn{from, to}
	if !w.own(from) || !w.own(to) {
		ends[0], ends[1] = nil, nil
		_, _ = from.Close(), to.Close()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _, _ = from.Close(), to.Close() })
	var both sync.WaitGroup
	both.Go(func() { defer cancel(); w.pump(ctx, to, from) })
	both.Go(func() { defer cancel(); w.pump(ctx, from, to) })
	both.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, end := range ends {
		delete(w.conns, end)
	}
}

// late is part of a stream and when it is due.
type late struct {
	data []byte
	due  time.Time
}

// pump copies a stream with the wire's delay.
func (w *wire) pump(ctx context.Context, to, from net.Conn) {
	queue := make(chan late, 1024)
	go func() {
		defer close(queue)
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				w.mu.Lock()
				part := late{buf[:n], time.Now().Add(w.delay)}
				w.mu.Unlock()
				select {
				case queue <- part:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for part := range queue {
		if wait := time.Until(part.due); wait > 0 {
			time.Sleep(wait)
		}
		w.mu.Lock()
		silent := w.silent
		w.mu.Unlock()
		if silent != nil {
			select {
			case <-silent:
			case <-ctx.Done():
			}
		}
		if _, err := to.Write(part.data); err != nil {
			return
		}
	}
}
