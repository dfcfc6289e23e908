package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

func TestWatchlistIsCutAt100(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{})
		ids := make([]string, 101)
		for i := range ids {
			ids[i] = fmt.Sprintf("u%d", i)
		}
		list, _ := json.Marshal(ids)
		c := n.dial()
		c.signin(`{"id":"me","watchlist":` + string(list) + `}`)
		got := c.take()
		if len(got) != 3 || !strings.Contains(got[0], "pusher:signin_success") ||
			got[1] != string(protocol.AppendError(nil, protocol.ErrWatchlist)) {
			t.Fatalf("got %q, want success, the limit's error, the states", got)
		}
		if want := string(protocol.AppendWatchlist(nil, nil, ids[:100])); got[2] != want {
			t.Errorf("states = %s, want %s", got[2], want)
		}
		n.dial().signin(`{"id":"u100"}`)
		n.dial().signin(`{"id":"u99"}`)
		synctest.Wait()
		if got, want := c.take(), string(protocol.AppendWatchlist(nil, []string{"u99"}, nil)); len(got) != 1 || got[0] != want {
			t.Errorf("then %q, want only %s", got, want)
		}
	})
}

func TestWatchlistPassesOverWhatNobodyIs(t *testing.T) {
	got, cut := watched([]string{"a", "", "a", strings.Repeat("x", 129), "b"})
	if cut || strings.Join(got, " ") != "a b" {
		t.Errorf("watched = %q, %t; want a b, not cut", got, cut)
	}
}

func TestWatchlistHoldsNewsBackUntilItHasBegun(t *testing.T) {
	out := &client{}
	w := &watchlist{out: out}
	for _, text := range []string{"b", "c"} {
		if !w.Send(fanout.One([]byte(text)), 0) {
			t.Fatalf("%s was not taken", text)
		}
	}
	if got := out.take(); len(got) != 0 {
		t.Errorf("before it has begun: %q", got)
	}
	w.begin([]byte("a"))
	w.Send(fanout.One([]byte("d")), 0)
	if got := strings.Join(out.take(), ""); got != "abcd" {
		t.Errorf("got %q, want abcd", got)
	}
	endless := &watchlist{out: out}
	for range maxHeld {
		endless.Send(fanout.One(nil), 0)
	}
	if endless.Send(fanout.One(nil), 0) {
		t.Error("it holds back without end")
	}
}

// Changes that come while the states are still being gathered are told after
// them, whatever the timing.
func TestWatchlistStatesComeFirst(t *testing.T) {
	n := run(t, nodeSettings{})
	const friends = 50
	ids := make([]string, friends)
	for i := range ids {
		ids[i] = fmt.Sprintf("u%d", i)
	}
	list, _ := json.Marshal(ids)
	for round := range 20 {
		me := n.dial()
		start := make(chan struct{})
		done := make(chan *client)
		for _, id := range ids {
			go func() {
				c := n.dial()
				<-start
				c.signin(`{"id":"` + id + `"}`)
				done <- c
			}()
		}
		close(start)
		me.signin(`{"id":"me","watchlist":` + string(list) + `}`)
		var signedIn []*client
		for range ids {
			signedIn = append(signedIn, <-done)
		}
		var online map[string]bool
		eventually(t, "every friend is seen online", func() bool {
			me.mu.Lock()
			defer me.mu.Unlock()
			online = statesOf(t, me.frames)
			return len(online) == friends
		})
		for _, c := range signedIn {
			c.conn.Close(1000, "")
		}
		eventually(t, fmt.Sprintf("round %d: every friend is seen offline", round), func() bool {
			me.mu.Lock()
			defer me.mu.Unlock()
			return len(statesOf(t, me.frames)) == 0
		})
		me.conn.Close(1000, "")
	}
}

// statesOf replays watchlist frames as a client does and returns who is
// online. Each change must be one.
func statesOf(t *testing.T, frames []string) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for i, text := range frames {
		f := parse(t, text)
		if i == 0 {
			if f.Event != "pusher:signin_success" {
				t.Fatalf("first frame %s", text)
			}
			continue
		}
		var data struct {
			Events []struct {
				Name    string   `json:"name"`
				UserIDs []string `json:"user_ids"`
			} `json:"events"`
		}
		f.data(t, &data)
		for _, e := range data.Events {
			for _, id := range e.UserIDs {
				on, seen := known[id]
				if i == 1 && seen || i > 1 && (!seen || on == (e.Name == "online")) {
					t.Fatalf("frame %d says %s is %s; known %t, online %t", i, id, e.Name, seen, on)
				}
				known[id] = e.Name == "online"
			}
		}
	}
	for id, on := range known {
		if !on {
			delete(known, id)
		}
	}
	return known
}

func TestSignedInUserIsShownAndForgotten(t *testing.T) {
	n := run(t, nodeSettings{})
	c := n.dial()
	c.signin(`{"id":"u","watchlist":["a","b","u"]}`)
	if got := c.take(); len(got) != 2 || got[1] != string(protocol.AppendWatchlist(nil, []string{"u"}, []string{"a", "b"})) {
		t.Errorf("got %q, want success and the states, itself online", got)
	}
	states := n.Connections(testApp)
	if len(states) != 1 || states[0].UserID != "u" || states[0].Socket != c.conn.SocketID() || states[0].Client.Key != testKey {
		t.Errorf("Connections = %+v, want the one of u", states)
	}
	c.conn.Close(1000, "")
	if got := n.Connections(testApp); len(got) != 0 {
		t.Errorf("Connections = %+v after the end", got)
	}
	n.tenant(testApp).each(func(ch *channel) { t.Errorf("channel %s is left over, held %d times", ch.name, ch.holds) })
}
