package shadow

import (
	"maps"
	"slices"
	"time"
)

// legState is what became of one event on one leg.
type legState uint8

const (
	stateAbsent   legState = iota // it had no reason to be there
	stateSeen                     // it arrived
	stateMissing                  // it should have arrived and did not
	stateUnknown                  // it could not be observed
	stateRejected                 // the backend refused it
)

// outcome is one event on one leg.
type outcome struct {
	state   legState
	decided bool     // nothing that is still to come can change it
	unsure  bool     // on its way during a gap: repeats and order prove nothing
	differs bool     // arrived with another payload
	order   int      // place among the arrivals of the leg's main view, or none
	again   int      // further arrivals
	first   *arrival // the earliest, if it arrived
	code    uint32   // result code, if rejected
}

func (p *sweeper) outcome(s, leg int) *outcome { return &p.outcomes[s*len(p.window.legs)+leg] }

// judge decides every event on every leg.
func (p *sweeper) judge() {
	n := len(p.slots) * len(p.window.legs)
	if cap(p.outcomes) < n {
		p.outcomes = make([]outcome, n, n+n/4)
	}
	p.outcomes = p.outcomes[:n]
	for i := range p.outcomes {
		p.outcomes[i] = outcome{order: none}
	}
	for leg := range p.window.legs {
		main := p.mainView(leg)
		for i := range p.views {
			if p.views[i].leg == leg {
				p.judgeSeen(&p.views[i], i == main)
			}
		}
		p.noteSlow(leg)
		for s := range p.slots {
			p.judgeSlot(s, leg)
		}
	}
}

// mainView returns the view of a leg that saw most.
func (p *sweeper) mainView(leg int) int {
	best := none
	for i := range p.views {
		if p.views[i].leg == leg && (best == none || len(p.views[i].view.arrivals) > len(p.views[best].view.arrivals)) {
			best = i
		}
	}
	return best
}

// judgeSeen notes what one view saw.
func (p *sweeper) judgeSeen(v *viewPass, main bool) {
	again := make(map[int]int)
	for a, s := range v.slotOf {
		if s == none {
			continue
		}
		o, x := p.outcome(s, v.leg), &v.view.arrivals[a]
		if v.first[s] != a {
			if x.at <= p.settled() {
				again[s]++
				o.unsure = o.unsure || p.doubtful(s, v.leg, x)
			}
			continue
		}
		o.state = stateSeen
		if o.first == nil || x.at < o.first.at {
			o.first = x
		}
		if main {
			o.order = a
		}
		o.differs = o.differs || differs(&p.slots[s], x)
	}
	for s, n := range again {
		o := p.outcome(s, v.leg)
		o.again = max(o.again, n)
	}
}

func differs(s *slot, x *arrival) bool {
	return s.key != x.key || (s.user != 0 && x.user != 0 && s.user != x.user)
}

func (p *sweeper) judgeSlot(s, leg int) {
	o, slot := p.outcome(s, leg), &p.slots[s]
	if leg > 0 && slot.truth && p.window.events[slot.event].origin == p.window.legs[leg].name {
		*o = outcome{decided: true, order: none} // it came from there
		return
	}
	withheld := o.state == stateSeen && p.withheld(s, leg)
	if o.state == stateSeen && !withheld {
		// What was paired by place only may yet turn out to be another event.
		sure := !o.differs || (!slot.id.IsZero() && slot.id == o.first.id)
		o.decided = sure && p.everywhere(s, leg)
		o.unsure = o.unsure || p.doubtful(s, leg, o.first)
		return
	}
	switch {
	case p.hidden(s, leg):
		o.state, o.order = stateUnknown, none
	case withheld:
		o.state, o.order = stateMissing, none
	default:
		p.judgeUnseen(s, leg, o)
	}
	o.decided = o.state == stateAbsent || o.state == stateRejected
	if o.state == stateMissing && (p.mode == closeCut || (p.mode == closeHalf && slot.at > p.now-p.wait())) {
		o.state = stateUnknown
	}
}

// everywhere reports whether every socket that had to show an event did.
func (p *sweeper) everywhere(s, leg int) bool {
	for i := range p.views {
		v := &p.views[i]
		if v.leg == leg && v.view.socket != "" && v.first[s] == none && p.expected(v.view, s) == stateMissing {
			return false
		}
	}
	return true
}

