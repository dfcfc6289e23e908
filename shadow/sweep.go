package shadow

import (
	"slices"

	"github.com/offramp/offramp/proxy"
)

// mode says which comparisons a sweep closes.
type mode uint8

const (
	closeDue   mode = iota // those that are complete, or older than the window
	closeHalf              // also the older half, complete or not: memory is short
	closeQuiet             // all: nothing more will come
	closeCut               // all, though something may still be on its way
	preview                // none, but count all past the edge as if closed
)

// sweeper is the scratch memory of a sweep, and the sweep's own facts.
type sweeper struct {
	state  *state
	app    *appState
	window *window
	now    int64
	mode   mode
	target target

	slots    []slot
	views    []viewPass
	outcomes []outcome // by slot, then leg
	spare    []*matcher
	groups   []groupCache
	closed   map[uint64]uint16 // content and ids closed lately: legs that had it
	isClosed func(uint64) bool
	twins    map[uint64]int  // slots by content; nil: not counted yet
	soonest  map[int][]int64 // by leg, then slot: when the first of it and those behind it arrived; as far as looked at
}

// target is where findings are counted.
type target struct {
	ledger   *ledger
	exhibits *exhibits
}

// viewPass is one view in a sweep.
type viewPass struct {
	leg  int
	view *view
	*pairing
}

// sweep closes what is due on every channel.
func (s *state) sweep(now int64) {
	for _, a := range s.apps {
		for topic, w := range a.windows {
			if now < w.next {
				continue
			}
			s.integratePresence(a, w, now)
			s.sweepWindow(a, w, now, closeDue)
			if w.idle() {
				delete(a.windows, topic)
			}
		}
		before := now - 2*int64(s.config.Window)
		for _, g := range a.gaps {
			g.forget(before)
		}
		a.forgetQuestions(before)
		s.sweepHooks(a, now, now-int64(s.config.Window), true)
	}
	s.shrink(now)
}

// shrink closes the older halves of windows, in no order, until all together
// hold a quarter less than they may, if they hold more: very many channels
// with a few events each are too much as well.
func (s *state) shrink(now int64) {
	if s.open <= s.config.OpenWindow {
		return
	}
	for _, a := range s.apps {
		for _, w := range a.windows {
			if s.open <= s.config.OpenWindow/4*3 {
				return
			}
			s.sweepWindow(a, w, now, closeHalf)
		}
	}
}

// closeAll closes everything. What has not arrived is missing if nothing more
// was on its way, else unknown.
func (s *state) closeAll(now int64, quiet bool) {
	m := closeQuiet
	if !quiet {
		m = closeCut
	}
	for _, a := range s.apps {
		for _, w := range a.windows {
			s.integratePresence(a, w, now)
			s.sweepWindow(a, w, now, m)
			s.chargeAll(a, w, s.ledger)
		}
		s.sweepHooks(a, now, now, quiet)
	}
}

func (s *state) sweepWindow(a *appState, w *window, now int64, m mode) {
	p := &s.sweeps
	p.state, p.app, p.window, p.now, p.mode = s, a, w, now, m
	p.target = target{ledger: s.ledger, exhibits: &a.exhibits}
	cut := p.run()
	if m == closeHalf {
		a.overflow += int64(cut)
	}
	early := p.closedEarly(cut)
	p.remove(cut)
	p.blindfold(early)
	w.next = now + int64(sweepEvery)
	if len(w.events) > 1024 {
		w.next = now + max(int64(sweepEvery), int64(s.config.Window)/16)
	}
}

// run pairs, judges and counts, and returns how many slots it closed.
func (p *sweeper) run() int {
	if p.groups = p.groups[:0]; cap(p.groups) == 0 {
		p.groups = make([]groupCache, 0, maxGroupCache)
	}
	p.assignAnswers()
	p.begin()
	p.matchAll()
	p.judge()
	cut := p.cut()
	p.count(cut)
	p.countLeft()
	return cut
}

func (p *sweeper) edge() int64 { return int64(p.state.config.Edge) }
func (p *sweeper) wait() int64 { return int64(p.state.config.Window) }

// settled is the time up to which everything that belongs together has
// probably been seen together.
func (p *sweeper) settled() int64 {
	if p.mode == closeQuiet || p.mode == closeCut {
		return p.now
	}
	return p.now - p.edge()
}

// expired is the time up to which an event or arrival has waited long enough.
func (p *sweeper) expired() int64 {
	switch p.mode {
	case closeQuiet, closeCut:
		return p.now
	case preview:
		return p.now - p.edge()
	default:
		return p.now - p.wait()
	}
}

func (p *sweeper) begin() {
	w := p.window
	p.slots = p.slots[:0]
	for i := range w.events {
		e := &w.events[i]
		p.slots = append(p.slots, slot{at: e.at, id: e.id, key: e.key, user: e.user, name: e.name, truth: true, event: i})
	}
	p.views = p.views[:0]
	for i := range w.legs {
		for _, v := range w.legs[i].views {
			p.views = append(p.views, viewPass{leg: i, view: v})
		}
	}
	p.closed, p.twins, p.soonest = nil, nil, make(map[int][]int64)
	if p.isClosed == nil {
		p.isClosed = func(key uint64) bool { _, known := p.lately()[key]; return known }
	}
}

