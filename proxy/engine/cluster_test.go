package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/memory"
)

// bus joins the brokers of several nodes. Each node gets the events of a
// topic in one order, but late, and not in step with the other nodes.
type bus struct {
	mu    sync.Mutex
	nodes []*busNode
	kept  map[proxy.Topic]*proxy.Event
}

type busNode struct {
	bus    *bus
	events chan *proxy.Event
	topics map[proxy.Topic]bool // guarded by the bus's mu
	deaf   atomic.Int32         // so many questions about caches fail
}

func (b *bus) join() *busNode {
	n := &busNode{bus: b, events: make(chan *proxy.Event, 1<<16), topics: map[proxy.Topic]bool{}}
	b.nodes = append(b.nodes, n)
	return n
}

func (n *busNode) Publish(_ context.Context, ev *proxy.Event) error {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	if ev.Keeps() {
		n.bus.keep(ev)
	}
	for _, other := range n.bus.nodes {
		if other == n || other.topics[ev.Topic] {
			other.events <- ev
		}
	}
	return nil
}

func (b *bus) keep(ev *proxy.Event) {
	if last := b.kept[ev.Topic]; last != nil {
		ev.Order = last.Order
	}
	ev.Order++
	if b.kept == nil {
		b.kept = map[proxy.Topic]*proxy.Event{}
	}
	b.kept[ev.Topic] = ev
}

// Last takes nothing over: a bus loses nothing.
func (n *busNode) Last(_ context.Context, t proxy.Topic, _ proxy.Kept) (proxy.Kept, error) {
	if n.deaf.Add(-1) >= 0 {
		return proxy.Kept{}, errors.New("away")
	}
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	return proxy.Kept{Event: n.bus.kept[t], Left: proxy.CacheFor}, nil
}

func (n *busNode) interest(t proxy.Topic, on bool) error {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	n.topics[t] = on
	return nil
}

func (n *busNode) Subscribe(_ context.Context, t proxy.Topic) error   { return n.interest(t, true) }
func (n *busNode) Unsubscribe(_ context.Context, t proxy.Topic) error { return n.interest(t, false) }

func (n *busNode) Run(ctx context.Context, deliver func(*proxy.Event)) error {
	for {
		select {
		case ev := <-n.events:
			time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
			deliver(ev)
		case <-ctx.Done():
			return nil
		}
	}
}

// cluster returns running nodes that share their presence and a bus.
func cluster(t *testing.T, size int) []*node { return countingCluster(t, size, false) }

func countingCluster(t *testing.T, size int, counting bool) []*node {
	b, presence, occupancy := &bus{}, memory.NewPresence(), memory.NewOccupancy()
	nodes := make([]*node, size)
	for i := range nodes {
		broker := b.join()
		nodes[i] = run(t, nodeSettings{
			node:      uint64(i + 1),
			kinds:     proxy.AllKinds,
			broker:    func(proxy.Broker) proxy.Broker { return broker },
			presence:  func(proxy.Presence) proxy.Presence { return presence },
			occupancy: occupancy.Node(),
			app:       func(a *proxy.App) { a.SubscriptionCounting = counting },
		})
	}
	return nodes
}

func TestEventsReachEveryNode(t *testing.T) {
	nodes := cluster(t, 2)
	a, b := nodes[0].dial(), nodes[1].dial()
	for _, c := range []*client{a, b} {
		c.subscribe("private-a", "")
		c.take()
	}
	a.send(`{"event":"client-x","channel":"private-a","data":"hi"}`)
	eventually(t, "the other node's client has it", func() bool { return b.count() == 1 })
	nodes[1].publish("private-a", "e", "1")
	eventually(t, "both have it", func() bool { return a.count() == 1 && b.count() == 2 })
	for i, want := range []int{1, 1} { // each event is recorded as published on one node only
		if got := len(eventData(nodes[i], proxy.KindPublished)); got != want {
			t.Errorf("node %d: %d records of publishing, want %d", i, got, want)
		}
	}
}

func TestUsersOfEveryNode(t *testing.T) {
	nodes := cluster(t, 2)
	watcher, friend, again := nodes[0].dial(), nodes[1].dial(), nodes[0].dial()
	watcher.signin(`{"id":"w","watchlist":["u"]}`)
	watcher.take()
	friend.signin(`{"id":"u"}`)
	eventually(t, "the watcher is told of a friend on another node", func() bool { return watcher.count() == 1 })
	again.signin(`{"id":"u"}`)
	if err := nodes[0].TerminateUser(t.Context(), nodes[0].app.Load(), "u"); err != nil {
		t.Fatal(err)
	}
	for i, c := range []*client{friend, again} {
		eventually(t, fmt.Sprintf("connection %d is ended", i), func() bool { code, _ := c.closed(); return code == 4009 })
		c.conn.Close(4009, "")
	}
	eventually(t, "the watcher is told that the friend is gone", func() bool { return watcher.count() == 2 })
	if got := statesOf(t, append([]string{`{"event":"pusher:signin_success"}`}, watcher.take()...)); len(got) != 0 {
		t.Errorf("online: %v, want nobody", got)
	}
}

