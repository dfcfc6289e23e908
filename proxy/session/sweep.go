package session

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// sweepEvery is how often silent connections are looked for, and the
// resolution of the clock that signs of life are noted by. There is one
// sweeper and no timer per connection.
const sweepEvery = 250 * time.Millisecond

// clock is the time since the server was made, to within sweepEvery. It is
// read far more often than it is set.
type clock struct {
	start   time.Time
	elapsed atomic.Int64 // a time.Duration; at least 1
}

func (c *clock) tick()              { c.elapsed.Store(int64(time.Since(c.start)) + 1) }
func (c *clock) now() time.Duration { return time.Duration(c.elapsed.Load()) }

const shardCount = 16

// shard is a part of the open sessions.
type shard struct {
	mu       sync.Mutex
	sessions []*Session
	_        [32]byte // keeps neighbours out of each other's cache line
}

func (s *Server) add(ses *Session) {
	sh := &s.shards[rand.N(shardCount)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	ses.shard, ses.index = sh, len(sh.sessions)
	sh.sessions = append(sh.sessions, ses)
}

func (s *Server) remove(ses *Session) {
	sh := ses.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last := len(sh.sessions) - 1
	sh.sessions[ses.index] = sh.sessions[last]
	sh.sessions[ses.index].index = ses.index
	sh.sessions[last] = nil
	sh.sessions = sh.sessions[:last]
	if last == 0 {
		sh.sessions = nil
	}
}

// sweep pings those who have been silent too long, and gives up those who do
// not answer. Peers do not notice: it is a control frame, answered by the
// WebSocket library (vendor documentation: WebSocket protocol, ping and pong).
func (s *Server) sweep() {
	now := s.clock.now()
	for i := range s.shards {
		s.shards[i].sweep(now)
	}
}

func (sh *shard) sweep(now time.Duration) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, ses := range sh.sessions {
		ses.checkLiveness(now)
	}
}

// abort ends every connection.
func (s *Server) abort() {
	for i := range s.shards {
		s.shards[i].abort()
	}
}

func (sh *shard) abort() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, ses := range sh.sessions {
		ses.abort()
	}
}

func (s *Session) abort() {
	s.Close(protocol.ErrReconnect.Code, protocol.ErrReconnect.Message)
	s.link.Abort()
}

func (s *Session) checkLiveness(now time.Duration) {
	seen := time.Duration(s.seen.Load())
	if s.pinged <= seen { // the clock is coarse: an answer may bear the time of its ping
		s.pinged = 0
	}
	switch {
	case s.lost:
	case s.pinged == 0 && now-seen >= s.app.PingAfter:
		s.pinged = now
		s.link.Ping()
	case s.pinged != 0 && now-s.pinged >= s.app.PongWithin:
		s.lost = true
		s.Close(protocol.ErrPongTimeout.Code, protocol.ErrPongTimeout.Message)
		s.link.Abort()
	}
}
