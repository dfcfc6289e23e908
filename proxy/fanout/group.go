package fanout

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Outlet is where a member's frames go: a WebSocket connection's Outbox or an
// HTTP streaming session.
type Outlet interface {
	// Send queues or writes the frames of b from number from on, and reports
	// whether they were taken. It never blocks and never changes b. When it
	// reports false the outlet is ending itself.
	Send(b *Batch, from int) bool
}

// Wrapper is an Outlet that passes on what it is sent, unchanged, to another.
// A group sends to that one itself, as each step on the way to a thousand
// members is a thousand waits for memory.
type Wrapper interface{ Unwrap() Outlet }

// Member is one subscription as its group sees it. The zero value with an
// Outlet is ready for Join. A member joins one group, once.
type Member struct {
	Outlet Outlet

	// Guarded by the group's mu.
	index int
	since uint64 // number of the first frame that is for this member

	// Owned by the flusher of the group.
	skipping bool

	left atomic.Bool
}

// Group is the members of one channel on this node and the frames that wait
// for them. The zero value is an empty group.
type Group struct {
	mu      sync.Mutex
	members []*Member
	walked  bool // a flush is walking members' array: leave by copying
	queued  bool // on its flusher's list
	next    uint64
	pending *pending
}

// pending is what has gathered since the last flush.
type pending struct {
	batch   Batch
	first   uint64 // number of its first frame
	skips   []skip
	marks   []mark
	flushed chan struct{} // closed when the flush begins; made when somebody waits
}

type skip struct {
	member *Member
	frame  uint64 // its number
}

type mark struct {
	value any
	frame uint64 // its number
}

// maxPending bounds the bytes that gather in one group. An Append beyond it
// waits for the flush, which itself waits for nobody: that is the publisher's
// backpressure, and it keeps a joined write well inside an Outbox's bound.
const maxPending = 256 << 10

// Len returns the number of members.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// Join adds a member: it will get every frame appended from now on. first, if
// not nil, runs before any of them can be sent, and so may write to the
// member's outlet what must come before. It must not block nor call the group.
func (g *Group) Join(m *Member, first func()) (members int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for w, ok := m.Outlet.(Wrapper); ok; w, ok = m.Outlet.(Wrapper) {
		m.Outlet = w.Unwrap()
	}
	m.since = g.next
	m.index = len(g.members)
	if first != nil {
		first()
	}
	g.members = append(g.members, m)
	return len(g.members)
}

// Leave removes a member that joined. Frames that have gathered for it are
// not sent any more, but for those a running flush has already passed on.
func (g *Group) Leave(m *Member) (members int) {
	m.left.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.has(m) {
		return len(g.members)
	}
	if g.walked {
		g.members = slices.Clone(g.members)
		g.walked = false
	}
	last := len(g.members) - 1
	g.members[m.index] = g.members[last]
	g.members[m.index].index = m.index
	g.members[last] = nil
	g.members = g.members[:last]
	if last == 0 {
		g.members = nil
	}
	return last
}

// Append queues a frame for every member but except, which may be nil. If
// mark is not nil, the flusher's Delivered is told of it once the frame has
// been handed to the members. Append reports how many members the frame is
// for; without members it does nothing.
func (g *Group) Append(f *Flusher, payload []byte, except *Member, value any) (receivers int) {
	g.mu.Lock()
	for g.pending != nil && len(g.pending.batch.wire) >= maxPending {
		g.awaitFlush()
	}
	if len(g.members) == 0 {
		g.mu.Unlock()
		return 0
	}
	p := g.pending
	if p == nil {
		p = &pending{first: g.next}
		g.pending = p
	}
	frame := g.next
	p.batch.add(payload)
	g.next++
	receivers = len(g.members)
	if except != nil && g.has(except) {
		p.skips = append(p.skips, skip{except, frame})
		receivers--
	}
	if value != nil {
		p.marks = append(p.marks, mark{value, frame})
	}
	enqueue := !g.queued
	g.queued = true
	g.mu.Unlock()
	if enqueue {
		f.enqueue(g)
	}
	return receivers
}

// has reports whether m is a member now. g.mu is held.
func (g *Group) has(m *Member) bool { return m.index < len(g.members) && g.members[m.index] == m }

// awaitFlush releases mu until the pending frames have been taken.
func (g *Group) awaitFlush() {
	p := g.pending
	if p.flushed == nil {
		p.flushed = make(chan struct{})
	}
	g.mu.Unlock()
	<-p.flushed
	g.mu.Lock()
}