// lately returns the content closed lately, by key and by id.
func (p *sweeper) lately() map[uint64]uint16 {
	if p.closed == nil {
		p.closed = make(map[uint64]uint16, 2*len(p.window.recent))
		for _, c := range p.window.recent {
			p.closed[c.key] |= c.seen
			if !c.id.IsZero() {
				p.closed[idKey(c.id)] |= c.seen
			}
		}
	}
	return p.closed
}

// idKey puts ids among content keys.
func idKey(id proxy.EventID) uint64 { return id.Node*0x9e3779b97f4a7c15 ^ id.Seq }

// matchAll pairs every view. What the reference shows and nobody published
// here becomes a slot of its own, after what arrived before it.
func (p *sweeper) matchAll() {
	for len(p.spare) < len(p.views) {
		p.spare = append(p.spare, new(matcher))
	}
	added := false
	for i := range p.views {
		if p.views[i].leg != 0 {
			continue
		}
		p.match(i)
		added = p.addUnpublished(i) || added
	}
	for i := range p.views {
		if added || p.views[i].leg != 0 {
			p.match(i)
		}
	}
}

func (p *sweeper) match(i int) {
	v := &p.views[i]
	in := input{
		slots: p.slots, arrivals: v.view.arrivals, settled: p.settled(), window: p.wait(), closed: p.isClosed,
		foreign: v.leg > 0,
		blind:   func(x *arrival) bool { return p.gap(0, span{from: x.at - p.wait(), to: x.at}) },
	}
	if v.view.socket != "" {
		for in.from < len(in.slots) && in.slots[in.from].at < v.view.from {
			in.from++
		}
	}
	v.pairing = p.spare[i].match(&in)
}

// addUnpublished adds slots for what a view of the reference shows beyond
// what was published here, and reports whether there was any.
func (p *sweeper) addUnpublished(i int) bool {
	v := &p.views[i]
	var merged []slot
	copied := 0 // slots of p.slots in merged
	for a, s := range v.slotOf {
		if s != none {
			if merged != nil && s >= copied {
				merged = append(merged, p.slots[copied:s+1]...)
				copied = s + 1
			}
			continue
		}
		if !p.unpublished(v.view, &v.view.arrivals[a]) {
			continue
		}
		if merged == nil {
			merged = make([]slot, 0, len(p.slots)+16)
			copied = p.after(v, a)
			merged = append(merged, p.slots[:copied]...)
		}
		x := &v.view.arrivals[a]
		merged = append(merged, slot{at: x.at, id: x.id, key: x.key, user: x.user, name: x.name, event: none})
	}
	if merged == nil {
		return false
	}
	p.slots = append(merged, p.slots[copied:]...)
	return true
}

// after returns the number of slots that come before an arrival.
func (p *sweeper) after(v *viewPass, a int) int {
	n := 0
	for _, s := range v.slotOf[:a] {
		n = max(n, s+1)
	}
	return n
}

// unpublished reports whether an unidentified arrival at the reference is an
// event whose publish did not pass here: old enough for the publish to have
// been told, not one of those closed lately, and not what a new subscriber of
// a cache channel is given.
func (p *sweeper) unpublished(v *view, x *arrival) bool {
	if x.at > p.settled() || (v.socket != "" && x.at < v.from+p.edge() && p.window.topic.Cached()) {
		return false
	}
	return !p.known(x)
}

func (p *sweeper) known(x *arrival) bool {
	_, known := p.lately()[p.lateKey(x)]
	return known
}

func (p *sweeper) lateKey(x *arrival) uint64 {
	if !x.id.IsZero() {
		return idKey(x.id)
	}
	return x.key
}

// cut returns how many slots can be closed: a run from the oldest on, of
// which each has waited long enough, and after which every view starts anew,
// so that no two events whose order is in question are judged apart.
func (p *sweeper) cut() int {
	closable := 0
	for closable < len(p.slots) && p.closable(closable) {
		closable++
	}
	if closable == len(p.slots) {
		return closable
	}
	forced := 0 // disorder without end must not hold windows open
	for forced < closable && p.slots[forced].at <= p.now-2*p.wait() {
		forced++
	}
	if p.mode == closeHalf {
		forced = max(forced, (len(p.slots)+1)/2)
		closable = max(closable, forced)
	}
	for c := closable; c > forced; c-- {
		if p.clean(c) {
			return c
		}
	}
	return forced
}

func (p *sweeper) closable(s int) bool {
	at := p.slots[s].at
	if at <= p.expired() {
		return true
	}
	if at > p.settled() {
		return false
	}
	for i := range p.window.legs {
		if !p.outcome(s, i).decided {
			return false
		}
	}
	return true
}

// clean reports whether every view had all its arrivals of the first c slots
// before any of the others.
func (p *sweeper) clean(c int) bool {
	for i := range p.views {
		first := p.views[i].first
		last := none
		for _, a := range first[:c] {
			last = max(last, a)
		}
		for _, a := range first[c:] {
			if a != none && a < last {
				return false
			}
		}
	}
	return true
}

