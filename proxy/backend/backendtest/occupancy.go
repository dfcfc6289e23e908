package backendtest

import (
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

func mustSet(t *testing.T, n Node, topic proxy.Topic, here, before, after int) {
	t.Helper()
	got, err := n.Occupancy.Set(t.Context(), topic, here)
	if want := (proxy.Count{Before: before, After: after}); err != nil || got != want {
		t.Fatalf("Set(%s, %d) = %v, %v; want %v", topic, here, got, err, want)
	}
}

// occupied: the counts of all nodes add up; the same count told twice changes
// nothing.
func occupied(t *testing.T, nodes []Node) {
	receive(t, nodes)
	for i, n := range nodes {
		mustSet(t, n, topic, 2, 2*i, 2*i+2)
		mustSet(t, n, topic, 2, 2*i+2, 2*i+2)
	}
	total := 2 * len(nodes)
	for i, n := range nodes {
		if got, err := n.Occupancy.Count(t.Context(), topic); err != nil || got != total {
			t.Errorf("node %d: Count = %d, %v; want %d", i, got, err, total)
		}
	}
	for _, n := range nodes {
		mustSet(t, n, topic, 0, total, total-2)
		total -= 2
	}
	if got, err := nodes[0].Occupancy.Count(t.Context(), topic); err != nil || got != 0 {
		t.Errorf("in the end: Count = %d, %v; want 0", got, err)
	}
}

func occupiedChannels(t *testing.T, nodes []Node) {
	receive(t, nodes)
	want := map[protocol.ChannelName]int{}
	for i, name := range []protocol.ChannelName{"a", "private-b", "presence-c", "d,e"} {
		mustSet(t, nodes[i%len(nodes)], proxy.Topic{App: "app", Channel: name}, i+1, 0, i+1)
		want[name] = i + 1
	}
	mustSet(t, nodes[0], proxy.Topic{App: "app", Channel: "gone"}, 1, 0, 1)
	mustSet(t, nodes[0], proxy.Topic{App: "app", Channel: "gone"}, 0, 1, 0)
	mustSet(t, nodes[0], proxy.Topic{App: "other", Channel: "a"}, 7, 0, 7)
	for i, n := range nodes {
		if got, err := n.Occupancy.Channels(t.Context(), "app"); err != nil || !maps.Equal(got, want) {
			t.Errorf("node %d: Channels = %v, %v; want %v", i, got, err, want)
		}
	}
}

func occupiedAtOnce(t *testing.T, nodes []Node) {
	receive(t, nodes)
	var firsts, lasts atomic.Int64
	set := func(n Node, here int) {
		got, err := n.Occupancy.Set(t.Context(), topic, here)
		if err != nil {
			t.Error(err)
		}
		if got.Before == 0 && got.After > 0 {
			firsts.Add(1)
		}
		if got.Before > 0 && got.After == 0 {
			lasts.Add(1)
		}
	}
	for _, here := range []int{1, 0} {
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Go(func() { set(n, here) })
		}
		wg.Wait()
	}
	if firsts.Load() != 1 || lasts.Load() != 1 {
		t.Errorf("%d were first, %d last; want one of each", firsts.Load(), lasts.Load())
	}
}
