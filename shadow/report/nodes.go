package report

import (
	"fmt"
	"math"
)

// node is a part of a pair's traffic that a gate judges on its own: a channel
// type, a pattern, an event on a pattern, or what one publisher sent or the
// clients of one library got.
type node struct {
	cell *Cell
	rule string // the pattern that it is; "*" where it is none
	of   string // what it is, in words, where the rule does not say so
	deff float64
}

// nodes returns the parts of a pair's traffic in which a finding could hide. A
// part that is all of the part above it is left out.
func nodes(p *Pair, q *proportion) []node {
	var out []node
	types := split(p, func(c *Cell) Cell { return Cell{Type: c.Type} })
	if len(types) > 1 {
		for i := range types {
			out = append(out, node{cell: &types[i], rule: "*", of: "on " + types[i].Type + " channels"})
		}
	}
	patterns := split(p, func(c *Cell) Cell { return Cell{Pattern: c.Pattern} })
	for i := range patterns {
		out = append(out, node{cell: &patterns[i], rule: patterns[i].Pattern})
	}
	events := split(p, func(c *Cell) Cell { return Cell{Pattern: c.Pattern, Event: c.Event} })
	if len(events) > len(patterns) {
		for i := range events {
			out = append(out, node{cell: &events[i], rule: events[i].Pattern, of: fmt.Sprintf("named %q", events[i].Event)})
		}
	}
	out = append(out, groupNodes(p, q, p.Publishers, "from publisher %q")...)
	return append(out, groupNodes(p, q, p.Libraries, "for clients with %q")...)
}

// split sums a pair's cells by what part of their names is kept, in order of
// their first cell: worst first.
func split(p *Pair, kept func(*Cell) Cell) []Cell {
	type name struct{ typ, pattern, event string }
	at := make(map[name]int)
	var out []Cell
	for i := range p.Cells {
		c := &p.Cells[i]
		sum := kept(c)
		key := name{sum.Type, sum.Pattern, sum.Event}
		if _, known := at[key]; !known {
			at[key] = len(out)
			out = append(out, sum)
		}
		out[at[key]].add(c)
	}
	for i := range out {
		if c := &out[i]; c.Expected > 0 { // add summed counts
			c.Dup.Reference /= float64(c.Expected)
			c.Reorder.Reference /= float64(c.Expected)
		}
	}
	return out
}

// groupNodes returns the publishers or client libraries. What is known of
// them less than of patterns is taken in their favour: how the reference did
// and how losses cluster is that of all traffic, events that were counted too
// often stay counted, and what rules excuse may all be theirs.
func groupNodes(p *Pair, q *proportion, groups []Group, words string) []node {
	if len(groups) < 2 || q.gate == gateExtra { // nobody published what only the candidate delivers
		return nil
	}
	t := &p.Total
	excused := t.Accepted[q.finding]
	deff := 1.0
	if q.gate == gateLoss {
		deff = max(1, t.Loss.Deff)
	}
	var out []node
	for _, g := range groups {
		share := float64(g.Events) / float64(max(1, t.Expected))
		c := &Cell{
			Expected: g.Events, Missing: g.Missing, Duplicate: g.Duplicate, Reordered: g.Reordered, PayloadDiffers: g.PayloadDiffers,
			Dup: t.Dup, Reorder: t.Reorder, Noise: t.Noise,
		}
		c.Loss.ReferenceMissing = int64(math.Ceil(share * float64(t.Loss.ReferenceMissing)))
		if excused > 0 {
			c.accept(q.finding, min(excused, c.findings(q.finding)))
		}
		out = append(out, node{cell: c, rule: "*", of: fmt.Sprintf(words, g.Name), deff: deff})
	}
	return out
}

// measureNode measures a proportion on a node.
func (q *proportion) measureNode(n *node) measured {
	if n.deff == 0 {
		return q.measure(n.cell)
	}
	return q.measureWith(n.cell, n.deff)
}