// withheld reports whether a client was given an event by the reference and
// its double was not, though others were.
func (p *sweeper) withheld(s, leg int) bool {
	if leg == 0 || p.window.kind(leg) != kindSockets || p.everywhere(s, leg) {
		return false
	}
	for i := range p.views {
		v := &p.views[i]
		if v.leg != leg || v.view.socket == "" || v.first[s] != none || p.expected(v.view, s) != stateMissing {
			continue
		}
		if own := p.viewOf(0, v.view.socket); own != nil && own.first[s] != none {
			return true
		}
	}
	return false
}

// expected says what it means that a socket did not show an event.
func (p *sweeper) expected(v *view, s int) legState {
	slot := &p.slots[s]
	if slot.truth {
		if e := &p.window.events[slot.event]; e.excludes && e.except == v.socket {
			return stateAbsent
		}
	}
	switch {
	case slot.at < v.from-p.edge() || (v.to != 0 && slot.at > v.to+p.edge()):
		return stateAbsent
	case slot.at < v.from+p.edge() || (v.to != 0 && slot.at > v.to-p.edge()):
		return stateUnknown
	default:
		return stateMissing
	}
}

// judgeUnseen decides an event that did not arrive on a leg.
func (p *sweeper) judgeUnseen(s, leg int, o *outcome) {
	l, slot := &p.window.legs[leg], &p.slots[s]
	switch p.window.kind(leg) {
	case kindSockets:
		o.state = p.unseenBySockets(s, leg)
	case kindChannel:
		o.state = p.unseenByEngine(slot, l)
	case kindBackend:
		p.unseenByBackend(slot, leg, o)
	}
}

func (p *sweeper) unseenBySockets(s, leg int) legState {
	result := stateAbsent
	for i := range p.views {
		if p.views[i].leg != leg || p.views[i].view.socket == "" {
			continue
		}
		switch p.expected(p.views[i].view, s) {
		case stateMissing:
			return stateMissing
		case stateUnknown:
			result = stateUnknown
		}
	}
	return result
}

// unseenByEngine goes by how many subscribers the channel had: the event was
// due if there was one who was not excluded.
func (p *sweeper) unseenByEngine(slot *slot, l *leg) legState {
	need := 1
	if slot.truth && p.window.events[slot.event].excludes {
		need = 2
	}
	low, high := l.occupied.during(span{from: slot.at - p.edge(), to: slot.at + p.edge()})
	switch {
	case low >= need:
		return stateMissing
	case high >= need:
		return stateUnknown
	default:
		return stateAbsent
	}
}

// unseenByBackend goes by what the backend said of the event when it was
// handed over. Only an event that it took can be missing.
func (p *sweeper) unseenByBackend(slot *slot, leg int, o *outcome) {
	if !slot.truth {
		return // never handed over
	}
	heard := p.app.hears(p.window.legs[leg].name)
	code := p.window.events[slot.event].answers[leg]
	switch {
	case code == 0 && !heard.answers && heard.delivered:
		o.state = stateMissing // a leg that never says what it took
	case code == 0:
		o.state = stateUnknown
	case accepted(p.state.codes.text(code)):
		o.state = stateMissing
	default:
		o.state, o.code = stateRejected, code
	}
}

// count adds the first cut slots to their cells.
func (p *sweeper) count(cut int) {
	for s := range p.slots[:cut] {
		if slot := &p.slots[s]; p.outcome(s, 0).state == stateSeen {
			c, _ := p.cell(0, slot.name, slot.at)
			c.Delivered++
			if slot.truth {
				c.Published++
			}
		}
	}
	for leg := 1; leg < len(p.window.legs); leg++ {
		for s := range p.slots[:cut] {
			p.countSlot(s, leg)
		}
		p.countOrder(cut, leg)
		p.countLibraries(cut, leg)
		p.countSiblings(cut, leg)
	}
}

