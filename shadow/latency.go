package shadow

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of what a latency histogram tells apart: a microsecond to ten
// minutes, to two significant digits.
const (
	minLatencyMicros = 1
	maxLatencyMicros = 600_000_000
	latencyDigits    = 2
)

// Latency holds, for one pair, the time from publish to delivery on each leg
// and the candidate's time minus the reference's for the same event, all taken
// on this node's clock. Parts are nil until they have a value.
type Latency struct {
	Reference *hdrhistogram.Histogram // µs
	Candidate *hdrhistogram.Histogram // µs
	Slower    *hdrhistogram.Histogram // µs by which the candidate was later
	Faster    *hdrhistogram.Histogram // µs by which it was earlier
}

// Add merges other's values into l.
func (l *Latency) Add(o *Latency) {
	if o == nil {
		return
	}
	from := o.parts()
	for i, into := range l.parts() {
		merge(into, *from[i])
	}
}

// parts returns the histograms in a fixed order.
func (l *Latency) parts() [4]**hdrhistogram.Histogram {
	return [4]**hdrhistogram.Histogram{&l.Reference, &l.Candidate, &l.Slower, &l.Faster}
}

// PairedDelta returns the quantile q (0..1) of the candidate's latency minus
// the reference's; negative: the candidate was faster. It is false when no
// event was timed on both legs.
func (l *Latency) PairedDelta(q float64) (time.Duration, bool) {
	faster, slower := count(l.Faster), count(l.Slower)
	total := faster + slower
	if total == 0 {
		return 0, false
	}
	rank := q * float64(total)
	if rank <= float64(faster) && faster > 0 {
		// Among the faster ones, the greatest lead is the smallest delta.
		return -micros(l.Faster.ValueAtQuantile(100 * (1 - rank/float64(faster)))), true
	}
	return micros(l.Slower.ValueAtQuantile(100 * (rank - float64(faster)) / float64(slower))), true
}

func (l *Latency) reference(d time.Duration) { record(&l.Reference, d) }
func (l *Latency) candidate(d time.Duration) { record(&l.Candidate, d) }

func (l *Latency) delta(d time.Duration) {
	if d < 0 {
		record(&l.Faster, -d)
		return
	}
	record(&l.Slower, d)
}

func record(h **hdrhistogram.Histogram, d time.Duration) {
	if *h == nil {
		*h = newHistogram()
	}
	v := min(max(d.Microseconds(), 0), maxLatencyMicros)
	// In range by construction, so it cannot fail.
	_ = (*h).RecordValue(v)
}

func merge(into **hdrhistogram.Histogram, from *hdrhistogram.Histogram) {
	if from == nil {
		return
	}
	if *into == nil {
		*into = newHistogram()
	}
	(*into).Merge(from)
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(minLatencyMicros, maxLatencyMicros, latencyDigits)
}

func count(h *hdrhistogram.Histogram) int64 {
	if h == nil {
		return 0
	}
	return h.TotalCount()
}

func micros(v int64) time.Duration { return time.Duration(v) * time.Microsecond }

// packed are encoded latencies, in the order of Latency.parts; nil where a
// part has no value.
type packed [4][]byte

func (p *packed) empty() bool {
	for _, part := range p {
		if part != nil {
			return false
		}
	}
	return true
}

func (l *Latency) encode() (p packed, err error) {
	for i, h := range l.parts() {
		if *h == nil {
			continue
		}
		if p[i], err = (*h).Encode(hdrhistogram.V2CompressedEncodingCookieBase); err != nil {
			return packed{}, fmt.Errorf("encode latencies: %w", err)
		}
	}
	return p, nil
}

// decode returns nil for no latencies.
func (p *packed) decode() (*Latency, error) {
	if p.empty() {
		return nil, nil
	}
	l := new(Latency)
	for i, part := range p {
		if part == nil {
			continue
		}
		h, err := hdrhistogram.Decode(part)
		if err != nil {
			return nil, fmt.Errorf("decode latencies: %w", err)
		}
		merge(l.parts()[i], h)
	}
	return l, nil
}
