package shadow

// countSiblings compares two sockets of the reference with each other: what
// they disagree on is the reference's own noise, which no candidate is to be
// blamed for.
func (p *sweeper) countSiblings(cut, leg int) {
	a, b := p.siblings()
	if b == nil {
		return
	}
	inFirst, inSecond := make([]int, cut), make([]int, cut)
	for s := range p.slots[:cut] {
		inFirst[s], inSecond[s] = none, none
		inA, inB := p.expected(a.view, s), p.expected(b.view, s)
		if inA != stateMissing || inB != stateMissing || p.gap(0, span{from: p.slots[s].at, to: p.slots[s].at + p.edge()}) {
			continue // not both sockets had to show it
		}
		c, _ := p.cell(leg, p.slots[s].name, p.slots[s].at)
		c.Siblings++
		switch {
		case a.first[s] != none && b.first[s] != none:
			inFirst[s], inSecond[s] = a.first[s], b.first[s]
		case a.first[s] != none || b.first[s] != none:
			c.SiblingMissing++
		}
	}
	late, _ := misplaced(inSecond, inFirst)
	for _, s := range late {
		c, _ := p.cell(leg, p.slots[s].name, p.slots[s].at)
		c.SiblingReordered++
	}
}

// siblings returns the two sockets of the reference that saw most; the second
// is nil when there are not two.
func (p *sweeper) siblings() (first, second *viewPass) {
	for i := range p.views {
		v := &p.views[i]
		if v.leg != 0 || v.view.socket == "" {
			continue
		}
		switch {
		case first == nil || len(v.view.arrivals) > len(first.view.arrivals):
			first, second = v, first
		case second == nil || len(v.view.arrivals) > len(second.view.arrivals):
			second = v
		}
	}
	return first, second
}
