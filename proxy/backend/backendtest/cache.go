package backendtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

var cached = proxy.Topic{App: "app", Channel: "private-cache-a"}

func toKeep(node, seq uint64) *proxy.Event {
	ev := event(node, seq)
	ev.Topic = cached
	return ev
}

func mustKeep(t *testing.T, nodes []Node, topic proxy.Topic, want proxy.EventID) {
	t.Helper()
	for i, n := range nodes {
		kept, err := n.Broker.Last(t.Context(), topic, proxy.Kept{})
		switch {
		case err != nil:
			t.Errorf("node %d: Last: %v", i, err)
		case kept.Event == nil:
			if !want.IsZero() {
				t.Errorf("node %d: Last = nothing, want event %v", i, want)
			}
		case kept.Event.ID != want || kept.Event.Topic != topic:
			t.Errorf("node %d: Last = %v on %s, want %v on %s", i, kept.Event.ID, kept.Event.Topic, want, topic)
		case kept.Left <= proxy.CacheFor-time.Minute || kept.Left > proxy.CacheFor || kept.Event.Order == 0:
			t.Errorf("node %d: Last has %v left and order %d", i, kept.Left, kept.Event.Order)
		}
	}
}

// lastIsKept: the last event of a cache channel, on every node, whoever was
// subscribed.
func lastIsKept(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	mustKeep(t, nodes, cached, proxy.EventID{})
	seq := uint64(0)
	for i, r := range receivers {
		for range 3 {
			seq++
			r.publish(toKeep(uint64(i), seq))
			if got := r.next(); got.ID.Seq != seq || got.Order == 0 {
				t.Errorf("node %d is given %v with order %d, want its own event with one", i, got.ID, got.Order)
			}
		}
		mustKeep(t, nodes, cached, toKeep(uint64(i), seq).ID)
	}
	mustKeep(t, nodes, proxy.Topic{App: "other", Channel: cached.Channel}, proxy.EventID{})
	mustKeep(t, nodes, proxy.Topic{App: "app", Channel: "cache-a"}, proxy.EventID{})
}

// onlyServersAreKept: neither client events nor news, nor what is published
// on other channels.
func onlyServersAreKept(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	first := toKeep(0, 1)
	receivers[0].publish(first)
	for i, publisher := range []proxy.Publisher{proxy.ByClient, proxy.ByEngine} {
		ev := toKeep(0, uint64(i+2))
		ev.Publisher = publisher
		receivers[0].publish(ev)
	}
	receivers[0].publish(event(0, 4))
	mustKeep(t, nodes, cached, first.ID)
	mustKeep(t, nodes, topic, proxy.EventID{})
}

// keptInOrder: what is kept is the last in the order in which all nodes
// deliver, and its Order is the highest.
func keptInOrder(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	for _, r := range receivers {
		r.subscribe(cached)
	}
	const count = 100
	done := make(chan struct{}, len(receivers))
	for i, r := range receivers {
		go func() {
			defer func() { done <- struct{}{} }()
			for seq := range count {
				r.publish(toKeep(uint64(i), uint64(seq+1)))
			}
		}()
	}
	var last proxy.EventID
	for i, r := range receivers {
		order := uint64(0)
		for range count * len(nodes) {
			ev := r.next()
			if ev.Order <= order {
				t.Fatalf("node %d delivers order %d after %d", i, ev.Order, order)
			}
			order, last = ev.Order, ev.ID
		}
	}
	for range receivers {
		<-done
	}
	mustKeep(t, nodes, cached, last)
}

// keptForAll: a name of any kind of channel keeps its event apart.
func keptForAll(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	names := []string{"cache-a", "private-cache-b", "presence-cache-c", "private-encrypted-cache-d"}
	for i, name := range names {
		ev := event(0, uint64(i+1))
		ev.Topic.Channel, ev.Data = protocol.ChannelName(name), fmt.Appendf(nil, "data %d", i)
		receivers[0].publish(ev)
	}
	for i, name := range names {
		mustKeep(t, nodes, proxy.Topic{App: "app", Channel: protocol.ChannelName(name)}, event(0, uint64(i+1)).ID)
	}
}
