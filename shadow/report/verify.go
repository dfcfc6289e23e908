package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Verify computes a report's bounds and its verdict again, from its cells and
// gates, and returns an error that names the first difference.
func Verify(r *Report) error {
	for i := range r.Pairs {
		p := &r.Pairs[i]
		if err := errors.Join(verifyTotal(p), verifyCells(p), verifyFacets(p)); err != nil {
			return fmt.Errorf("verify report: %s → %s: %w", p.Reference, p.Candidate, err)
		}
	}
	want := judge(r)
	if want.State != r.Verdict.State {
		return fmt.Errorf("verify report: it says %s, its cells say %s", r.Verdict.State, want.State)
	}
	if !slices.Equal(gatesOf(want), gatesOf(r.Verdict)) {
		return fmt.Errorf("verify report: it names the gates %v, its cells say %v", gatesOf(r.Verdict), gatesOf(want))
	}
	for i, x := range r.Verdict.Reasons {
		if w := want.Reasons[i]; x.Rule != w.Rule || !agree(x.Observed, w.Observed) || !agree(x.Limit, w.Limit) {
			return fmt.Errorf("verify report: of gate %s it says %g on %s with the limit %g, its cells say %g on %s with %g",
				x.Gate, x.Observed, x.Rule, x.Limit, w.Observed, w.Rule, w.Limit)
		}
	}
	for i, x := range r.Verdict.Insufficient {
		if w := want.Insufficient[i]; x.Rule != w.Rule || !agree(x.Have, w.Have) || !agree(x.Need, w.Need) || x.ETA != w.ETA {
			return fmt.Errorf("verify report: of gate %s it says that it has %g of %g, its cells say %g of %g", x.Gate, x.Have, x.Need, w.Have, w.Need)
		}
	}
	return nil
}

// ChangedGates lists the gates that are not the defaults, as name=value, in
// order. Whoever reads a verdict should know that they were.
func (r *Report) ChangedGates() ([]string, error) {
	values := func(g Gates) (map[string]any, error) {
		text, err := json.Marshal(g)
		if err != nil {
			return nil, fmt.Errorf("compare gates: %w", err)
		}
		var v map[string]any
		return v, json.Unmarshal(text, &v)
	}
	have, err := values(r.Gates)
	if err != nil {
		return nil, err
	}
	usual, err := values(DefaultGates())
	if err != nil {
		return nil, err
	}
	changed := []string{}
	for name, v := range have {
		if v != usual[name] {
			changed = append(changed, fmt.Sprintf("%s=%v", name, v))
		}
	}
	slices.Sort(changed)
	return changed, nil
}

// verifyCells checks that the events of every cell add up, that its bound
// follows from its counts, and that the timeline holds all of them.
func verifyCells(p *Pair) error {
	for i := range p.Cells {
		c := &p.Cells[i]
		name := c.Pattern + " " + c.Event
		if sum := c.Matched + c.Missing + c.PayloadDiffers; sum != c.Expected {
			return fmt.Errorf("%s: matched, missing and altered are %d events, %d are expected", name, sum, c.Expected)
		}
		want := boundLoss(c.Expected, c.Missing, c.Loss.ReferenceMissing, c.Loss.Clusters)
		if got := c.Loss; !agree(got.Candidate, want.Candidate) || !agree(bound(got), bound(want)) {
			return fmt.Errorf("%s: its loss is %g, bounded by %g, its counts say %g, by %g", name, got.Candidate, bound(got), want.Candidate, bound(want))
		}
	}
	var expected, missing int64
	for i := range p.Timeline {
		expected, missing = expected+p.Timeline[i].Expected, missing+p.Timeline[i].Missing
	}
	if expected != p.Total.Expected || missing != p.Total.Missing {
		return fmt.Errorf("the timeline holds %d events and %d missing ones, the total %d and %d", expected, missing, p.Total.Expected, p.Total.Missing)
	}
	return nil
}

// verifyTotal checks that a pair's total is the sum of its cells, and that
// its bound follows from it.
func verifyTotal(p *Pair) error {
	var sum Cell
	for i := range p.Cells {
		sum.add(&p.Cells[i])
	}
	if changes := cellChanges(pairName{}, "", &sum, &p.Total); len(changes) > 0 {
		c := changes[0]
		return fmt.Errorf("the cells sum up to %s %s, the total says %s", c.Before, c.Figure, c.After)
	}
	if sum.Payload.Real != p.Total.Payload.Real {
		return fmt.Errorf("the cells hold %d real payload differences, the total says %d", sum.Payload.Real, p.Total.Payload.Real)
	}
	if !maps.Equal(sum.Accepted, p.Total.Accepted) {
		return fmt.Errorf("the cells accept %v, the total says %v", sum.Accepted, p.Total.Accepted)
	}
	want := boundLoss(sum.Expected, sum.Missing, sum.Loss.ReferenceMissing, sum.Loss.Clusters)
	if got := p.Total.Loss; !agree(got.Deff, want.Deff) || !agree(bound(got), bound(want)) {
		return fmt.Errorf("its loss is bounded by %g (design effect %g), the cells say %g (%g)", bound(got), got.Deff, bound(want), want.Deff)
	}
	return nil
}

// add adds the counts of another cell to c, and leaves rates and latencies.
func (c *Cell) add(o *Cell) {
	c.Expected += o.Expected
	c.Matched += o.Matched
	c.Missing += o.Missing
	c.Duplicate += o.Duplicate
	c.Reordered += o.Reordered
	c.PayloadDiffers += o.PayloadDiffers
	c.Payload.Real += o.Payload.Real
	c.Extra += o.Extra
	c.Unknown += o.Unknown
	c.Affected += o.Affected
	c.Loss.ReferenceMissing += o.Loss.ReferenceMissing
	c.Loss.Clusters.Add(o.Loss.Clusters)
	c.Dup.Reference += o.Dup.Reference * float64(o.Expected)
	c.Reorder.Reference += o.Reorder.Reference * float64(o.Expected)
	c.Noise.Siblings += o.Noise.Siblings
	c.Noise.Reordered += o.Noise.Reordered
	for finding, n := range o.Accepted {
		c.accept(finding, n)
	}
	for code, n := range o.Rejected {
		if c.Rejected == nil {
			c.Rejected = make(map[string]int64)
		}
		c.Rejected[code] += n
	}
}

func bound(l Loss) float64 {
	if l.DiffUpper95 == nil {
		return 1
	}
	return *l.DiffUpper95
}

// agree allows for sums taken in another order.
func agree(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) }

func gatesOf(v Verdict) []string {
	out := []string{}
	for _, r := range v.Reasons {
		out = append(out, r.Reference+"→"+r.Candidate+" "+r.Gate)
	}
	for _, r := range v.Insufficient {
		out = append(out, r.Reference+"→"+r.Candidate+" "+r.Gate+"?")
	}
	return out
}
