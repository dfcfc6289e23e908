package report

import (
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
		if err := errors.Join(verifyTotal(p), verifyFacets(p)); err != nil {
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
