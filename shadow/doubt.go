package shadow

// What a gap makes doubtful, and what is forgotten when memory is short.

// noteSlowest keeps in mind how long events took to arrive on a leg: as long
// before a gap one may have been published that is hidden by it.
func (p *sweeper) noteSlowest(leg int) {
	l := &p.window.legs[leg]
	l.slow -= l.slow / 8
	for s := range p.slots {
		if o := p.outcome(s, leg); o.first != nil {
			l.slow = max(l.slow, min(o.first.at-p.slots[s].at, p.wait()))
		}
	}
}

// hidden reports whether an event may have arrived on a leg unseen: the leg
// had a gap at that time; or it had one within the window, and shows no ids,
// and which of several equal events was hidden cannot be told.
func (p *sweeper) hidden(s, leg int) bool {
	due := span{from: p.began(s), to: p.slots[s].at + p.edge() + p.window.legs[leg].slow}
	if p.gap(leg, due) {
		return true
	}
	due.from -= p.wait()
	return !p.app.hears(p.window.legs[leg].name).ids && p.gap(leg, due) && p.twin(s)
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
