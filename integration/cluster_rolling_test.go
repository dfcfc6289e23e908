package integration

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy/protocol"
)

// balance is a load balancer's look at /ready, until stop is called.
func (w *world) balance() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for node := range w.nodes {
		done.Go(func() {
			for ctx.Err() == nil {
				status, _ := w.ready(node)
				w.service(node, status == http.StatusOK)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); done.Wait() }
}

// sentAway returns how many connections a node has ended with a code.
func (w *world) sentAway(node, code int) (n int) {
	for _, r := range w.all() {
		r.mu.Lock()
		for _, s := range r.sessions {
			if s.node == node && s.code == code {
				n++
			}
		}
		r.mu.Unlock()
	}
	return n
}

// TestRollingRestart restarts all nodes under load, one after the other: no
// accepted event is lost or comes twice, and receivers of webhooks notice
// nothing, as everybody is back within the delay of departures. With
// OFFRAMP_PREVIOUS, the path of an earlier release's executable, all nodes go
// back to that one first, and then forward again.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.populate(4)
	w.owe(w.arrived()...)
	t.Cleanup(w.balance())
	events := w.publish(40 * time.Millisecond)
	if previous := os.Getenv("OFFRAMP_PREVIOUS"); previous != "" {
		w.roll(previous)
	}
	w.roll(harness.Binary(t))
	events.check()
	w.checkHooks()
}

// roll restarts one node after the other with an executable.
func (w *world) roll(binary string) {
	t := w.t
	t.Helper()
	for node, g := range w.nodes {
		before := w.sentAway(node, protocol.CodeReconnect)
		g.Signal(t, syscall.SIGTERM)
		eventually(t, "the node is not ready", func() bool {
			status, _ := w.ready(node)
			return status != http.StatusOK
		})
		if n := w.sentAway(node, protocol.CodeReconnect) - before; n > 0 {
			t.Errorf("node %d sent %d clients away before it was not ready", node, n)
		}
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Errorf("node %d does not listen any more, as soon as it is not ready: %v", node, err)
		} else {
			_ = conn.Close()
		}
		if status := g.Wait(t, 30*time.Second); status != 0 {
			t.Errorf("node %d ended with %d", node, status)
		}
		g.Use(binary)
		g.Run(t)
		w.settle("a node was restarted")
	}
}
