package shadow

import "github.com/offramp/offramp/proxy"

// slot is one event that legs should deliver: published through the gateway,
// or seen on the reference only.
type slot struct {
	at    int64 // acceptance; for one seen on the reference only, its arrival
	id    proxy.EventID
	key   uint64
	user  uint64
	name  uint32
	truth bool // its publish passed the gateway
	event int  // index in window.events; -1 unless truth
}

// none marks an arrival without a slot, and a slot without an arrival.
const none = -1

// pairing says which slot each arrival of one view is.
type pairing struct {
	slotOf []int // per arrival: its slot, or none
	first  []int // per slot: its first arrival, or none
	again  []int // per slot: further arrivals of it
}

// matcher finds, for one view of a leg, which event each arrival is. It is
// scratch memory, used again for each view.
//
// Identity is decided by the strongest evidence there is: the same id; the
// same content where it occurs once on either side; and between events so
// identified, the alignment with the fewest faults (align.go). What is left
// over is a duplicate where its content is known, and else an altered event
// if one is missing at its place.
type matcher struct {
	pairing
	byID  map[proxy.EventID]int
	byKey map[uint64]tally
	grid  grid

	doubtful []int
	names    map[uint32]bool // of the slots
}

// tally counts a key's unidentified occurrences on either side, and keeps the
// last of each.
type tally struct{ slots, arrivals, slot, arrival int }

// input is what one view is matched on.
type input struct {
	slots    []slot
	arrivals []arrival
	// from is the first slot that the view was surely there for.
	from int
	// settled is the time after which an arrival is too young to be taken for
	// an altered event: its publish may still be on its way here.
	settled int64
	window  int64
	// closed reports whether a content, or an id, was that of an event closed
	// recently.
	closed func(key uint64) bool
	// blind reports whether an arrival may be that of an event whose publish
	// was not seen, or was forgotten.
	blind func(*arrival) bool
	// foreign says that the view's ids were carried by another system, and so
	// may be damaged.
	foreign bool
}

func (m *matcher) match(in *input) *pairing {
	m.slotOf = fill(m.slotOf, len(in.arrivals))
	m.first = fill(m.first, len(in.slots))
	m.again = resize(m.again, len(in.slots))
	clear(m.again)

	s, a := in.from, 0
	for s < len(in.slots) && a < len(in.arrivals) && identical(&in.slots[s], &in.arrivals[a]) {
		m.assign(s, a)
		s, a = s+1, a+1
	}
	if a == len(in.arrivals) {
		return &m.pairing
	}
	m.matchIDs(in, a)
	m.matchUnique(in, a)
	if m.complete(a) {
		return &m.pairing
	}
	m.nameSlots(in)
	m.alignGaps(in)
	m.matchLeft(in, a)
	m.matchAgain(in, a)
	m.matchAltered(in, a)
	return &m.pairing
}

// identical reports whether an arrival is a slot's event beyond doubt, if the
// one before it was.
func identical(s *slot, a *arrival) bool {
	if !s.id.IsZero() && !a.id.IsZero() {
		return s.id == a.id
	}
	return s.key == a.key && !strangers(s, a)
}

// apart reports whether ids or senders say that the two are different events.
func apart(s *slot, a *arrival) bool { return otherID(s, a) || strangers(s, a) }

func otherID(s *slot, a *arrival) bool { return !s.id.IsZero() && !a.id.IsZero() && s.id != a.id }

// strangers reports whether the two have different senders, as far as both
// sides say: several users of a room often send the same content at once.
func strangers(s *slot, a *arrival) bool { return s.user != 0 && a.user != 0 && s.user != a.user }

func (m *matcher) assign(s, a int) {
	m.slotOf[a] = s
	m.first[s] = a
}

func (m *matcher) complete(from int) bool {
	for _, s := range m.slotOf[from:] {
		if s == none {
			return false
		}
	}
	return true
}

func (m *matcher) matchIDs(in *input, from int) {
	if m.byID == nil {
		m.byID = make(map[proxy.EventID]int)
	}
	clear(m.byID)
	for s := range in.slots {
		if id := in.slots[s].id; !id.IsZero() {
			m.byID[id] = s
		}
	}
	doubtful := m.doubtful[:0] // arrivals with the id of one event and another content
	for a := from; a < len(in.arrivals); a++ {
		x := &in.arrivals[a]
		s, known := m.byID[x.id]
		switch {
		case x.id.IsZero():
		case !known:
			if in.foreign && x.at <= in.settled && !in.closed(idKey(x.id)) && !in.blind(x) {
				x.id = proxy.EventID{} // nobody's
			}
		case x.key != in.slots[s].key:
			doubtful = append(doubtful, a)
		default:
			m.arrived(s, a)
		}
	}
	m.matchDoubtful(in, doubtful)
	m.doubtful = doubtful
}

func (m *matcher) arrived(s, a int) {
	if m.first[s] == none {
		m.assign(s, a)
		return
	}
	m.slotOf[a] = s
	m.again[s]++
}

// matchDoubtful takes arrivals for the events whose id they carry, altered.
// But where the content is that of an event that has not arrived, and either
// of no other event or the one with the id has arrived as it was, the id is
// what was altered.
func (m *matcher) matchDoubtful(in *input, doubtful []int) {
	if len(doubtful) == 0 {
		return
	}
	free, all := make(map[uint64]int), make(map[uint64]int)
	for s := range in.slots {
		all[in.slots[s].key]++
		if m.first[s] == none {
			free[in.slots[s].key]++
		}
	}
	for _, a := range doubtful {
		x := &in.arrivals[a]
		s := m.byID[x.id]
		if in.foreign && free[x.key] > 0 && (m.first[s] != none || all[x.key] == 1) {
			x.id = proxy.EventID{}
			continue
		}
		m.arrived(s, a)
	}
}

