package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/memory"
)

// limited returns nodes whose app may have so many connections.
func limited(t *testing.T, size, limit int, wrap func(proxy.Occupancy) proxy.Occupancy) []*node {
	b, occupancy := &bus{}, memory.NewOccupancy()
	nodes := make([]*node, size)
	for i := range nodes {
		broker := b.join()
		nodes[i] = run(t, nodeSettings{
			node: uint64(i + 1), broker: func(proxy.Broker) proxy.Broker { return broker }, occupancy: wrap(occupancy.Node()),
			app: func(a *proxy.App) { a.Limits.Connections = limit },
		})
	}
	return nodes
}

func same(o proxy.Occupancy) proxy.Occupancy { return o }

func (n *node) connect() (*Conn, error) {
	conn, refused := n.Connect(n.app.Load(), proxy.Client{Protocol: 7}, &client{n: n})
	if refused != nil {
		return nil, refused
	}
	return conn, nil
}

func TestLimitOfConnectionsHoldsForAllNodes(t *testing.T) {
	const limit = 10
	nodes := limited(t, 3, limit, same)
	var mu sync.Mutex
	var open []*Conn
	var refused atomic.Int64
	storm := func() {
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				c, err := nodes[i%3].connect()
				if err != nil {
					refused.Add(1)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				open = append(open, c)
			})
		}
		wg.Wait()
	}
	for range 3 {
		refused.Store(0)
		storm()
		if len(open) != limit || refused.Load() != 60-limit {
			t.Errorf("%d are open, %d were refused; want %d open", len(open), refused.Load(), limit)
		}
		for _, c := range open {
			c.Close(1000, "")
		}
		open = nil
	}
	if states, err := nodes[0].Channels(t.Context(), testApp, ""); err != nil || len(states) != 0 {
		t.Errorf("Channels = %v, %v; want none: connections are no channel", states, err)
	}
}

func TestSeatsAreFreeForOtherNodesAtOnce(t *testing.T) {
	nodes := limited(t, 2, 1, same)
	for i := range 20 {
		c, err := nodes[i%2].connect()
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if _, err := nodes[(i+1)%2].connect(); err == nil {
			t.Errorf("connection %d: another one is let in at the other node", i)
		}
		c.Close(1000, "")
	}
}

// away is an Occupancy that can be cut off.
type away struct {
	proxy.Occupancy
	is *atomic.Bool
}

func (a away) Set(ctx context.Context, t proxy.Topic, here int) (proxy.Count, error) {
	if a.is.Load() {
		return proxy.Count{}, errors.New("away")
	}
	return a.Occupancy.Set(ctx, t, here)
}

// While the nodes do not know of each other, each goes by what it heard last:
// they let in what was free for each of them.
func TestSeatsWhileTheOthersCannotBeAsked(t *testing.T) {
	var cut atomic.Bool
	nodes := limited(t, 2, 10, func(o proxy.Occupancy) proxy.Occupancy { return away{o, &cut} })
	fill := func(n *node, most int) (open int) {
		for range most {
			if _, err := n.connect(); err == nil {
				open++
			}
		}
		return open
	}
	if a, b := fill(nodes[0], 4), fill(nodes[1], 4); a != 4 || b != 4 {
		t.Fatalf("%d and %d let in", a, b)
	}
	cut.Store(true)
	// The first node last heard of nobody else, the second of four.
	if a, b := fill(nodes[0], 20), fill(nodes[1], 20); a != 6 || b != 2 {
		t.Errorf("%d and %d let in while away, want what each took to be free: 6 and 2", a, b)
	}
	cut.Store(false)
	if a, b := fill(nodes[0], 5), fill(nodes[1], 5); a != 0 || b != 0 {
		t.Errorf("%d and %d let in afterwards, want none", a, b)
	}
}

// The seats of a node that has died come back as a channel that is vacated:
// nobody is told of one.
func TestSeatsOfADeadNodeAreNoNews(t *testing.T) {
	n := run(t, nodeSettings{kinds: proxy.AllKinds, occupancy: memory.NewOccupancy().Node()})
	for _, kind := range []proxy.ChangeKind{proxy.ChannelVacated, proxy.ChannelOccupied} {
		n.Apply(proxy.Change{Kind: kind, Topic: n.topic(seatsName)})
	}
	if records := n.tap.all(); len(records) != 0 {
		t.Errorf("%d records, want none", len(records))
	}
}
