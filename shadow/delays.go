package shadow

import (
	"slices"
	"time"
)

// Bounds between the classes of Delays. They are coarse: what they are for is
// how far delays come in stretches, and a monitoring system's histogram.
var (
	legEdges = [...]time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
		2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
	pairedEdges = [...]time.Duration{
		-time.Second, -250 * time.Millisecond, -100 * time.Millisecond, -50 * time.Millisecond, -25 * time.Millisecond, -10 * time.Millisecond,
		-5 * time.Millisecond, -2 * time.Millisecond, -time.Millisecond, -500 * time.Microsecond, 0, 500 * time.Microsecond, time.Millisecond,
		2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, time.Second,
	}
)

// Delays counts the delays of one cell by class. Beside the exact latencies,
// which are kept per hour, they say what each minute was like: delays come in
// stretches, and a thousand events of one bad minute are not a thousand
// witnesses.
type Delays struct {
	// From publish to delivery, by the upper bound of legEdges.
	Reference, Candidate [len(legEdges) + 1]uint64
	// The candidate's minus the reference's, for the same event.
	Paired [len(pairedEdges) + 1]uint64
	// Sums, in seconds.
	ReferenceSum, CandidateSum float64
}

func (d *Delays) reference(v time.Duration) {
	d.Reference[classOf(legEdges[:], v)]++
	d.ReferenceSum += v.Seconds()
}

func (d *Delays) candidate(v time.Duration) {
	d.Candidate[classOf(legEdges[:], v)]++
	d.CandidateSum += v.Seconds()
}

func (d *Delays) delta(v time.Duration) { d.Paired[classOf(pairedEdges[:], v)]++ }

// classOf returns the first class whose upper bound is not below a delay.
func classOf(edges []time.Duration, v time.Duration) int {
	class, _ := slices.BinarySearch(edges, v)
	return class
}

// Add adds other's counts to d.
func (d *Delays) Add(o *Delays) {
	for i, n := range o.Reference {
		d.Reference[i] += n
	}
	for i, n := range o.Candidate {
		d.Candidate[i] += n
	}
	for i, n := range o.Paired {
		d.Paired[i] += n
	}
	d.ReferenceSum += o.ReferenceSum
	d.CandidateSum += o.CandidateSum
}

// delays returns the cell's delays, ready to count.
func (c *Counts) delays() *Delays {
	if c.Delays == nil {
		c.Delays = new(Delays)
	}
	return c.Delays
}