// Members come and go on several nodes; news travel late. Still nobody is
// told of a member twice, and in the end all clients agree.
func TestPresenceViewsAgreeAcrossNodes(t *testing.T) {
	nodes := cluster(t, 3)
	const users, rounds = 6, 30
	var wg sync.WaitGroup
	var mu sync.Mutex
	stay := map[*client]string{}
	for u := range users {
		for _, n := range nodes {
			wg.Go(func() {
				me := fmt.Sprintf("u%d", u)
				data := `{"user_id":"` + me + `"}`
				for range rounds {
					c := n.dial()
					c.subscribe("presence-a", data)
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
					c.conn.Close(1000, "")
				}
				if u%2 == 0 {
					c := n.dial()
					c.subscribe("presence-a", data)
					mu.Lock()
					stay[c] = me
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	want, _ := nodes[0].Users(t.Context(), nodes[0].topic("presence-a"))
	if slices.Sort(want); len(want) != users/2 {
		t.Fatalf("Users = %v, want %d", want, users/2)
	}
	for c, me := range stay {
		v := view{me: me}
		var known []string
		eventually(t, "everybody who is there is known, and nobody else", func() bool {
			for _, text := range c.take() {
				v.apply(t, text)
			}
			known = known[:0]
			for id := range v.members {
				known = append(known, id)
			}
			slices.Sort(known)
			return slices.Equal(known, want) && len(c.n.Engine.conns.all(nil)) == users/2 && quiet(nodes)
		})
	}
}

// quiet reports whether no event is on its way.
func quiet(nodes []*node) bool {
	for _, n := range nodes {
		if len(n.broker.(*busNode).events) > 0 {
			return false
		}
	}
	return true
}

// recorded counts the records of a kind on all nodes.
func recorded(nodes []*node, k proxy.Kind) (n int) {
	for _, node := range nodes {
		for _, r := range node.tap.all() {
			if r.Kind == k {
				n++
			}
		}
	}
	return n
}

// Channels are occupied and vacated once, on whatever node, and their counts
// are those of all nodes, for queries and for subscribers.
func TestCountsOfEveryNode(t *testing.T) {
	nodes := countingCluster(t, 3, true)
	clients := make([]*client, len(nodes))
	for i, n := range nodes {
		clients[i] = n.dial()
		clients[i].subscribe("c", "")
	}
	for i, n := range nodes {
		state, err := n.Channel(t.Context(), n.topic("c"))
		if err != nil || state.SubscriptionCount != 3 || !state.Occupied {
			t.Errorf("node %d: Channel = %+v, %v; want 3 subscriptions", i, state, err)
		}
		list, err := n.Channels(t.Context(), testApp, "")
		if err != nil || len(list) != 1 || list[0].SubscriptionCount != 3 {
			t.Errorf("node %d: Channels = %+v, %v; want one with 3", i, list, err)
		}
		last := ""
		eventually(t, "the count of all nodes is told last", func() bool {
			for _, f := range clients[i].take() {
				last = f
			}
			var told struct {
				Count int `json:"subscription_count"`
			}
			if f := parse(t, last); f.Event == "pusher_internal:subscription_count" {
				f.data(t, &told)
			}
			return told.Count == 3
		})
	}
	for _, c := range clients {
		c.conn.Close(1000, "")
	}
	if occupied, vacated := recorded(nodes, proxy.KindOccupied), recorded(nodes, proxy.KindVacated); occupied != 1 || vacated != 1 {
		t.Errorf("recorded %d times as occupied, %d as vacated; want once each", occupied, vacated)
	}
}

// What Presence and Occupancy find by themselves is told on every node, and
// recorded by the one that it was told to.
func TestChangesThatNoCallBroughtAbout(t *testing.T) {
	nodes := cluster(t, 2)
	c := nodes[1].dial()
	c.subscribe("presence-a", `{"user_id":"here"}`)
	presence := nodes[0].presence
	if _, _, err := presence.Join(t.Context(), nodes[0].topic("presence-a"), proxy.Member{UserID: "gone"}, "9.9", 100); err != nil {
		t.Fatal(err)
	}
	nodes[1].Resync()
	eventually(t, "a member whose news were missed is told", func() bool {
		return len(c.conn.joined.all()) == 1 && c.count() == 2
	})
	if _, err := presence.Leave(t.Context(), nodes[0].topic("presence-a"), "gone", "9.9"); err != nil {
		t.Fatal(err)
	}
	c.take()
	nodes[0].Apply(proxy.Change{Kind: proxy.MemberGone, Topic: nodes[0].topic("presence-a"), Member: proxy.Member{UserID: "gone"}})
	nodes[0].Apply(proxy.Change{Kind: proxy.ChannelVacated, Topic: nodes[0].topic("other")})
	eventually(t, "the end is told on the other node", func() bool { return c.count() == 1 })
	if got := c.take(); parse(t, got[0]).Event != "pusher_internal:member_removed" {
		t.Errorf("got %q", got)
	}
	if removed, vacated := recorded(nodes, proxy.KindMemberRemoved), recorded(nodes, proxy.KindVacated); removed != 1 || vacated != 1 {
		t.Errorf("recorded %d members removed, %d channels vacated; want one each", removed, vacated)
	}
	nodes[0].tenant(testApp).each(func(ch *channel) { t.Errorf("channel %s is left over", ch.name) })
}
