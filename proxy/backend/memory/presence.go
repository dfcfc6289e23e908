package memory

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Presence knows who is on the presence channels of one node. The slices of
// members that it returns are shared: callers do not change them.
type Presence struct {
	seed   maphash.Seed
	shards [shards]shard
}

const shards = 32

type shard struct {
	mu    sync.Mutex
	rooms map[proxy.Topic]*room
}

// room is one channel with somebody in it.
type room struct {
	members []protocol.Member // in order of arrival; replaced, never changed
	sockets map[string][]protocol.SocketID
}

var _ proxy.Presence = (*Presence)(nil)

// NewPresence returns a Presence with nobody anywhere.
func NewPresence() *Presence { return &Presence{seed: maphash.MakeSeed()} }

func (p *Presence) shard(t proxy.Topic) *shard {
	return &p.shards[maphash.String(p.seed, string(t.Channel))%shards]
}

// Join implements proxy.Presence.
func (p *Presence) Join(_ context.Context, t proxy.Topic, m proxy.Member, id protocol.SocketID, limit int) ([]proxy.Member, bool, error) {
	s := p.shard(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[t]
	if r == nil {
		r = &room{sockets: make(map[string][]protocol.SocketID)}
	}
	sockets := r.sockets[m.UserID]
	first := len(sockets) == 0
	if first && len(r.members) >= limit {
		return nil, false, proxy.ErrChannelFull
	}
	if !slices.Contains(sockets, id) {
		r.sockets[m.UserID] = append(sockets, id)
	}
	if first {
		r.members = append(slices.Clip(r.members), m)
	}
	if s.rooms == nil {
		s.rooms = make(map[proxy.Topic]*room)
	}
	s.rooms[t] = r
	return r.members, first, nil
}

// Leave implements proxy.Presence. A socket that is not there is no error.
func (p *Presence) Leave(_ context.Context, t proxy.Topic, userID string, id protocol.SocketID) (bool, error) {
	s := p.shard(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[t]
	if r == nil {
		return false, nil
	}
	sockets := r.sockets[userID]
	i := slices.Index(sockets, id)
	if i < 0 {
		return false, nil
	}
	if sockets = slices.Delete(sockets, i, i+1); len(sockets) > 0 {
		r.sockets[userID] = sockets
		return false, nil
	}
	delete(r.sockets, userID)
	r.members = without(r.members, userID)
	if len(r.members) == 0 {
		delete(s.rooms, t)
	}
	return true, nil
}

// Members implements proxy.Presence.
func (p *Presence) Members(_ context.Context, t proxy.Topic) ([]proxy.Member, error) {
	s := p.shard(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[t]; r != nil {
		return r.members, nil
	}
	return nil, nil
}

func without(members []protocol.Member, userID string) []protocol.Member {
	rest := make([]protocol.Member, 0, len(members)-1)
	for _, m := range members {
		if m.UserID != userID {
			rest = append(rest, m)
		}
	}
	return rest
}
