package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

func TestConnectGreetsFirst(t *testing.T) {
	n := run(t, nodeSettings{})
	seen := map[protocol.SocketID]bool{}
	for range 3 {
		c := &client{n: n}
		conn, err := n.Connect(n.app.Load(), proxy.Client{Protocol: 7}, c)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"%s\",\"activity_timeout\":120}"}`, conn.SocketID())
		if got := c.take(); len(got) != 1 || got[0] != want {
			t.Errorf("greeting = %q, want %q", got, want)
		}
		if id := conn.SocketID(); !id.Valid() || !Own(id) || seen[id] {
			t.Errorf("socket id %q: valid %t, own %t, seen before %t", id, id.Valid(), Own(id), seen[id])
		}
		seen[conn.SocketID()] = true
	}
}

func TestOwn(t *testing.T) {
	for id, want := range map[protocol.SocketID]bool{
		"145814.20211781":         false, // captured from the vendor
		"4503599627370495.1":      false,
		"4503599627370496.1":      true,
		"9007199254740991.77":     true,
		"9007199254740992.1":      false, // would not survive a float64
		"4503599627370496":        false,
		"4503599627370496.x":      false,
		"":                        false,
		"45035996273704960000.12": false,
	} {
		if got := Own(id); got != want {
			t.Errorf("Own(%q) = %t, want %t", id, got, want)
		}
	}
}

func TestConnectRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		app    func(*proxy.App)
		before func(*node)
		want   *protocol.Error
	}{
		"a disabled app": {
			app:  func(a *proxy.App) { a.Enabled = false },
			want: protocol.ErrAppDisabled,
		},
		"beyond the limit": {
			app:    func(a *proxy.App) { a.Limits.Connections = 2 },
			before: func(n *node) { n.dial(); n.dial() },
			want:   protocol.ErrOverQuota,
		},
		"while draining": {
			before: func(n *node) { _ = n.Drain(t.Context(), 0) },
			want:   protocol.ErrDraining,
		},
		"while draining, although the app is disabled as well": {
			app:    func(a *proxy.App) { a.Enabled = false },
			before: func(n *node) { _ = n.Drain(t.Context(), 0) },
			want:   protocol.ErrDraining,
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := run(t, nodeSettings{app: tc.app, kinds: proxy.KindsOf(proxy.KindRefused)})
			if tc.before != nil {
				tc.before(n)
			}
			c := &client{n: n}
			if _, err := n.Connect(n.app.Load(), proxy.Client{}, c); err != tc.want {
				t.Errorf("Connect = %v, want %v", err, tc.want)
			}
			if got := c.take(); len(got) != 0 {
				t.Errorf("a refused connection got %q", got)
			}
			if got := n.tap.all(); len(got) != 1 || got[0].Code != tc.want.Code || got[0].Action != "connect" {
				t.Errorf("records = %+v, want one refusal with %d", got, tc.want.Code)
			}
		})
	}
}

func TestConnectionLimitCountsOpenConnections(t *testing.T) {
	n := run(t, nodeSettings{app: func(a *proxy.App) { a.Limits.Connections = 1 }})
	first := n.dial()
	if _, err := n.Connect(n.app.Load(), proxy.Client{}, &client{n: n}); err != protocol.ErrOverQuota {
		t.Fatalf("second connection: %v, want %v", err, protocol.ErrOverQuota)
	}
	if code, _ := first.closed(); code != 0 {
		t.Errorf("the first connection was closed with %d", code)
	}
	first.conn.Close(1000, "")
	first.conn.Close(1000, "")
	n.dial()
	if got := n.Stats(testApp); got.Connections != 1 || got.Refusals != 1 {
		t.Errorf("Stats = %+v, want 1 connection, 1 refusal", got)
	}
}

func TestUnauthorisedConnectionsAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{app: func(a *proxy.App) {
			a.AuthorizedConnections = true
			a.Limits.Connections = 1
		}})
		a, b := n.dial(), n.dial()
		a.subscribe("private-a", "")
		b.subscribe("private-a", "")
		if code, _ := a.closed(); code != 0 {
			t.Errorf("first to authorise: closed with %d", code)
		}
		if code, _ := b.closed(); code != protocol.CodeOverQuota {
			t.Errorf("second to authorise: closed with %d, want %d", code, protocol.CodeOverQuota)
		}
	})
}

func TestAuthorisedConnectionsSwitchedOffInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{app: func(a *proxy.App) { a.AuthorizedConnections = true }})
		c := n.dial()
		n.change(func(a *proxy.App) { a.AuthorizedConnections = false })
		time.Sleep(time.Minute)
		if code, _ := c.closed(); code != 0 {
			t.Errorf("closed with %d", code)
		}
	})
}

func TestFramesAfterCloseAreIgnored(t *testing.T) {
	n := run(t, nodeSettings{})
	c := n.dial()
	c.conn.Close(1000, "")
	c.send(`{"event":"pusher:ping"}`)
	c.subscribe("c", "")
	if got := c.take(); len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
	if got := n.Stats(testApp); got.Subscriptions != 0 {
		t.Errorf("Stats = %+v, want no subscription", got)
	}
}

func TestRemovedAppEndsItsConnections(t *testing.T) {
	n := run(t, nodeSettings{})
	c := n.dial()
	n.change(func(a *proxy.App) { a.ID = "another" })
	c.send(`{"event":"pusher:ping"}`)
	if code, reason := c.closed(); code != protocol.CodeAppDisabled {
		t.Errorf("closed with %d %q, want %d", code, reason, protocol.CodeAppDisabled)
	}
}

// Clients older than protocol 6 are told in-band by their transport, for
// every code; the engine must not say it a second time.
func TestUnauthorisedIsSaidInBandOnce(t *testing.T) {
	for version, want := range map[int]int{5: 0, 6: 1, 7: 1} {
		t.Run(fmt.Sprintf("protocol %d", version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := run(t, nodeSettings{app: func(a *proxy.App) { a.AuthorizedConnections = true }})
				c := &client{n: n}
				if _, err := n.Connect(n.app.Load(), proxy.Client{Protocol: version}, c); err != nil {
					t.Fatal(err)
				}
				c.take()
				time.Sleep(time.Minute)
				if got := c.take(); len(got) != want || want == 1 && !hasError(got, protocol.CodeUnauthorized, protocol.ErrUnauthorized.Message) {
					t.Errorf("got %q, want %d errors", got, want)
				}
				if code, _ := c.closed(); code != protocol.CodeUnauthorized {
					t.Errorf("closed with %d, want %d", code, protocol.CodeUnauthorized)
				}
			})
		})
	}
}
