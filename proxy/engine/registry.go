package engine

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/offramp/offramp/proxy/protocol"
)

// registry is the node's connections by the number in their socket ids.
type registry struct {
	prefix string // first half of every id here, with the dot
	last   atomic.Uint64
	shards [shards]connShard
}

type connShard struct {
	mu    sync.RWMutex
	conns map[uint64]*Conn
}

// ownSockets is where the range of the first half of the engine's own socket
// ids begins. It ends at 2^53. The vendor's are far below.
const ownSockets = 1 << 52

func socketPrefix(node uint64) string {
	return strconv.FormatUint(ownSockets|node&(ownSockets-1), 10) + "."
}

// Own reports whether a socket id was given out by an engine, on whatever
// node, and not by the vendor.
func Own(id protocol.SocketID) bool {
	head, _, _ := strings.Cut(string(id), ".")
	n, err := strconv.ParseUint(head, 10, 64)
	return err == nil && n >= ownSockets && n < 2*ownSockets && id.Valid()
}

func (r *registry) shard(number uint64) *connShard { return &r.shards[number%shards] }

// add gives a connection its number and id, and files it.
func (r *registry) add(c *Conn) {
	c.number = r.last.Add(1)
	c.id = protocol.SocketID(r.prefix + strconv.FormatUint(c.number, 10))
	s := r.shard(c.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[uint64]*Conn)
	}
	s.conns[c.number] = c
}

func (r *registry) remove(c *Conn) {
	s := r.shard(c.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.number)
	if len(s.conns) == 0 {
		s.conns = nil // a map keeps the room of its fullest time
	}
}

// get returns the connection with that id if it is one of this node's.
func (r *registry) get(id protocol.SocketID) *Conn {
	tail, own := strings.CutPrefix(string(id), r.prefix)
	if !own {
		return nil
	}
	number, err := strconv.ParseUint(tail, 10, 64)
	if err != nil {
		return nil
	}
	s := r.shard(number)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.conns[number]
}

// all returns the connections that match, oldest first; nil matches all.
func (r *registry) all(match func(*Conn) bool) []*Conn {
	var conns []*Conn
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for _, c := range s.conns {
			if match == nil || match(c) {
				conns = append(conns, c)
			}
		}
		s.mu.RUnlock()
	}
	slices.SortFunc(conns, func(a, b *Conn) int { return cmp.Compare(a.number, b.number) })
	return conns
}
