package shadow

// maxGrid bounds the work of one alignment, in pairs of slot and arrival. A
// gap beyond it is left to matching by count.
const maxGrid = 1 << 20

// band is how many more surplus or missing ones than the numbers of slots and
// arrivals demand an alignment may suppose at any point.
const band = 32

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

// grid is the scratch memory of an alignment: a band of the table whose rows
// are the slots and whose columns are the arrivals.
type grid struct {
	cost []int32
	step []step
	// The gap's unidentified slots and arrivals.
	slots, arrivals []int
	// The band: in row i, columns i+low to i+low+width-1.
	low, width int
}

// index returns where a cell is kept; false when it is outside the band.
func (g *grid) index(i, j int) (int, bool) {
	k := j - i - g.low
	return i*g.width + k, k >= 0 && k < g.width && i >= 0 && j >= 0
}

func (g *grid) at(i, j int) int32 {
	if k, ok := g.index(i, j); ok {
		return g.cost[k]
	}
	return costNever
}

// size sets the band for the gap, and reports whether the work is bearable.
func (g *grid) size() bool {
	more := len(g.arrivals) - len(g.slots)
	g.low = min(0, more) - band
	g.width = max(0, more) + band - g.low + 1
	cells := (len(g.slots) + 1) * g.width
	if cells > maxGrid {
		return false
	}
	if cap(g.cost) < cells {
		g.cost, g.step = make([]int32, cells), make([]step, cells)
	}
	g.cost, g.step = g.cost[:cells], g.step[:cells]
	return true
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
	if len(g.slots) == 0 || len(g.arrivals) == 0 || !g.size() {
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
	for i := range len(g.slots) + 1 {
		for j := max(0, i+g.low); j <= min(len(g.arrivals), i+g.low+g.width-1); j++ {
			k, _ := g.index(i, j)
			if g.cost[k] = 0; i+j > 0 {
				g.cost[k], g.step[k] = m.cheapest(in, i, j)
			}
		}
	}
}

// cheapest returns the cheapest way to explain the first i slots by the first
// j arrivals, and its last step.
func (m *matcher) cheapest(in *input, i, j int) (int32, step) {
	g := &m.grid
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
			consider(g.at(i-1, j-1), stepSame)
		case m.novel(in, a) && m.alterable(in, s, a):
			consider(g.at(i-1, j-1)+costFault, stepAltered)
		}
		if i > 1 && j > 1 && same(in, s, g.arrivals[j-2]) && same(in, g.slots[i-2], a) {
			consider(g.at(i-2, j-2)+costFault, stepSwap)
		}
	}
	if j > 0 {
		cost := int32(costFault)
		if a := g.arrivals[j-1]; a > 0 && in.arrivals[a-1].key == in.arrivals[a].key {
			cost = costRepeat
		}
		consider(g.at(i, j-1)+cost, stepSurplus)
	}
	if i > 0 {
		consider(g.at(i-1, j)+costFault, stepMissing)
	}
	return best, how
}

// walkGrid follows the cheapest way back and assigns what it pairs.
func (m *matcher) walkGrid() {
	g := &m.grid
	for i, j := len(g.slots), len(g.arrivals); i+j > 0; {
		k, _ := g.index(i, j)
		switch g.step[k] {
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