func (p *sweeper) countSlot(s, leg int) {
	slot, ref, o := &p.slots[s], p.outcome(s, 0), p.outcome(s, leg)
	if o.state == stateAbsent {
		return
	}
	c, times := p.cell(leg, slot.name, slot.at)
	switch o.state {
	case stateRejected:
		countNamed(&c.Rejected, p.state.codes.text(o.code), 1)
		p.exhibit("rejected", s, leg)
		return
	case stateUnknown:
		c.Unknown++
		return
	case stateMissing:
		c.Missing++
		c.Affected += p.receivers(s)
		p.exhibit("missing", s, leg)
	case stateSeen:
		p.countSeen(c, s, leg)
		p.time(c, times, s, leg)
	}
	c.Expected++
	if ref.state == stateMissing {
		c.ReferenceMissing++
	}
	if !ref.unsure {
		c.ReferenceDuplicate += int64(ref.again)
	}
	p.charge(leg, slot, o.state == stateMissing)
	p.countPublisher(s, leg)
}

// countPublisher counts an event that was compared with its publisher's.
func (p *sweeper) countPublisher(s, leg int) {
	o := p.outcome(s, leg)
	g := p.group(leg, ByPublisher, p.source(s), p.slots[s].at)
	g.Events++
	switch {
	case o.state == stateMissing:
		g.Missing++
	case o.differs:
		g.PayloadDiffers++
	}
	if !o.unsure {
		g.Duplicate += int64(o.again)
	}
}

// source returns who published an event; "other" when nobody did here.
func (p *sweeper) source(s int) uint32 {
	if !p.slots[s].truth {
		return 0
	}
	return p.window.events[p.slots[s].event].source
}

// receivers returns how many clients the reference delivered an event to. Of
// relayed sockets only some are watched, so the channel's number stands in.
func (p *sweeper) receivers(s int) int64 {
	ref := p.outcome(s, 0)
	switch {
	case ref.first == nil:
		return 0
	case p.window.kind(0) == kindSockets:
		return int64(max(1, p.window.legs[0].occupied.now()))
	default:
		return int64(ref.first.count)
	}
}

func (p *sweeper) countSeen(c *Counts, s, leg int) {
	o := p.outcome(s, leg)
	switch {
	case !o.differs:
		c.Matched++
	default:
		c.PayloadDiffers++
		if what := p.signature(s, o.first); what == "" {
			c.SameJSON++
		} else {
			countNamed(&c.Signatures, what, 1)
		}
		p.exhibit("payload_differs", s, leg)
	}
	switch {
	case o.again == 0:
	case o.unsure:
		c.Unknown += int64(o.again)
	default:
		c.Duplicate += int64(o.again)
		p.exhibit("duplicate", s, leg)
	}
}

// signature says in what an arrival differs from its event.
func (p *sweeper) signature(s int, x *arrival) string {
	switch slot := &p.slots[s]; {
	case slot.user != 0 && x.user != 0 && slot.user != x.user:
		return otherUser
	case slot.name != x.name:
		return otherName
	default:
		return signature(p.body(s), x.body)
	}
}

// body returns the payload an event should have, nil when it was not kept.
func (p *sweeper) body(s int) []byte {
	if p.slots[s].truth {
		return p.window.events[p.slots[s].event].body
	}
	if o := p.outcome(s, 0); o.first != nil {
		return o.first.body
	}
	return nil
}

func (p *sweeper) time(c *Counts, l *Latency, s, leg int) {
	ref, o := p.outcome(s, 0), p.outcome(s, leg)
	arrived := o.first.at
	if p.slots[s].truth {
		// What the relay spent on waiting for the vendor's word is not the
		// candidate's doing.
		arrived -= p.window.events[p.slots[s].event].held
		d := time.Duration(arrived - p.slots[s].at)
		l.candidate(d)
		c.delays().candidate(d)
	}
	if ref.state != stateSeen {
		return
	}
	if p.slots[s].truth {
		d := time.Duration(ref.first.at - p.slots[s].at)
		l.reference(d)
		c.delays().reference(d)
	}
	d := time.Duration(arrived - ref.first.at)
	l.delta(d)
	c.delays().delta(d)
}

