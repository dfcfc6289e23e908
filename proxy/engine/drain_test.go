package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Clients that are closed with 40xx never come back by themselves. Nothing
// that happens on the way out may say so.
func TestDrainNeverTellsAClientToStayAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{app: func(a *proxy.App) { a.AuthorizedConnections = true }})
		var clients []*client
		for i := range 100 {
			c := n.dial()
			if i%2 == 0 { // the others' patience ends in the middle of the drain
				c.subscribe("private-a", "")
			}
			clients = append(clients, c)
		}
		start := time.Now()
		var refused *protocol.Error
		go func() {
			time.Sleep(time.Second)
			_, refused = n.Connect(n.app.Load(), proxy.Client{Protocol: 7}, &client{n: n})
		}()
		if err := n.Drain(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got > time.Minute || got < 59*time.Second {
			t.Errorf("the drain took %v, want just under a minute", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for i, c := range clients {
			if code, reason := c.closed(); code != protocol.CodeReconnect || reason != protocol.ErrReconnect.Message {
				t.Errorf("client %d: closed with %d %q, want %v", i, code, reason, protocol.ErrReconnect)
			}
		}
		if refused != protocol.ErrDraining {
			t.Errorf("a connection during the drain: %v, want %v", refused, protocol.ErrDraining)
		}
		if !n.Draining() {
			t.Error("Draining() = false after Drain")
		}
	})
}

func TestDrainIsPacedAndBeginsWithTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{})
		var clients []*client
		for range 60 {
			clients = append(clients, n.dial())
		}
		go func() { _ = n.Drain(t.Context(), time.Minute) }()
		for second := range 60 {
			synctest.Wait()
			for i, c := range clients {
				code, _ := c.closed()
				if got, want := code != 0, i <= second; got != want {
					t.Fatalf("after %d s client %d: closed %t, want %t", second, i, got, want)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

func TestDrainStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{})
		n.dial()
		n.dial()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Drain(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain = %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestReleaseSendsOneAppsClientsBackAndRefusesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{})
		c := n.dial()
		all, none := func(protocol.SocketID) bool { return true }, func(protocol.SocketID) bool { return false }
		if err := errors.Join(n.Release(t.Context(), "another app", 0, all), n.Release(t.Context(), n.app.Load().ID, 0, none)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if code, _ := c.closed(); code != 0 {
			t.Errorf("a client that is not meant is closed with %d", code)
		}
		if err := n.Release(t.Context(), n.app.Load().ID, 0, all); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if code, _ := c.closed(); code != protocol.CodeReconnect {
			t.Errorf("closed with %d, want %d", code, protocol.CodeReconnect)
		}
		n.dial()
	})
}
