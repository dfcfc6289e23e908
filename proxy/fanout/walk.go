package fanout

import "time"

// walk is one flush under way: frames that go from member to member, and
// those that caught up with them.
//
// What is appended while a walk has come to, say, member 50 of 1,000 would
// cost a second write to each of the 1,000. So it joins the walk there: the
// members from 50 on get it in the same write as the rest, and when the walk
// has reached the last member it goes back to the first 50 with what they
// lack. Frames join in the first round only, so a walk ends after two at the
// latest, and other groups have their turn.
type walk struct {
	group   *Group
	members []*Member // only ever extended: members keep their places
	batch   *Batch    // all frames of all legs
	first   uint64    // number of the first of them
	legs    []leg
	skips   []skip
}

// leg is the frames that set out together.
type leg struct {
	start  int    // where in members they joined the walk
	first  uint64 // number of the first of them
	frames int
	marks  []mark
}

// stride is how many members a walk sends to between two looks for frames to
// take along. A look costs a fraction of one write.
const stride = 32

// walk takes what has gathered, or returns nil if nothing has.
func (g *Group) walk() *walk {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.take()
	g.queued = false
	if p == nil {
		return nil
	}
	g.walked = true
	w := &walk{group: g, members: g.members, batch: &p.batch, first: p.first}
	w.add(p, 0)
	return w
}

// take returns what has gathered. g.mu is held.
func (g *Group) take() *pending {
	p := g.pending
	g.pending = nil
	if p != nil && p.flushed != nil {
		close(p.flushed)
	}
	return p
}

func (w *walk) add(p *pending, start int) {
	for _, s := range p.skips {
		s.member.skipping = true
	}
	w.skips = append(w.skips, p.skips...)
	w.legs = append(w.legs, leg{start, p.first, p.batch.Len(), p.marks})
}

// run sends everything to everyone. pause, if not nil, lets those publish
// whose requests have arrived meanwhile.
func (w *walk) run(pause func(), delivered func(value any, receivers int, at time.Time)) {
	for i := 0; i < len(w.members); i++ {
		if i > 0 && i%stride == 0 {
			if pause != nil {
				pause()
			}
			w.catchUp(i)
		}
		w.send(w.members[i], w.first)
	}
	w.report(w.legs[0], delivered)
	i := 0
	for _, l := range w.legs[1:] {
		for ; i < l.start; i++ {
			w.send(w.members[i], l.first)
		}
		w.report(l, delivered)
	}
	for _, s := range w.skips {
		s.member.skipping = false
	}
	w.group.mu.Lock()
	w.group.walked = false
	w.group.mu.Unlock()
}

// catchUp takes along what has gathered by the time the walk is at member i.
// It does not once somebody has left: then the members' places are others.
func (w *walk) catchUp(i int) {
	g := w.group
	g.mu.Lock()
	if !g.walked || g.pending == nil || len(w.batch.wire)+len(g.pending.batch.wire) > maxPending {
		g.mu.Unlock()
		return
	}
	p := g.take()
	w.members = g.members
	g.mu.Unlock()
	w.batch = w.batch.with(&p.batch)
	w.add(p, i)
}

// send hands m the frames from number from on that are for it.
func (w *walk) send(m *Member, from uint64) {
	n := int(max(from, m.since) - w.first)
	if n >= w.batch.Len() || m.left.Load() {
		return
	}
	if !m.skipping {
		m.Outlet.Send(w.batch, n)
	} else if own := w.without(m, n); own.Len() > 0 {
		m.Outlet.Send(own, 0)
	}
}

// without returns the frames of the batch from frame n on that m is not
// excluded from.
func (w *walk) without(m *Member, n int) *Batch {
	skipped := make(map[int]bool, len(w.skips))
	for _, s := range w.skips {
		if s.member == m {
			skipped[int(s.frame-w.first)] = true
		}
	}
	own := new(Batch)
	for i := n; i < w.batch.Len(); i++ {
		if !skipped[i] {
			own.wire = append(own.wire, w.batch.frame(i)...)
			own.ends = append(own.ends, len(own.wire))
		}
	}
	return own
}

// report tells how many members each marked frame of a leg was handed to.
func (w *walk) report(l leg, delivered func(value any, receivers int, at time.Time)) {
	if delivered == nil || len(l.marks) == 0 {
		return
	}
	receivers := make([]int, l.frames+1)
	for _, m := range w.members {
		receivers[min(int(max(m.since, l.first)-l.first), l.frames)]++
	}
	for i := 1; i < len(receivers); i++ {
		receivers[i] += receivers[i-1]
	}
	for _, s := range w.skips {
		if i := s.frame - l.first; s.frame >= l.first && i < uint64(l.frames) {
			receivers[i]--
		}
	}
	now := time.Now()
	for _, m := range l.marks {
		delivered(m.value, max(receivers[m.frame-l.first], 0), now)
	}
}