// matchUnique pairs content that occurs once among the slots and once among
// the arrivals not identified yet.
func (m *matcher) matchUnique(in *input, from int) {
	if m.byKey == nil {
		m.byKey = make(map[uint64]tally)
	}
	clear(m.byKey)
	for s := range in.slots {
		if m.first[s] == none {
			t := m.byKey[in.slots[s].key]
			t.slots, t.slot = t.slots+1, s
			m.byKey[in.slots[s].key] = t
		}
	}
	for a := from; a < len(in.arrivals); a++ {
		if m.slotOf[a] == none {
			t := m.byKey[in.arrivals[a].key]
			t.arrivals, t.arrival = t.arrivals+1, a
			m.byKey[in.arrivals[a].key] = t
		}
	}
	for a := from; a < len(in.arrivals); a++ {
		t := m.byKey[in.arrivals[a].key]
		if t.slots == 1 && t.arrivals == 1 && t.arrival == a && !apart(&in.slots[t.slot], &in.arrivals[a]) {
			m.assign(t.slot, a)
		}
	}
}

// alignGaps aligns what lies between the arrivals that are identified and in
// order.
func (m *matcher) alignGaps(in *input) {
	var seq, at []int
	for a, s := range m.slotOf {
		if s != none && m.first[s] == a {
			seq, at = append(seq, s), append(at, a)
		}
	}
	moved := outOfPlace(seq)
	slot, arrival := in.from, 0
	for i := range seq {
		if len(moved) > 0 && moved[0] == i {
			moved = moved[1:]
			continue
		}
		m.alignGap(in, slot, seq[i], arrival, at[i])
		slot, arrival = seq[i]+1, at[i]+1
	}
	m.alignGap(in, slot, len(in.slots), arrival, len(in.arrivals))
}

// matchLeft pairs what has the same content, wherever it is: the k-th arrival
// is the k-th event.
func (m *matcher) matchLeft(in *input, from int) {
	for s, a := range m.sameContent(in, from) {
		m.assign(s, a)
	}
}

func (m *matcher) sameContent(in *input, from int) map[int]int {
	free := make(map[uint64][]int)
	for s := range in.slots {
		if m.first[s] == none {
			free[in.slots[s].key] = append(free[in.slots[s].key], s)
		}
	}
	found := make(map[int]int)
	for a := from; a < len(in.arrivals) && len(free) > 0; a++ {
		if m.slotOf[a] != none {
			continue
		}
		key := in.arrivals[a].key
		for i, s := range free[key] {
			if !apart(&in.slots[s], &in.arrivals[a]) {
				found[s] = a
				free[key] = append(free[key][:i], free[key][i+1:]...)
				break
			}
		}
	}
	return found
}

// matchAgain finds the arrivals that repeat an event which arrived already:
// the latest one of that content.
func (m *matcher) matchAgain(in *input, from int) {
	arrived := make(map[uint64][]int)
	for s := range in.slots {
		if m.first[s] != none {
			arrived[in.slots[s].key] = append(arrived[in.slots[s].key], s)
		}
	}
	for a := from; a < len(in.arrivals); a++ {
		if m.slotOf[a] != none {
			continue
		}
		slots := arrived[in.arrivals[a].key]
		for i := len(slots) - 1; i >= 0; i-- {
			if s := slots[i]; !apart(&in.slots[s], &in.arrivals[a]) {
				m.slotOf[a] = s
				m.again[s]++
				break
			}
		}
	}
}

// reach is how far from its place an altered event is looked for.
const reach = 8

// matchAltered takes an arrival of unknown content for the event that is
// missing nearest to its place, if one of the same name is.
func (m *matcher) matchAltered(in *input, from int) {
	place := in.from // slot after the one that arrived last
	for a := range in.arrivals {
		if s := m.slotOf[a]; s != none {
			if m.first[s] == a {
				place = s + 1
			}
			continue
		}
		if a < from || !m.novel(in, a) {
			continue
		}
		best := none
		for s := max(in.from, place-reach); s < min(len(in.slots), place+reach); s++ {
			if m.first[s] == none && m.alterable(in, s, a) && (best == none || distance(s, place) < distance(best, place)) {
				best = s
			}
		}
		if best != none {
			m.assign(best, a)
			place = best + 1
		}
	}
}

func (m *matcher) nameSlots(in *input) {
	if m.names == nil {
		m.names = make(map[uint32]bool)
	}
	clear(m.names)
	for s := range in.slots {
		m.names[in.slots[s].name] = true
	}
}

// novel reports whether an arrival surely has a content that nothing published
// has.
func (m *matcher) novel(in *input, a int) bool {
	x := &in.arrivals[a]
	return x.at <= in.settled && m.byKey[x.key].slots == 0 && !in.closed(x.key) && !in.blind(x)
}

// alterable reports whether an arrival may be an event altered. Its name is the
// event's, unless no event has such a name, so that the name is altered too.
func (m *matcher) alterable(in *input, s, a int) bool {
	x, y := &in.slots[s], &in.arrivals[a]
	return (x.name == y.name || !m.names[y.name]) && !otherID(x, y) && distance64(x.at, y.at) <= in.window
}

func fill(s []int, n int) []int {
	s = resize(s, n)
	for i := range s {
		s[i] = none
	}
	return s
}

func resize(s []int, n int) []int {
	if cap(s) < n {
		return make([]int, n, n+n/4)
	}
	return s[:n]
}

func distance64(a, b int64) int64 { return max(a-b, b-a) }
