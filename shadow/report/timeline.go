package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/offramp/offramp/shadow"
)

// maxIntervals bounds the timeline; longer runs get wider intervals.
const maxIntervals = 120

// timeline sums a pair's cells over equal stretches of time.
func timeline(cells []shadow.Cell) []Interval {
	from, to := extent(cells)
	if from.IsZero() {
		return []Interval{}
	}
	step := max(finest(cells), stepFor(to.Sub(from)))
	from = from.Truncate(step)
	buckets := make([]map[string]*PatternSpan, int(to.Sub(from)/step)+1)
	sum := make([]shadow.Counts, len(buckets))
	for i := range cells {
		c := &cells[i]
		at := int(c.Start.Sub(from) / step)
		if at < 0 || at >= len(buckets) {
			continue
		}
		sum[at].Add(&c.Counts)
		if empty(c) {
			continue
		}
		if buckets[at] == nil {
			buckets[at] = make(map[string]*PatternSpan)
		}
		addSpan(buckets[at], c)
	}
	out := []Interval{}
	var so shadow.Counts // from the start of the run on
	for i, spans := range buckets {
		so.Add(&sum[i])
		if spans == nil {
			continue
		}
		iv := interval(from.Add(time.Duration(i)*step), step, spans)
		iv.Missing = sum[i].Missing
		iv.Upper95 = bound(boundLoss(so.Expected, so.Missing, so.ReferenceMissing, so.Clusters))
		if p := sum[i].Presence; p.Seconds > 0 {
			// Over the whole stretch: members seen for an instant only are no
			// cause for alarm.
			mean := p.Divergence / max(p.Seconds, step.Seconds())
			iv.Divergence = &mean
		}
		out = append(out, iv)
	}
	return out
}

func empty(c *shadow.Cell) bool { return c.Counts.Expected+c.Counts.Unknown+c.Counts.Extra == 0 }

func extent(cells []shadow.Cell) (from, to time.Time) {
	for i := range cells {
		c := &cells[i]
		if empty(c) {
			continue
		}
		if from.IsZero() || c.Start.Before(from) {
			from = c.Start
		}
		if end := c.Start.Add(c.Span); end.After(to) {
			to = end
		}
	}
	return from, to
}

// finest returns the shortest span of a cell.
func finest(cells []shadow.Cell) time.Duration {
	least := 24 * time.Hour
	for i := range cells {
		least = min(least, cells[i].Span)
	}
	return least
}

// stepFor returns a round width that gives at most maxIntervals.
func stepFor(length time.Duration) time.Duration {
	for _, step := range [...]time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	} {
		if length/step <= maxIntervals {
			return step
		}
	}
	return 24 * time.Hour
}

func addSpan(spans map[string]*PatternSpan, c *shadow.Cell) {
	s := spans[c.Pattern]
	if s == nil {
		s = &PatternSpan{Pattern: c.Pattern}
		spans[c.Pattern] = s
	}
	n := &c.Counts
	s.Expected += n.Expected
	s.Faults += n.Missing + n.Duplicate + n.Reordered + n.PayloadDiffers + n.Extra
	s.Unknown += n.Unknown
}

func interval(start time.Time, step time.Duration, spans map[string]*PatternSpan) Interval {
	iv := Interval{Start: start, Seconds: step.Seconds()}
	for _, s := range spans {
		iv.Patterns = append(iv.Patterns, *s)
		iv.Expected += s.Expected
		iv.Faults += s.Faults
		iv.Unknown += s.Unknown
	}
	slices.SortFunc(iv.Patterns, func(a, b PatternSpan) int { return cmp.Compare(a.Pattern, b.Pattern) })
	return iv
}
