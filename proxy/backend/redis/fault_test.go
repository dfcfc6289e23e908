package redis

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

var room = proxy.Topic{App: "app", Channel: "presence-a"}

const shortLease = time.Second

func (n *testNode) join(t *testing.T, user string, socket int) (first bool) {
	t.Helper()
	_, first, err := n.Ledger.Join(t.Context(), room, proxy.Member{UserID: user}, id(socket), 100)
	if err != nil {
		t.Fatalf("Join(%s): %v", user, err)
	}
	return first
}

func (n *testNode) count(t *testing.T, topic proxy.Topic, here int) {
	t.Helper()
	if _, err := n.Ledger.Set(t.Context(), topic, here); err != nil {
		t.Fatalf("Set(%s, %d): %v", topic, here, err)
	}
}

func id(n int) protocol.SocketID { return protocol.SocketID(fmt.Sprintf("1.%d", n)) }

// users returns who is there, as one text.
func (n *testNode) users(t *testing.T) string {
	members, err := n.Ledger.Members(t.Context(), room)
	if err != nil {
		return err.Error()
	}
	list := ""
	for _, m := range members {
		list += m.UserID + " "
	}
	return list
}

// allChanges returns how often each change was told, by whatever node.
func allChanges(nodes ...*testNode) map[string]int {
	all := map[string]int{}
	for _, n := range nodes {
		for _, c := range n.told() {
			all[fmt.Sprintf("%d %s %s", c.Kind, c.Topic.Channel, c.Member.UserID)]++
		}
	}
	return all
}

func mustTell(t *testing.T, want map[string]int, nodes ...*testNode) {
	t.Helper()
	// A change is told a moment after it is in force; more than is due would
	// be told at the same time.
	deadline := time.Now().Add(3 * time.Second)
	for fmt.Sprint(allChanges(nodes...)) != fmt.Sprint(want) {
		if time.Now().After(deadline) {
			t.Errorf("told %v, want %v", allChanges(nodes...), want)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestEntriesOfADeadNodeAreRemovedOnce(t *testing.T) {
	s := startServer(t)
	dead, a, b := startNode(t, s, 1, shortLease), startNode(t, s, 2, shortLease), startNode(t, s, 3, shortLease)
	dead.join(t, "both", 1)
	dead.join(t, "gone", 2)
	dead.join(t, "gone", 3)
	a.join(t, "both", 4)
	want := map[string]int{"0 presence-a gone": 1}
	for i := range 500 { // more than are removed at once
		topic := proxy.Topic{App: "app", Channel: protocol.ChannelName(fmt.Sprintf("c%d", i))}
		dead.count(t, topic, 2)
		if i%2 == 0 {
			a.count(t, topic, 1)
		} else {
			want[fmt.Sprintf("2 c%d ", i)] = 1
		}
	}
	time.Sleep(settle) // the others have been there for longer
	died := time.Now()
	dead.stop()
	eventually(t, "the user is gone", func() bool { return a.users(t) == "both " && b.users(t) == "both " })
	eventually(t, "all has been told", func() bool { return len(allChanges(a, b)) == len(want) })
	if took := time.Since(died); took > shortLease+3*time.Second {
		t.Errorf("it took %v, want the lease and 3 s", took)
	}
	mustTell(t, want, a, b)
	if channels, err := b.Ledger.Channels(t.Context(), "app"); err != nil || len(channels) != 250 || channels["c0"] != 1 {
		t.Errorf("%d channels are left, c0 with %d, %v; want 250, with 1", len(channels), channels["c0"], err)
	}
}

func TestRedisThatComesBackEmptyIsToldEverything(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, DefaultLease), startNode(t, s, 2, DefaultLease)
	a.join(t, "stays", 1)
	b.join(t, "both", 2)
	a.join(t, "both", 3)
	a.join(t, "leaves", 4)
	a.count(t, room, 3)
	b.count(t, room, 1)
	empty := proxy.Topic{App: "app", Channel: "empty"}
	a.count(t, empty, 1)
	s.kill()
	eventually(t, "both know", func() bool { return a.Ledger.Healthy() != nil && b.Ledger.Healthy() != nil })
	if _, _, err := a.Ledger.Join(t.Context(), room, proxy.Member{UserID: "new"}, id(5), 100); !errors.Is(err, ErrAway) {
		t.Errorf("Join = %v, want %v", err, ErrAway)
	}
	for user, socket := range map[string]int{"leaves": 4, "both": 3} {
		if last, err := a.Ledger.Leave(t.Context(), room, user, id(socket)); last || err != nil {
			t.Errorf("Leave(%s) = %t, %v; want that it is put off", user, last, err)
		}
	}
	_, _ = a.Ledger.Set(t.Context(), empty, 0) // put off
	s.start()
	within(t, 5*time.Second, "both are exact again", func() bool { return a.exact() && b.exact() })
	for i, n := range []*testNode{a, b} {
		if got := n.users(t); got != "stays both " && got != "both stays " {
			t.Errorf("node %d: users %q, want those who are there", i, got)
		}
		if got, err := n.Ledger.Count(t.Context(), room); err != nil || got != 4 {
			t.Errorf("node %d: Count = %d, %v; want 4", i, got, err)
		}
	}
	got := allChanges(a, b)
	if got["0 presence-a leaves"] != 1 || got["2 empty "] != 1 || got["0 presence-a both"]+got["0 presence-a stays"] != 0 {
		t.Errorf("told %v; want that one user has gone and one channel is empty", got)
	}
}

// exact reports whether the ledger is exact; no broker runs here.
func (n *testNode) exact() bool { return n.Ledger.Healthy() == nil }

func TestRedisThatWasAwayButForgotNothing(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, DefaultLease), startNode(t, s, 2, DefaultLease)
	a.join(t, "stays", 1)
	a.join(t, "leaves", 2)
	b.join(t, "other", 3)
	a.count(t, room, 2)
	a.Ledger.failed <- struct{}{} // as after an exchange that took too long
	eventually(t, "the node knows", func() bool { return !a.exact() })
	if last, err := a.Ledger.Leave(t.Context(), room, "leaves", id(2)); last || err != nil {
		t.Errorf("Leave = %t, %v", last, err)
	}
	within(t, 5*time.Second, "exact again", a.exact)
	if got := b.users(t); got != "stays other " {
		t.Errorf("users %q, want the one who left not to be there, and the order kept", got)
	}
	mustTell(t, map[string]int{"0 presence-a leaves": 1}, a, b)
	if got, err := b.Ledger.Count(t.Context(), room); err != nil || got != 2 {
		t.Errorf("Count = %d, %v; want 2", got, err)
	}
}

// A node that was paused is taken for dead. It may go on writing before it
// knows; nothing of that stays.
func TestPausedNodeIsFenced(t *testing.T) {
	s := startServer(t)
	paused, b := startNode(t, s, 1, shortLease), startNode(t, s, 2, shortLease)
	paused.join(t, "ghost", 1)
	b.join(t, "b", 2)
	if err := b.Ledger.reap(t.Context(), "1.1", true, b.settingsChanged); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is fenced", func() bool {
		paused.mu.Lock()
		defer paused.mu.Unlock()
		return paused.fenced == 1
	})
	if got := b.users(t); got != "b " {
		t.Errorf("users %q, want the other's only", got)
	}
	if last, err := paused.Ledger.Leave(t.Context(), room, "ghost", id(1)); last || err != nil {
		t.Errorf("Leave of a socket that was removed = %t, %v; want nothing", last, err)
	}
	if !paused.join(t, "ghost", 4) {
		t.Error("the user who comes back is not the first")
	}
	mustTell(t, map[string]int{"0 presence-a ghost": 1}, paused, b)
}

