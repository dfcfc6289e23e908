package redis

import (
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// toldOfBothSides: what is there on either side is there, and its end is told
// once, whichever nodes hear of it and in whatever order.
func toldOfBothSides(t *testing.T, at Server) {
	t.Helper()
	a, b := startNodeAt(t, at, 1, DefaultLease), startNodeAt(t, at, 2, DefaultLease)
	start := time.UnixMilli(1_000_000)
	says := func(n *testNode, there bool, after time.Duration) bool {
		t.Helper()
		fresh, err := n.Told.Upstream(t.Context(), room, true, "ann", there, start.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	departed := func(n *testNode) bool {
		t.Helper()
		news, err := n.Told.Departed(t.Context(), room, true, "ann")
		if err != nil {
			t.Fatal(err)
		}
		return news
	}
	if !says(a, true, 0) || !says(b, true, 0) {
		t.Error("what the upstream says for the first time, or again, is stale")
	}
	for i, n := range []*testNode{a, b} {
		if news, err := n.Told.Arrived(t.Context(), room, true, "ann"); err != nil || news != (i == 0) {
			t.Errorf("arrival %d: %t, %v", i, news, err)
		}
	}
	if departed(a) || departed(b) {
		t.Error("a member who is at the upstream is told to be gone")
	}
	if says(a, false, -time.Second) {
		t.Error("an old word of the upstream's is taken for a new one")
	}
	if !says(b, false, time.Second) || says(a, true, 0) {
		t.Error("the upstream's word is not taken in the order of its clock")
	}
	if !departed(a) || departed(b) {
		t.Error("the end is told never or twice")
	}
	seen := func(there bool, ago time.Duration) bool {
		t.Helper()
		fresh, err := a.Told.UpstreamSeen(t.Context(), room, true, "ann", there, ago)
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	present := func() (n int) {
		t.Helper()
		err := b.Told.AtUpstream(t.Context(), room.App, func(_ proxy.Topic, member bool, user string) {
			if n++; !member || user != "ann" {
				t.Errorf("%q is at the upstream", user)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if seen(true, time.Hour) || present() != 0 {
		t.Error("what the upstream answered before it spoke is taken in")
	}
	if !seen(true, -time.Second) || present() != 1 {
		t.Error("what the upstream answered after it spoke is not taken in")
	}
}

func TestReceiversAreToldOfBothSides(t *testing.T) { toldOfBothSides(t, startServer(t).at()) }

func TestReceiversAreToldOfBothSidesOnCluster(t *testing.T) { toldOfBothSides(t, startCluster(t)) }
