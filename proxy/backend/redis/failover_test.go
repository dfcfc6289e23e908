package redis

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// running runs a node's broker and passes on what it delivers.
func (n *testNode) running(t *testing.T) <-chan *proxy.Event {
	t.Helper()
	events := make(chan *proxy.Event, 1<<14)
	n.runInto(t, events)
	return events
}

func (n *testNode) runInto(t *testing.T, events chan<- *proxy.Event) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Broker.Run(ctx, func(ev *proxy.Event) { events <- ev }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// The master dies with what it told nobody yet; Sentinel promotes the replica.
// All is exact again within 5 s of that, and events travel.
func TestSentinelPromotesAnother(t *testing.T) {
	s := startSentinel(t)
	a, b := startNodeAt(t, s.at(), 1, DefaultLease), startNodeAt(t, s.at(), 2, DefaultLease)
	a.running(t)
	events := b.running(t)
	keep := toKeep()
	keep.ID.Node = 1
	for _, topic := range []proxy.Topic{room, keep.Topic} {
		if err := b.Broker.Subscribe(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	a.join(t, "stays", 1)
	b.join(t, "other", 2)
	a.join(t, "leaves", 3)
	a.count(t, room, 2)
	b.count(t, room, 1)
	if err := a.Broker.Publish(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	kept := <-events
	s.master.kill()
	eventually(t, "the nodes know", func() bool { return a.Healthy() != nil && b.Healthy() != nil })
	if last, err := a.Ledger.Leave(t.Context(), room, "leaves", id(3)); last { // put off
		t.Errorf("Leave = %t, %v", last, err)
	}
	replica := s.replica.client()
	within(t, 60*time.Second, "the replica is promoted", func() bool {
		info, err := replica.Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "role:master")
	})
	promoted := time.Now()
	within(t, 60*time.Second, "both are one with each other", func() bool { return a.Healthy() == nil && b.Healthy() == nil })
	t.Logf("exact %v after the promotion", time.Since(promoted).Round(time.Millisecond))
	for i, n := range []*testNode{a, b} {
		if got := n.users(t); got != "stays other " && got != "other stays " {
			t.Errorf("node %d: users %q, want those who are there", i, got)
		}
		if got, err := n.Ledger.Count(t.Context(), room); err != nil || got != 3 {
			t.Errorf("node %d: Count = %d, %v; want 3", i, got, err)
		}
	}
	if got := allChanges(a, b)["0 presence-a leaves"]; got != 1 {
		t.Errorf("told %d times that the user has gone, want once", got)
	}
	again, err := b.Broker.Last(t.Context(), keep.Topic, proxy.Kept{Event: kept, Left: time.Minute})
	if err != nil || again.Event == nil || again.Event.ID != kept.ID {
		t.Errorf("Last = %v, %v; want what was kept before", again.Event, err)
	}
	ev := &proxy.Event{ID: proxy.EventID{Node: 1, Seq: 99}, Topic: room, Name: "e", At: time.Now()}
	if err := a.Broker.Publish(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-events:
		if got.ID != ev.ID {
			t.Errorf("got %v, want %v", got.ID, ev.ID)
		}
	case <-time.After(30 * time.Second):
		t.Error("an event published afterwards does not arrive")
	}
}

// Links that are open when another server takes over are given up, even if
// the old one still answers them.
func TestServersThatChangePlacesAreFollowed(t *testing.T) {
	s := startSentinel(t)
	a := startNodeAt(t, s.at(), 1, DefaultLease)
	events := a.running(t)
	if err := a.Broker.Subscribe(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	a.join(t, "stays", 1)
	sentinel := s.sentinel.client()
	eventually(t, "Sentinel agrees to change them", func() bool {
		return sentinel.Do(t.Context(), "SENTINEL", "FAILOVER", "main").Err() == nil
	})
	replica := s.replica.client()
	within(t, 60*time.Second, "the replica is promoted", func() bool {
		info, err := replica.Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "role:master")
	})
	eventually(t, "an event travels by the new server, and presence is exact", func() bool {
		ev := &proxy.Event{ID: proxy.EventID{Node: 2, Seq: 1}, Topic: room, Name: "e", At: time.Now()}
		n, err := replica.Publish(t.Context(), a.Broker.keys.topicChannel(room), appendFrame(nil, ev)).Result()
		return err == nil && n == 1 && a.Healthy() == nil
	})
	<-events
	if got := a.users(t); got != "stays " {
		t.Errorf("users %q, want the one who is there", got)
	}
}

// One master of a Cluster is gone for a while, and comes back empty. It has
// the keys of some channels only; all are exact again.
func TestMasterOfAClusterIsAwayForAWhile(t *testing.T) {
	masters := startMasters(t)
	a, b := startNodeAt(t, clusterOf(masters), 1, DefaultLease), startNodeAt(t, clusterOf(masters), 2, DefaultLease)
	a.running(t)
	events := b.running(t)
	var topics []proxy.Topic
	for i := range 30 { // in many buckets
		topics = append(topics, proxy.Topic{App: "app", Channel: protocol.ChannelName(fmt.Sprintf("c%d", i))})
	}
	for _, topic := range topics {
		if err := b.Broker.Subscribe(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		a.count(t, topic, 2)
		b.count(t, topic, 1)
	}
	masters[1].kill()
	eventually(t, "the nodes know", func() bool { return a.Healthy() != nil && b.Healthy() != nil })
	masters[1].start()
	within(t, 60*time.Second, "both are one with each other", func() bool { return a.Healthy() == nil && b.Healthy() == nil })
	for i, topic := range topics {
		if got, err := a.Ledger.Count(t.Context(), topic); err != nil || got != 3 {
			t.Errorf("Count of %s = %d, %v; want 3", topic, got, err)
		}
		ev := &proxy.Event{ID: proxy.EventID{Node: 1, Seq: uint64(i + 1)}, Topic: topic, Name: "e", At: time.Now()}
		if err := a.Broker.Publish(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-events:
			if got.ID != ev.ID {
				t.Errorf("got %v, want %v", got.ID, ev.ID)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("an event on %s does not arrive", topic)
		}
	}
	if changes := allChanges(a, b); len(changes) != 0 {
		t.Errorf("told %v, want nothing: nobody came or went", changes)
	}
}

// A slot moves to another master, as when a Cluster grows: Redis ends the
// subscriptions there, and the node follows.
func TestSlotThatMovesIsFollowed(t *testing.T) {
	masters := startMasters(t)
	a, b := startNodeAt(t, clusterOf(masters), 1, DefaultLease), startNodeAt(t, clusterOf(masters), 2, DefaultLease)
	a.running(t)
	events := b.running(t)
	if err := b.Broker.Subscribe(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	arrives := func() bool {
		seq++
		ev := &proxy.Event{ID: proxy.EventID{Node: 1, Seq: seq}, Topic: room, Name: "e", At: time.Now()}
		if err := a.Broker.Publish(t.Context(), ev); err != nil {
			return false // refused, not lost
		}
		for {
			select {
			case got := <-events:
				if got.ID == ev.ID {
					return true
				}
			case <-time.After(2 * time.Second):
				return false
			}
		}
	}
	eventually(t, "an event arrives", arrives)
	slot, err := masters[0].client().ClusterKeySlot(t.Context(), a.Broker.keys.topicChannel(room)).Result()
	if err != nil {
		t.Fatal(err)
	}
	from := int(slot) * len(masters) / 16384
	to := (from + 1) % len(masters)
	id, err := masters[to].client().Do(t.Context(), "CLUSTER", "MYID").Text()
	if err != nil {
		t.Fatal(err)
	}
	source, err := masters[from].client().Do(t.Context(), "CLUSTER", "MYID").Text()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(master int, args ...any) any {
		t.Helper()
		answer, err := masters[master].client().Do(t.Context(), args...).Result()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return answer
	}
	ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	ask(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", id)
	keys, _ := ask(from, "CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
	for _, key := range keys {
		ask(from, "MIGRATE", "127.0.0.1", masters[to].port, key, 0, 5000)
	}
	for _, m := range []int{to, from} {
		ask(m, "CLUSTER", "SETSLOT", slot, "NODE", id)
	}
	eventually(t, "an event arrives by the other master", func() bool {
		n, err := masters[to].client().PubSubShardNumSub(t.Context(), a.Broker.keys.topicChannel(room)).Result()
		return err == nil && n[a.Broker.keys.topicChannel(room)] == 1 && arrives()
	})
}
