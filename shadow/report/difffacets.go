package report

import (
	"fmt"
	"slices"
)

// Trends of a change.
const (
	better = "better"
	worse  = "worse"
)

// trend says which of two shares of faults is better. Reports span different
// times, so counts alone cannot say.
func trend(before, after float64, known bool) string {
	switch {
	case !known || before == after:
		return ""
	case after < before:
		return better
	default:
		return worse
	}
}

// webhookChanges compares webhooks by type and pattern.
func webhookChanges(pair pairName, a, b *Pair) []Change {
	var out []Change
	for _, key := range facetNames(a.Webhooks, b.Webhooks, func(h *Webhooks) cellName { return cellName{h.Type, h.Pattern, h.Hook} }) {
		p, q := sumWebhooks(a, key), sumWebhooks(b, key)
		n, before := p.compared()
		m, after := q.compared()
		if n == m && before == after {
			continue
		}
		out = append(out, Change{
			Reference: pair.reference, Candidate: pair.candidate, Cell: key.pattern + " · " + key.event + " webhooks",
			Figure: "told by one side only", Before: shareText(before, n), After: shareText(after, m),
			Trend: trend(rate(before, n), rate(after, m), n > 0 && m > 0),
		})
	}
	return out
}

// structureChanges compares how frames are built, by library and kind.
func structureChanges(pair pairName, a, b *Pair) []Change {
	var out []Change
	for _, key := range facetNames(a.Structures, b.Structures, func(s *Structures) cellName { return cellName{s.Type, s.Library, s.Frame} }) {
		before, after := structureState(a, key), structureState(b, key)
		if before == after {
			continue
		}
		c := Change{
			Reference: pair.reference, Candidate: pair.candidate, Cell: key.pattern + " · " + key.event + " frames",
			Figure: "built", Before: before, After: after,
		}
		switch {
		case after == builtOtherwise:
			c.Trend = worse
		case before == builtOtherwise && after == builtAlike:
			c.Trend = better
		}
		out = append(out, c)
	}
	return out
}

// How the frames of one kind are built.
const (
	builtUnseen    = "not compared"
	builtAlike     = "alike"
	builtOtherwise = "differently"
)

func structureState(p *Pair, n cellName) string {
	state := builtUnseen
	for i := range p.Structures {
		s := &p.Structures[i]
		if (cellName{s.Type, s.Library, s.Frame}) != n {
			continue
		}
		switch {
		case s.Differs:
			return builtOtherwise
		case onBoth(s.Built):
			state = builtAlike
		}
	}
	return state
}

func sumWebhooks(p *Pair, n cellName) Webhooks {
	var sum Webhooks
	for i := range p.Webhooks {
		if h := &p.Webhooks[i]; (cellName{h.Type, h.Pattern, h.Hook}) == n {
			sum.add(h)
		}
	}
	return sum
}

func facetNames[T any](a, b []T, name func(*T) cellName) []cellName {
	var out []cellName
	for _, all := range [][]T{a, b} {
		for i := range all {
			if n := name(&all[i]); !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

func shareText(part, whole int64) string {
	if whole == 0 {
		return "none compared"
	}
	return fmt.Sprintf("%s of %s (%s)", number(float64(part)), number(float64(whole)), percent(rate(part, whole)))
}