func TestWritesOfADeadNodeAreRefused(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, DefaultLease), startNode(t, s, 2, DefaultLease)
	a.join(t, "a", 1)
	a.Ledger.epoch.RLock() // it cannot see that it is dead
	if err := b.Ledger.reap(t.Context(), a.Ledger.lease, true, b.settingsChanged); err != nil {
		t.Fatal(err)
	}
	n, err := joinScript.Run(t.Context(), a.client, a.Ledger.keys.presence(a.Ledger.lease, room), entry(room, id(2), "late"), "late", "0", 0).Int()
	if err != nil || n != -1 {
		t.Errorf("a late join = %d, %v; want -1", n, err)
	}
	a.Ledger.epoch.RUnlock()
	if got := b.users(t); got != "" {
		t.Errorf("users %q, want nobody", got)
	}
}

func (n *testNode) settingsChanged(c proxy.Change) { n.Ledger.changed(c) }

// Publishing without Redis is refused at once; when it is back, subscriptions
// are in force again without a call.
func TestBrokerOutlivesRedis(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, DefaultLease), startNode(t, s, 2, DefaultLease)
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan *proxy.Event, 100)
	done := make(chan error, 2)
	go func() { done <- a.Broker.Run(ctx, func(*proxy.Event) {}) }()
	go func() { done <- b.Broker.Run(ctx, func(ev *proxy.Event) { events <- ev }) }()
	defer func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}()
	if err := b.Broker.Subscribe(ctx, room); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	publish := func() error {
		seq++
		return a.Broker.Publish(ctx, &proxy.Event{ID: proxy.EventID{Node: 1, Seq: seq}, Topic: room, Name: "e", At: time.Now()})
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	<-events
	s.kill()
	eventually(t, "both know", func() bool { return a.Broker.Healthy() != nil && b.Broker.Healthy() != nil })
	start := time.Now()
	if err := publish(); !errors.Is(err, ErrAway) || time.Since(start) > time.Second {
		t.Errorf("Publish = %v after %v, want %v at once", err, time.Since(start), ErrAway)
	}
	s.start()
	within(t, 5*time.Second, "both are linked", func() bool { return a.Broker.Healthy() == nil && b.Broker.Healthy() == nil })
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	select {
	case ev := <-events:
		if ev.ID.Seq != seq {
			t.Errorf("got event %d, want %d", ev.ID.Seq, seq)
		}
	case <-time.After(5 * time.Second):
		t.Error("the event does not arrive")
	}
}
