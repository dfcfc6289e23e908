package memory

import (
	"context"
	"maps"
	"sync"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Occupancy counts the subscriptions of several engines in one process. Each
// has its own view of it, by Node.
type Occupancy struct {
	mu   sync.Mutex
	apps map[string]map[protocol.ChannelName]int
}

// NewOccupancy returns an Occupancy with no channel occupied.
func NewOccupancy() *Occupancy {
	return &Occupancy{apps: make(map[string]map[protocol.ChannelName]int)}
}

// Node returns the view of one engine.
func (o *Occupancy) Node() proxy.Occupancy {
	return &nodeOccupancy{Occupancy: o, here: make(map[proxy.Topic]int)}
}

type nodeOccupancy struct {
	*Occupancy
	here map[proxy.Topic]int // guarded by mu
}

var _ proxy.Occupancy = (*nodeOccupancy)(nil)

// Set implements proxy.Occupancy.
func (n *nodeOccupancy) Set(_ context.Context, t proxy.Topic, here int) (proxy.Count, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.apps[t.App][t.Channel]
	after := before - n.here[t] + here
	if n.here[t] = here; here == 0 {
		delete(n.here, t)
	}
	if n.apps[t.App] == nil {
		n.apps[t.App] = make(map[protocol.ChannelName]int)
	}
	if n.apps[t.App][t.Channel] = after; after == 0 {
		delete(n.apps[t.App], t.Channel)
	}
	return proxy.Count{Before: before, After: after}, nil
}

// Count implements proxy.Occupancy.
func (o *Occupancy) Count(_ context.Context, t proxy.Topic) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.apps[t.App][t.Channel], nil
}

// Channels implements proxy.Occupancy.
func (o *Occupancy) Channels(_ context.Context, app string) (map[protocol.ChannelName]int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.apps[app]), nil
}
