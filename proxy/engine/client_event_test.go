package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// pair returns two clients on private-a with nothing to take.
func pair(n *node) (a, b *client) {
	a, b = n.dial(), n.dial()
	a.subscribe("private-a", "")
	b.subscribe("private-a", "")
	a.take()
	b.take()
	return a, b
}

func TestClientEventRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{})
		a, b := pair(n)
		for range 10 {
			a.send(`{"event":"client-x","channel":"private-a","data":{}}`)
		}
		synctest.Wait()
		if got := b.take(); len(got) != 10 || a.count() != 0 {
			t.Fatalf("10 within a second: %d delivered, %d errors; want 10 and 0", len(got), a.count())
		}
		for range 20 {
			a.send(`{"event":"client-x","channel":"private-a","data":{}}`)
		}
		synctest.Wait()
		want := string(protocol.AppendError(nil, protocol.ErrClientRate))
		errors := a.take()
		if got := b.take(); len(got) != 0 || len(errors) != 20 || errors[0] != want {
			t.Errorf("20 more: %d delivered, %d errors of %s; want 0 and 20 of %s", len(got), len(errors), errors[0], want)
		}
		if code, _ := a.closed(); code != 0 {
			t.Errorf("closed with %d", code)
		}
		b.send(`{"event":"client-x","channel":"private-a","data":{}}`)
		time.Sleep(time.Second)
		if got := a.take(); len(got) != 1 {
			t.Errorf("another connection's event: %q, want it delivered", got)
		}
		a.send(`{"event":"client-x","channel":"private-a","data":{}}`)
		synctest.Wait()
		if got := b.take(); len(got) != 1 {
			t.Errorf("after a second: %q, want it delivered", got)
		}
	})
}

func TestClientEventBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		frame string
		want  string // error text; empty: delivered
	}{
		"data of the allowed size":    {`{"event":"client-x","channel":"private-a","data":"` + strings.Repeat("x", 10240) + `"}`, ""},
		"data that is larger":         {`{"event":"client-x","channel":"private-a","data":"` + strings.Repeat("x", 10241) + `"}`, "Client event data of 10241 bytes exceeds the allowed maximum (10240 bytes)"},
		"a name of 200 characters":    {`{"event":"client-` + strings.Repeat("ä", 193) + `","channel":"private-a","data":1}`, ""},
		"a longer name":               {`{"event":"client-` + strings.Repeat("x", 194) + `","channel":"private-a","data":1}`, "Event name exceeds the allowed maximum (200 characters)"},
		"the prefix alone":            {`{"event":"client-","channel":"private-a","data":1}`, ""},
		"null is data":                {`{"event":"client-x","channel":"private-a","data":null}`, ""},
		"a server-to-user channel":    {`{"event":"client-x","channel":"#server-to-user-7","data":1}`, "Client events are only allowed on private and presence channels, not on #server-to-user-7"},
		"a cache channel":             {`{"event":"client-x","channel":"cache-a","data":1}`, "Client events are only allowed on private and presence channels, not on cache-a"},
		"a private channel of others": {`{"event":"client-x","channel":"private-b","data":1}`, "Cannot broadcast client event (connection not subscribed to channel private-b)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := run(t, nodeSettings{})
				a, b := pair(n)
				a.send("%s", tc.frame)
				synctest.Wait()
				got, errors := b.take(), a.take()
				if tc.want == "" {
					if len(got) != 1 || len(errors) != 0 {
						t.Errorf("delivered %q, errors %q; want one delivery", got, errors)
					}
					return
				}
				if len(got) != 0 || !hasError(errors, protocol.CodeNone, tc.want) {
					t.Errorf("delivered %q, errors %q; want the error %q", got, errors, tc.want)
				}
			})
		})
	}
}

func TestClientEventKeepsItsOwnData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{kinds: proxy.KindsOf(proxy.KindPublished, proxy.KindDelivered)})
		a, _ := pair(n)
		raw := []byte(`{"event":"client-x","channel":"private-a","data":{"text":"hello"}}`)
		a.conn.Handle(raw)
		for i := range raw {
			raw[i] = '#' // a transport uses its buffer again
		}
		synctest.Wait()
		for _, r := range n.tap.all() {
			if got := string(r.Event.Data); got != `{"text":"hello"}` || r.Event.Name != "client-x" || r.Topic.Channel != "private-a" {
				t.Errorf("%v: %s %s %s", r.Kind, r.Event.Name, r.Topic, got)
			}
		}
	})
}

func TestBucket(t *testing.T) {
	var b bucket
	taken := 0
	for ms := range 10_000 {
		if b.take(time.Duration(ms)*time.Millisecond, 10) {
			taken++
		}
	}
	if want := 10 + 10*10 - 1; taken < want-1 || taken > want+1 {
		t.Errorf("taken in 10 s at a rate of 10: %d, want about %d", taken, want)
	}
	var steady bucket
	for i := range 1000 {
		if !steady.take(time.Duration(i)*100*time.Millisecond, 10) {
			t.Fatalf("a steady sender was refused at %d", i)
		}
	}
}