// remove forgets the first cut slots and what arrived of them.
func (p *sweeper) remove(cut int) {
	w := p.window
	for i := range p.views {
		p.removeArrivals(&p.views[i], cut)
	}
	events := 0
	for i := range p.slots[:cut] {
		s := &p.slots[i]
		c := closedEvent{id: s.id, key: s.key, at: p.now}
		for l := range w.legs {
			if p.outcome(i, l).state == stateSeen {
				c.seen |= 1 << l
			}
		}
		w.recent = append(w.recent, c)
		if s.truth {
			events++
		}
	}
	for i := range w.events[:events] {
		p.state.release(w.events[i].body)
	}
	p.state.open -= events
	w.events = slices.Delete(w.events, 0, events)
	p.forget()
}

func (p *sweeper) removeArrivals(v *viewPass, cut int) {
	kept := v.view.arrivals[:0]
	for a := range v.view.arrivals {
		x := v.view.arrivals[a]
		s := v.slotOf[a]
		stays := s >= cut || (s == none && !p.leaves(v, a)) || (s != none && v.first[s] != a && x.at > p.settled())
		if stays {
			kept = append(kept, x)
			continue
		}
		p.state.release(x.body)
		p.state.open--
	}
	clear(v.view.arrivals[len(kept):])
	v.view.arrivals = kept
}

// forget drops what is too old to matter to any comparison to come.
func (p *sweeper) forget() {
	w := p.window
	before := p.now - p.wait()
	w.recent = slices.DeleteFunc(w.recent, func(c closedEvent) bool { return c.at < before })
	if extra := len(w.recent) - p.state.config.ChannelWindow; extra > 0 {
		w.recent = slices.Delete(w.recent, 0, extra)
	}
	w.answers = slices.DeleteFunc(w.answers, func(a answer) bool { return a.at < before })
	oldest := before - p.wait()
	for i := range w.legs {
		l := &w.legs[i]
		l.gaps.forget(oldest)
		l.occupied.forget(oldest)
		l.views = slices.DeleteFunc(l.views, func(v *view) bool {
			return v.to != 0 && v.to < oldest && len(v.arrivals) == 0
		})
	}
	p.state.chargeOld(p.app, w, p.now)
}

// assignAnswers notes what backends said of the events they were handed.
func (p *sweeper) assignAnswers() {
	w := p.window
	if len(w.answers) == 0 {
		return
	}
	next := 0 // backends mostly answer in order of publishing
	var index map[proxy.EventID]int
	w.answers = slices.DeleteFunc(w.answers, func(a answer) bool {
		i := next
		if i >= len(w.events) || w.events[i].id != a.id {
			if index == nil {
				index = make(map[proxy.EventID]int, len(w.events))
				for k := range w.events {
					index[w.events[k].id] = k
				}
			}
			found, ok := index[a.id]
			if !ok {
				return false
			}
			i = found
		}
		w.events[i].answers[a.leg], w.events[i].handed[a.leg] = a.code, a.place
		next = i + 1
		return true
	})
}

// cellCache saves looking a cell up for every event.
type cellCache struct {
	pair   int // the candidate's leg
	name   uint32
	start  int64
	ledger *ledger
	counts *entry
	times  *entry
}

const (
	maxCellCache  = 16
	maxGroupCache = 16
)

// cell returns the counts and latencies of an event in a pair with the leg.
func (p *sweeper) cell(leg int, name uint32, at int64) (*Counts, *Latency) {
	w := p.window
	start := at / int64(p.state.config.Cell)
	for i := range w.cells {
		c := &w.cells[i]
		if c.pair == leg && c.name == name && c.start == start && c.ledger == p.target.ledger {
			c.counts.dirty, c.times.dirty = true, true
			return &c.counts.counts, c.times.latency
		}
	}
	pair, key := p.pair(leg), cellKeyOf(p.app, p.window, name)
	c := cellCache{pair: leg, name: name, start: start, ledger: p.target.ledger}
	c.counts, c.times = p.target.ledger.entries(pair, key, at)
	if len(w.cells) >= maxCellCache || p.mode == preview {
		w.cells = w.cells[:0]
	}
	w.cells = append(w.cells, c)
	return &c.counts.counts, c.times.latency
}

func (p *sweeper) pair(leg int) pairKey {
	pair := pairKey{App: p.app.id, Reference: p.window.legs[0].name}
	if leg > 0 {
		pair.Candidate = p.window.legs[leg].name
	}
	return pair
}

// cellKeyOf returns the key of the cell that counts an event. Patterns and
// events are bounded each, and so are their combinations: the rest of a
// pattern's events are "other".
func cellKeyOf(a *appState, w *window, name uint32) Key {
	k := Key{Type: w.typ, Pattern: w.pattern, Event: a.events.text(name)}
	if a.keys.number(k.Pattern+"\x00"+k.Event) == 0 {
		k.Event = other
	}
	return k
}
