package shadow

import (
	"math"
	"slices"
)

// What a gap makes doubtful, and what is forgotten when memory is short.

// slowSample is how many events say how long they take, as a rule.
const slowSample = 256

// noteSlow keeps in mind how long 19 of 20 events took at most to arrive on a
// leg, now or lately: as long before a gap one may have been published that is
// hidden by it. What one in twenty may take is a fault of its own, and would
// hide the others.
func (p *sweeper) noteSlow(leg int) {
	l := &p.window.legs[leg]
	l.slow -= l.slow / 8
	var sample [slowSample]int64
	took := sample[:0]
	for s := 0; s < len(p.slots); s += 1 + len(p.slots)/slowSample {
		if o := p.outcome(s, leg); o.first != nil {
			took = append(took, min(o.first.at-p.slots[s].at, p.wait()))
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		l.slow = max(l.slow, took[(len(took)-1)*95/100])
	}
}

// overtakers is how many events of a channel may overtake one that is only
// slow: what more of them have overtaken was lost.
const overtakers = 8

// hidden reports whether an event may have arrived on a leg unseen: the leg
// had a gap at that time; or it had one a little later, in which an event that
// is slow may have been on its way; or it had one within the window, and shows
// no ids, and which of several equal events was hidden cannot be told.
func (p *sweeper) hidden(s, leg int) bool {
	due := span{from: p.began(s), to: p.slots[s].at + p.edge()}
	if p.gap(leg, due) {
		return true
	}
	due.to += p.window.legs[leg].slow
	if from, is := p.gapFrom(leg, due); is && !p.overtaken(s, leg, from) {
		return true
	}
	due.from -= p.wait()
	return !p.app.hears(p.window.legs[leg].name).ids && p.gap(leg, due) && p.twin(s)
}

// overtaken reports whether so many that were published after an event had
// arrived on a leg before a time that it cannot have been on its way any more.
func (p *sweeper) overtaken(s, leg int, before int64) bool {
	soonest, looked := p.soonest[leg]
	if !looked {
		soonest = make([]int64, len(p.slots))
		first := int64(math.MaxInt64)
		for i := len(soonest) - 1; i >= 0; i-- {
			if o := p.outcome(i, leg); o.first != nil {
				first = min(first, o.first.at)
			}
			soonest[i] = first
		}
		p.soonest[leg] = soonest
	}
	next := s + overtakers
	return next < len(soonest) && soonest[next] < before
}

// began returns when an event may have set out: one whose publish was not seen
// did so before the reference showed it.
func (p *sweeper) began(s int) int64 {
	if p.slots[s].truth {
		return p.slots[s].at
	}
	return p.slots[s].at - p.edge()
}

// twin reports whether another event has the same content.
func (p *sweeper) twin(s int) bool {
	if p.twins == nil {
		p.twins = make(map[uint64]int, len(p.slots))
		for i := range p.slots {
			p.twins[p.slots[i].key]++
		}
	}
	return p.twins[p.slots[s].key] > 1 || p.isClosed(p.slots[s].key)
}

// doubtful reports whether an arrival of an event proves nothing about order
// and repeats: the leg had a gap while it was on its way; or it is known by its
// content only, or its place by what the reference showed, and within the
// window one of the two legs had a gap.
func (p *sweeper) doubtful(s, leg int, x *arrival) bool {
	if p.gap(leg, span{from: p.began(s), to: x.at}) {
		return true
	}
	if p.slots[s].truth && !x.id.IsZero() && x.id == p.slots[s].id {
		return false
	}
	near := span{from: x.at - p.wait(), to: x.at}
	return p.gap(leg, near) || p.gap(0, near)
}

// gap reports whether a leg could not be observed in a span.
func (p *sweeper) gap(leg int, s span) bool {
	l := &p.window.legs[leg]
	if l.gaps.overlap(s) {
		return true
	}
	g := p.app.gaps[l.name]
	return g != nil && g.overlap(s)
}

// gapFrom returns when the first gap of a leg began that overlaps a span.
func (p *sweeper) gapFrom(leg int, s span) (from int64, is bool) {
	from = math.MaxInt64
	l := &p.window.legs[leg]
	for _, g := range l.gaps {
		if g.overlaps(s) {
			from = min(from, g.from)
		}
	}
	if all := p.app.gaps[l.name]; all != nil {
		for _, g := range *all {
			if g.overlaps(s) {
				from = min(from, g.from)
			}
		}
	}
	return from, from != math.MaxInt64
}

// leaves reports whether an arrival that is no event's has waited long enough,
// or has to go as memory is short.
func (p *sweeper) leaves(v *viewPass, a int) bool {
	return v.view.arrivals[a].at <= p.expired() || (p.mode == closeHalf && a < (len(v.slotOf)+1)/2)
}

// closedEarly returns the span of what is closed only as memory is short.
func (p *sweeper) closedEarly(cut int) (early span) {
	if p.mode != closeHalf {
		return early
	}
	note := func(at int64) {
		if early.to == 0 {
			early = span{from: at, to: at}
		}
		early = span{from: min(early.from, at), to: max(early.to, at)}
	}
	for s := range p.slots[:cut] {
		if !p.closable(s) {
			note(p.slots[s].at)
		}
	}
	for i := range p.views {
		v := &p.views[i]
		for a, s := range v.slotOf {
			if s == none && v.view.arrivals[a].at > p.expired() && p.leaves(v, a) {
				note(v.view.arrivals[a].at)
			}
		}
	}
	return early
}

// blindfold makes a gap of what was closed early: what is still to come of it
// is not to be taken for anything else.
func (p *sweeper) blindfold(early span) {
	if early.to == 0 {
		return
	}
	for i := range p.window.legs {
		p.window.legs[i].gaps.add(early)
	}
}
