package shadow

// maxGrid bounds the work of one alignment, in pairs of slot and arrival. A
// gap beyond it is left to matching by count.
const maxGrid = 1 << 18

// Costs of explaining a difference. Any one fault costs the same, except that
// repeating the arrival before it is the likelier reason for a surplus one.
const (
	costFault  = 4
	costRepeat = 3
	costNever  = 1 << 20
)

type step uint8

const (
	stepSame step = iota
	stepAltered
	stepMissing // a slot without arrival
	stepSurplus // an arrival without slot
	stepSwap    // two neighbours swapped
)

// grid is the scratch memory of an alignment.
type grid struct {
	cost []int32
	step []step
	// The gap's unidentified slots and arrivals.
	slots, arrivals []int
}

// alignGap pairs the unidentified slots in [s0, s1) with the unidentified
// arrivals in [a0, a1) so that the fewest faults explain the difference: an
// edit distance with swaps of neighbours (optimal string alignment).
func (m *matcher) alignGap(in *input, s0, s1, a0, a1 int) {
	g := &m.grid
	g.slots, g.arrivals = g.slots[:0], g.arrivals[:0]
	for a := a0; a < a1; a++ {
		if m.slotOf[a] == none {
			g.arrivals = append(g.arrivals, a)
		}
	}
	if len(g.arrivals) == 0 {
		return
	}
	for s := s0; s < s1; s++ {
		if m.first[s] == none {
			g.slots = append(g.slots, s)
		}
	}
	m.trimGap(in)
	if len(g.slots) == 0 || len(g.arrivals) == 0 || len(g.slots)*len(g.arrivals) > maxGrid {
		return
	}
	m.fillGrid(in)
	m.walkGrid()
}

// trimGap assigns the head and tail that agree.
func (m *matcher) trimGap(in *input) {
	g := &m.grid
	for len(g.slots) > 0 && len(g.arrivals) > 0 && same(in, g.slots[0], g.arrivals[0]) {
		m.assign(g.slots[0], g.arrivals[0])
		g.slots, g.arrivals = g.slots[1:], g.arrivals[1:]
	}
	for len(g.slots) > 0 && len(g.arrivals) > 0 && same(in, g.slots[len(g.slots)-1], g.arrivals[len(g.arrivals)-1]) {
		m.assign(g.slots[len(g.slots)-1], g.arrivals[len(g.arrivals)-1])
		g.slots, g.arrivals = g.slots[:len(g.slots)-1], g.arrivals[:len(g.arrivals)-1]
	}
}

func same(in *input, s, a int) bool {
	return in.slots[s].key == in.arrivals[a].key && !apart(&in.slots[s], &in.arrivals[a])
}

func (m *matcher) fillGrid(in *input) {
	g := &m.grid
	rows, width := len(g.slots)+1, len(g.arrivals)+1
	if cap(g.cost) < rows*width {
		g.cost, g.step = make([]int32, rows*width), make([]step, rows*width)
	}
	g.cost, g.step = g.cost[:rows*width], g.step[:rows*width]
	g.cost[0] = 0
	for i := range rows {
		for j := range width {
			if i+j > 0 {
				g.cost[i*width+j], g.step[i*width+j] = m.cheapest(in, i, j, width)
			}
		}
	}
}

// cheapest returns the cheapest way to explain the first i slots by the first
// j arrivals, and its last step.
func (m *matcher) cheapest(in *input, i, j, width int) (int32, step) {
	g := &m.grid
	at := func(i, j int) int32 { return g.cost[i*width+j] }
	best, how := int32(costNever), stepMissing
	consider := func(cost int32, s step) {
		if cost < best {
			best, how = cost, s
		}
	}
	if i > 0 && j > 0 {
		s, a := g.slots[i-1], g.arrivals[j-1]
		switch {
		case same(in, s, a):
			consider(at(i-1, j-1), stepSame)
		case m.novel(in, a) && m.alterable(in, s, a):
			consider(at(i-1, j-1)+costFault, stepAltered)
		}
		if i > 1 && j > 1 && same(in, s, g.arrivals[j-2]) && same(in, g.slots[i-2], a) {
			consider(at(i-2, j-2)+costFault, stepSwap)
		}
	}
	if j > 0 {
		cost := int32(costFault)
		if a := g.arrivals[j-1]; a > 0 && in.arrivals[a-1].key == in.arrivals[a].key {
			cost = costRepeat
		}
		consider(at(i, j-1)+cost, stepSurplus)
	}
	if i > 0 {
		consider(at(i-1, j)+costFault, stepMissing)
	}
	return best, how
}

// walkGrid follows the cheapest way back and assigns what it pairs.
func (m *matcher) walkGrid() {
	g := &m.grid
	width := len(g.arrivals) + 1
	for i, j := len(g.slots), len(g.arrivals); i+j > 0; {
		switch g.step[i*width+j] {
		case stepSame, stepAltered:
			m.assign(g.slots[i-1], g.arrivals[j-1])
			i, j = i-1, j-1
		case stepSwap:
			m.assign(g.slots[i-1], g.arrivals[j-2])
			m.assign(g.slots[i-2], g.arrivals[j-1])
			i, j = i-2, j-2
		case stepMissing:
			i--
		case stepSurplus:
			j--
		}
	}
}
