package shadow

import "slices"

// span is a stretch of time in nanoseconds, both ends included.
type span struct{ from, to int64 }

func (s span) overlaps(o span) bool { return s.from <= o.to && o.from <= s.to }

// maxGaps bounds the gaps remembered per leg; beyond it the two oldest become
// one, which makes more unknown and nothing wrong.
const maxGaps = 256

// gaps are the stretches in which a leg could not be observed.
type gaps []span

func (g *gaps) add(s span) {
	if n := len(*g); n > 0 && (*g)[n-1].overlaps(s) {
		last := &(*g)[n-1]
		*last = span{from: min(last.from, s.from), to: max(last.to, s.to)}
		return
	}
	*g = append(*g, s)
	if len(*g) > maxGaps {
		first, second := (*g)[0], (*g)[1]
		*g = slices.Delete(*g, 0, 1)
		(*g)[0] = span{from: min(first.from, second.from), to: max(first.to, second.to)}
	}
}

func (g gaps) overlap(s span) bool {
	for i := len(g) - 1; i >= 0; i-- {
		if g[i].overlaps(s) {
			return true
		}
	}
	return false
}

// forget drops the gaps that ended before a time.
func (g *gaps) forget(before int64) {
	*g = slices.DeleteFunc(*g, func(s span) bool { return s.to < before })
}
