package engine

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// channel is one channel of one app on this node. It exists while it is held:
// by each subscription, each operation under way, and a count that waits to be
// told. Most nodes have many of them, so it is small.
type channel struct {
	// Set at construction.
	tenant *tenant
	name   protocol.ChannelName
	rare   *rare // only of presence and cache channels, and accounts

	// turn makes joins and leaves happen one after the other.
	turn sync.Mutex

	// Guarded by turn.
	count *throttle // made when the count is first too high to tell each change
	live  bool      // Broker.Subscribe is in force

	holds int32 // guarded by the shard's mu

	told atomic.Int32 // the subscription count that subscribers here were told last, of several nodes

	group fanout.Group // has its own lock
}

// rare is what only few channels have.
type rare struct {
	mu       sync.Mutex
	cache    cache   // of a cache channel
	signedIn []*Conn // of an account: the user's connections
	roster   roster  // of a presence channel
	online   bool    // of an account: as its watchers were told last
	heard    uint64  // how often they were
}

// throttle is the state of a subscription count that is told only now and then.
type throttle struct {
	told      time.Time
	value     int // as last told
	scheduled bool
}

// accountPrefix names the internal channel of a user: its watchers are its
// group, its signed-in sockets its presence. No client can name such a
// channel, as "#" is not allowed but in server-to-user names.
const accountPrefix = "#user-"

func accountName(userID string) protocol.ChannelName {
	return protocol.ChannelName(accountPrefix + userID)
}

// newChannel copies name, which may share the memory of a client's frame.
func newChannel(t *tenant, name protocol.ChannelName) *channel {
	name = protocol.ChannelName(strings.Clone(string(name)))
	ch := &channel{tenant: t, name: name}
	if name.Cached() || name.Kind() == protocol.Presence || strings.HasPrefix(string(name), accountPrefix) {
		ch.rare = &rare{}
	}
	return ch
}

func (ch *channel) topic() proxy.Topic { return proxy.Topic{App: ch.tenant.id, Channel: ch.name} }

// hidden reports whether the channel is left out of queries and webhooks:
// server-to-user channels and accounts are.
func (ch *channel) hidden() bool { return ch.name[0] == '#' }

// subscription is one connection on one channel.
type subscription struct {
	member  fanout.Member
	channel *channel
	userID  string // on presence channels
}

// subscriptions is a connection's set of them. It costs little while it is
// small, and stays quick when it is not.
type subscriptions struct {
	few  []*subscription
	many map[protocol.ChannelName]*subscription // instead of few, once there are many
}

// fewSubscriptions is how many are kept as a list.
const fewSubscriptions = 16

func (s *subscriptions) get(name protocol.ChannelName) *subscription {
	if s.many != nil {
		return s.many[name]
	}
	for _, sub := range s.few {
		if sub.channel.name == name {
			return sub
		}
	}
	return nil
}

func (s *subscriptions) add(sub *subscription) {
	if s.many == nil && len(s.few) < fewSubscriptions {
		s.few = append(s.few, sub)
		return
	}
	if s.many == nil {
		s.many = make(map[protocol.ChannelName]*subscription, 2*fewSubscriptions)
		for _, old := range s.few {
			s.many[old.channel.name] = old
		}
		s.few = nil
	}
	s.many[sub.channel.name] = sub
}

func (s *subscriptions) remove(sub *subscription) {
	if s.many != nil {
		delete(s.many, sub.channel.name)
		return
	}
	for i, other := range s.few {
		if other == sub {
			last := len(s.few) - 1
			s.few[i], s.few[last] = s.few[last], nil
			s.few = s.few[:last]
			return
		}
	}
}

func (s *subscriptions) len() int { return len(s.few) + len(s.many) }

// all returns a copy of the set.
func (s *subscriptions) all() []*subscription {
	list := append(make([]*subscription, 0, s.len()), s.few...)
	for _, sub := range s.many {
		list = append(list, sub)
	}
	return list
}
