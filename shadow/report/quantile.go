package report

import (
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/offramp/offramp/shadow"
)

// lowerRank and upperRank are the shares of a sample below which the q
// quantile of what it was drawn from lies with 5 % and 95 % confidence: the
// order statistics between which it is, whatever its distribution, by the
// binomial distribution of how many of n are below it (David and Nagaraja,
// Order Statistics, 7.1). They are false where n is too small to say.
func lowerRank(q, n float64) (float64, bool) {
	// The k-th smallest is below the quantile with probability
	// P(Bin(n, q) >= k) = I_q(k, n-k+1).
	if n < 1 || mathext.RegIncBeta(1, n, q) < confidence {
		return 0, false
	}
	return math.Floor(rankAt(q, n, confidence)) / n, true
}

func upperRank(q, n float64) (float64, bool) {
	// The k-th smallest is above it with probability P(Bin(n, q) <= k-1).
	if n < 1 || mathext.RegIncBeta(n, 1, q) > 1-confidence {
		return 0, false
	}
	return math.Min(1, math.Ceil(rankAt(q, n, 1-confidence))/n), true
}

// rankAt returns the k for which I_q(k, n-k+1) is as given; it falls in k.
func rankAt(q, n, want float64) float64 {
	low, high := 1.0, n
	for range 60 {
		mid := (low + high) / 2
		if mathext.RegIncBeta(mid, n-mid+1, q) > want {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// classes returns the counts by class of one of the delays of a cell.
type classes func(*shadow.Delays) []uint64

func referenceDelays(d *shadow.Delays) []uint64 { return d.Reference[:] }
func candidateDelays(d *shadow.Delays) []uint64 { return d.Candidate[:] }
func pairedDelays(d *shadow.Delays) []uint64    { return d.Paired[:] }

// blocks are the delays of each stretch of time, such as a minute.
type blocks map[block]*shadow.Delays

type block struct {
	start time.Time
	span  time.Duration
}

func (b blocks) add(c *shadow.Cell) {
	if c.Counts.Delays == nil {
		return
	}
	key := block{c.Start, c.Span}
	if b[key] == nil {
		b[key] = new(shadow.Delays)
	}
	b[key].Add(c.Counts.Delays)
}

// designEffect returns by how much delays that come in stretches inflate the
// variance of the share of events that are later than the q quantile: each
// block is a cluster. The quantile is taken at the nearest bound of a class.
func (b blocks) designEffect(of classes, q float64) float64 {
	var sum []uint64
	var total uint64
	for _, d := range b {
		counts := of(d)
		if sum == nil {
			sum = make([]uint64, len(counts))
		}
		for i, n := range counts {
			sum[i] += n
			total += n
		}
	}
	edge := nearestEdge(sum, total, q)
	if edge < 0 {
		return 1
	}
	var later uint64
	parts := make([][2]float64, 0, len(b)) // events, and those that are later
	for _, d := range b {
		var n, x uint64
		for i, k := range of(d) {
			n += k
			if i > edge {
				x += k
			}
		}
		later += x
		if n > 0 {
			parts = append(parts, [2]float64{float64(n), float64(x)})
		}
	}
	// A sum of floating-point numbers depends on their order, and a report is
	// the same each time.
	slices.SortFunc(parts, func(x, y [2]float64) int { return slices.Compare(x[:], y[:]) })
	return ratioEffect(parts, float64(total), float64(later)/float64(total))
}

// ratioEffect returns the design effect of a share p of n events over blocks,
// raised for being estimated: by the square of Student's t over z, with a third
// of Satterthwaite's degrees of freedom. A third, because a run that drew few of
// the bad stretches underrates the share and its variance at once; with more,
// the bounds of a simulation hold less often than they say.
func ratioEffect(parts [][2]float64, n, p float64) float64 {
	if len(parts) < 2 {
		return 1
	}
	var d2, d4 float64
	for _, part := range parts {
		d := part[1] - p*part[0]
		d2 += d * d
		d4 += d * d * d * d
	}
	if d4 == 0 {
		return 1
	}
	k := float64(len(parts))
	deff := math.Max(1, k/(k-1)*d2/(n*p*(1-p)))
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: math.Max(1, d2*d2/d4/3)}.Quantile(confidence)
	return deff * t * t / (z95 * z95)
}

// nearestEdge returns the class up to which the share nearest to q lies, or -1
// when all are in one class.
func nearestEdge(sum []uint64, total uint64, q float64) int {
	edge, best := -1, math.Inf(1)
	var below uint64
	for i, n := range sum {
		if below += n; below == 0 || below == total {
			continue
		}
		if d := math.Abs(float64(below)/float64(total) - q); d < best {
			edge, best = i, d
		}
	}
	return edge
}

// bounds gives a quantile its confidence bounds. value returns the quantile of
// the sample.
func (b blocks) bounds(of classes, q, n float64, value func(q float64) float64) *Bounds {
	out := &Bounds{NEff: n / b.designEffect(of, q)}
	if rank, ok := lowerRank(q, out.NEff); ok {
		v := value(rank)
		out.Low = &v
	}
	rank, ok := upperRank(q, out.NEff)
	if !ok {
		// Nothing is beyond the greatest delay, so that nothing comes together
		// there: as with no losses, each event counts.
		_, ok = upperRank(q, n)
		rank = 1
	}
	if ok {
		v := value(rank)
		out.High = &v
	}
	return out
}

func (b blocks) percentiles(h *hdrhistogram.Histogram, of classes) *Percentiles {
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(100*q)) / 1000 }
	n := float64(h.TotalCount())
	return &Percentiles{
		P50: at(0.5), P95: at(0.95), P99: at(0.99), Max: float64(h.Max()) / 1000,
		P50Bounds: b.bounds(of, 0.5, n, at), P95Bounds: b.bounds(of, 0.95, n, at),
		P99Bounds: b.bounds(of, 0.99, n, at),
	}
}

func (b blocks) paired(l *shadow.Latency) *Percentiles {
	if _, ok := l.PairedDelta(0.5); !ok {
		return nil
	}
	at := func(q float64) float64 {
		d, _ := l.PairedDelta(q)
		return milliseconds(d)
	}
	n := float64(total(l.Slower) + total(l.Faster))
	return &Percentiles{
		P50: at(0.5), P95: at(0.95), P99: at(0.99), Max: at(1),
		P50Bounds: b.bounds(pairedDelays, 0.5, n, at), P95Bounds: b.bounds(pairedDelays, 0.95, n, at),
		P99Bounds: b.bounds(pairedDelays, 0.99, n, at),
	}
}

func total(h *hdrhistogram.Histogram) int64 {
	if h == nil {
		return 0
	}
	return h.TotalCount()
}
