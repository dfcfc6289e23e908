package report

import (
	"math"

	"github.com/offramp/offramp/shadow"
	"gonum.org/v1/gonum/stat/distuv"
)

const (
	confidence = 0.95
	z95        = 1.6448536269514722 // standard normal quantile of 0.95
	// exactUpTo is the number of losses up to which the exact bound is used:
	// Wilson's is a little too optimistic near zero.
	exactUpTo = 10
)

// upperBound returns the one-sided 95 % upper confidence bound of a
// proportion of which x in n were observed: Clopper and Pearson's exact one
// for few, else Wilson's score bound. x and n need not be whole, as a design
// effect divides them. It is 1 when nothing was observed.
func upperBound(x, n float64) float64 {
	switch {
	case n <= 0 || x >= n:
		return 1
	case x <= exactUpTo:
		return distuv.Beta{Alpha: x + 1, Beta: n - x}.Quantile(confidence)
	default:
		return wilsonUpper(x, n, z95)
	}
}

func wilsonUpper(x, n, z float64) float64 {
	p, z2 := x/n, z*z
	return (p + z2/(2*n) + z*math.Sqrt(p*(1-p)/n+z2/(4*n*n))) / (1 + z2/n)
}

// lowerBound returns the one-sided 95 % lower confidence bound.
func lowerBound(x, n float64) float64 { return lowerBoundAt(x, n, confidence) }

// lowerBoundAt returns the one-sided lower bound of a given confidence.
func lowerBoundAt(x, n, confidence float64) float64 {
	switch {
	case n <= 0 || x <= 0:
		return 0
	case x <= exactUpTo:
		return distuv.Beta{Alpha: x, Beta: n - x + 1}.Quantile(1 - confidence)
	default:
		return 1 - wilsonUpper(n-x, n, distuv.UnitNormal.Quantile(confidence))
	}
}

// differenceUpper returns an upper 95 % bound of candidate minus reference, by
// Newcombe's method (1998) of squaring the two proportions' own margins. The
// two are taken as independent, which errs on the side of caution: the same
// events are behind both.
func differenceUpper(m measured) float64 {
	if m.n <= 0 {
		return 1
	}
	if m.reference == 0 || m.referenceN <= 0 {
		return upperBound(m.candidate, m.n)
	}
	pc, pr := m.candidate/m.n, m.reference/m.referenceN
	up, down := upperBound(m.candidate, m.n)-pc, pr-lowerBound(m.reference, m.referenceN)
	return pc - pr + math.Sqrt(up*up+down*down)
}

// differenceLower returns the lower bound of the same difference, of a given
// confidence: the candidate is not blamed for what may be the reference's own
// noise.
func differenceLower(m measured, confidence float64) float64 {
	low := lowerBoundAt(m.candidate, m.n, confidence)
	if m.reference == 0 || m.referenceN <= 0 {
		return low
	}
	pc, pr := m.candidate/m.n, m.reference/m.referenceN
	high := 1 - lowerBoundAt(m.referenceN-m.reference, m.referenceN, confidence)
	down, up := pc-low, high-pr
	return pc - pr - math.Sqrt(down*down+up*up)
}

// neededForZero returns how many events without a loss it takes to bound the
// loss rate by limit.
func neededForZero(limit float64) float64 {
	if limit <= 0 || limit >= 1 {
		return math.Inf(1)
	}
	return math.Ceil(math.Log(1-confidence) / math.Log1p(-limit))
}

// needed returns how many events it takes to bound the loss rate by limit, if
// losses go on at the observed rate. It is infinite when that rate is too
// high for any number of events.
func needed(limit, rate float64) float64 {
	if rate <= 0 {
		return neededForZero(limit)
	}
	if rate >= limit {
		return math.Inf(1)
	}
	low, high := 1.0, 1.0
	for upperBound(rate*high, high) > limit {
		low, high = high, high*2
		if high > 1e15 {
			return math.Inf(1)
		}
	}
	for high-low > 1 {
		mid := math.Floor((low + high) / 2)
		if upperBound(rate*mid, mid) > limit {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// designEffect returns by how much losses that come together in one channel
// and minute inflate the variance of the loss rate: the variance of the ratio
// estimator over clusters, divided by the binomial one. It is at least 1.
//
// Where Wilson's bound will be used, it is raised as Korn and Graubard do for
// survey data, because the variance itself is only estimated: by the square
// of Student's t over z, with Satterthwaite's degrees of freedom.
func designEffect(n, x int64, c shadow.Clusters) float64 {
	if n == 0 || x == 0 || x == n || c.Number < 2 {
		return 1
	}
	total := float64(n)
	p := float64(x) / total
	k := float64(c.Number)
	between := k / (k - 1) * (c.X2 - 2*p*c.NX + p*p*c.N2) / (total * total)
	deff := math.Max(1, between/(p*(1-p)/total))
	if float64(x)/deff > exactUpTo && c.X4 > 0 {
		freedom := math.Max(2, c.X2*c.X2/c.X4-1)
		t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile(confidence)
		deff *= t * t / (z95 * z95)
	}
	return deff
}