func (p *sweeper) countOrder(cut, leg int) {
	judged, reference := p.places(cut, leg), p.places(cut, 0)
	// A backend can only keep to the order in which it was given the events.
	right := reference
	if handed := p.handed(cut, leg); slices.Max(append(handed, none)) >= 0 {
		right = handed
	}
	for _, stream := range p.streams(judged, leg) {
		late, displacement := misplaced(pick(judged, stream), pick(right, stream))
		for _, i := range late {
			s := stream[i]
			c, _ := p.cell(leg, p.slots[s].name, p.slots[s].at)
			c.Reordered++
			c.MaxDisplacement = max(c.MaxDisplacement, int64(displacement))
			p.group(leg, ByPublisher, p.source(s), p.slots[s].at).Reordered++
			p.exhibit("reordered", s, leg)
		}
	}
	late, _ := misplaced(reference, judged)
	for _, s := range late {
		c, _ := p.cell(leg, p.slots[s].name, p.slots[s].at)
		c.ReferenceReordered++
	}
}

// streams returns the slots among which order counts. A backend is given all
// events of a channel one after the other. The doubles of relayed clients are
// not: what a client sends and what a server publishes reach the engine on
// ways of their own, so that only the order of one sender's events is the
// engine's doing.
func (p *sweeper) streams(judged []int, leg int) [][]int {
	if slices.IsSorted(judged) {
		return nil
	}
	bySender := make(map[uint64][]int)
	for s := range judged {
		sender := uint64(0)
		if slot := &p.slots[s]; slot.truth && p.window.kind(leg) == kindSockets {
			sender = p.window.events[slot.event].sender
		}
		bySender[sender] = append(bySender[sender], s)
	}
	return slices.Collect(maps.Values(bySender))
}

func pick(from, indices []int) []int {
	out := make([]int, len(indices))
	for i, k := range indices {
		out[i] = from[k]
	}
	return out
}

// places returns where the first cut slots came among a leg's arrivals.
func (p *sweeper) places(cut, leg int) []int {
	out := make([]int, cut)
	for s := range out {
		o := p.outcome(s, leg)
		if out[s] = o.order; o.unsure {
			out[s] = none
		}
	}
	return out
}

// handed returns the order in which a backend was given the first cut slots,
// as far as it is known.
func (p *sweeper) handed(cut, leg int) []int {
	out := make([]int, cut)
	for s := range out {
		out[s] = none
		if slot := &p.slots[s]; slot.truth {
			if n := p.window.events[slot.event].handed[leg]; n > 0 {
				out[s] = int(n)
			}
		}
	}
	return out
}

// countLeft counts arrivals that waited long enough and are no event's:
// repeats of events closed before, and what only the candidate delivered.
func (p *sweeper) countLeft() {
	for i := range p.views {
		v := &p.views[i]
		for a, s := range v.slotOf {
			if x := &v.view.arrivals[a]; s == none && p.leaves(v, a) {
				p.countStray(v.leg, x)
			}
		}
	}
}

func (p *sweeper) countStray(leg int, x *arrival) {
	seen, known := p.lately()[p.lateKey(x)]
	around := span{from: x.at - p.wait(), to: x.at + p.edge()}
	if leg == 0 {
		p.countStrayReference(seen, x)
		return
	}
	if known && seen&(1<<leg) == 0 {
		return // later than the window: it was counted as missing
	}
	c, _ := p.cell(leg, x.name, x.at)
	switch {
	case p.gap(leg, around) || p.gap(0, around) || x.at > p.expired():
		c.Unknown++
	case known:
		c.Duplicate++
	case p.observed(x):
		c.Extra++
		p.strayExhibit(leg, x)
	}
}

func (p *sweeper) countStrayReference(seen uint16, x *arrival) {
	if seen&1 == 0 || p.gap(0, span{from: x.at - p.wait(), to: x.at}) {
		return
	}
	for leg := 1; leg < len(p.window.legs); leg++ {
		c, _ := p.cell(leg, x.name, x.at)
		c.ReferenceDuplicate++
	}
}

// observed reports whether the reference would surely have shown an event
// that the candidate delivered, had it delivered it as well.
func (p *sweeper) observed(x *arrival) bool {
	l, at := &p.window.legs[0], x.at
	if p.window.kind(0) == kindChannel {
		need := 1
		if x.excludes {
			need = 2
		}
		low, _ := l.occupied.during(span{from: at - p.edge(), to: at + p.edge()})
		return low >= need
	}
	for _, v := range l.views {
		if v.socket != "" && at >= v.from+p.edge() && (v.to == 0 || at <= v.to-p.edge()) {
			return true
		}
	}
	return false
}
