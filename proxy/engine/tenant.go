package engine

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/offramp/offramp/proxy/protocol"
)

// tenant is one app's share of a node. It outlives reloads of the app's
// configuration, which is looked up per command instead.
type tenant struct {
	id     string
	seed   maphash.Seed
	shards [shards]shard

	connections   atomic.Int64 // open
	channels      atomic.Int64 // occupied
	subscriptions atomic.Int64

	seats seats // of the connections that count against the limit

	serverEvents, clientEvents, deliveries, refusals atomic.Uint64
}

// shards is the number of locks that an app's channels are spread over.
const shards = 64

type shard struct {
	mu       sync.RWMutex
	channels map[protocol.ChannelName]*channel
}

func newTenant(id string) *tenant { return &tenant{id: id, seed: maphash.MakeSeed()} }

func (t *tenant) shard(name protocol.ChannelName) *shard {
	return &t.shards[maphash.String(t.seed, string(name))%shards]
}

// find returns a channel if somebody holds it.
func (t *tenant) find(name protocol.ChannelName) *channel {
	s := t.shard(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.channels[name]
}

// acquire returns a channel, made if need be, and holds it: it stays the one
// of its name until release.
func (t *tenant) acquire(name protocol.ChannelName) *channel {
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.channels[name]
	if ch == nil {
		ch = newChannel(t, name)
		if s.channels == nil {
			s.channels = make(map[protocol.ChannelName]*channel)
		}
		s.channels[ch.name] = ch
	}
	ch.holds++
	return ch
}

// hold adds a hold to a channel that the caller holds already.
func (ch *channel) hold() {
	s := ch.tenant.shard(ch.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	ch.holds++
}

// release ends one hold.
func (ch *channel) release() {
	s := ch.tenant.shard(ch.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.holds--; ch.holds == 0 {
		delete(s.channels, ch.name)
		if len(s.channels) == 0 {
			s.channels = nil // a map keeps the room of its fullest time
		}
	}
}

// each calls f for every channel that somebody holds, outside all locks.
func (t *tenant) each(f func(*channel)) {
	var found []*channel
	for i := range t.shards {
		s := &t.shards[i]
		found = found[:0]
		s.mu.RLock()
		for _, ch := range s.channels {
			found = append(found, ch)
		}
		s.mu.RUnlock()
		for _, ch := range found {
			f(ch)
		}
	}
}
