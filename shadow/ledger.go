package shadow

import (
	"cmp"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
)

// pairKey names a pair of legs of an app.
type pairKey struct {
	App                  string
	Reference, Candidate proxy.Leg
}

// cellKey names a cell. A pair without a candidate is about the reference
// alone.
type cellKey struct {
	Pair  pairKey
	Key   Key
	Start int64 // Unix seconds
	Span  int64 // seconds
}

// entry is a cell in memory. Latencies are histograms while they may grow, and
// encoded once they are old, which takes a hundredth of the space.
type entry struct {
	counts  Counts
	latency *Latency
	packed  packed
	dirty   bool
}

// unpack makes a cell's latencies ready to grow.
func (e *entry) unpack() {
	if e.packed.empty() {
		return
	}
	// Packed here or checked when it was loaded, so that it can be decoded.
	if l, err := e.packed.decode(); err == nil {
		e.latency = l
	}
	e.packed = packed{}
}

// pack makes a cell's latencies small.
func (e *entry) pack() error {
	if e.latency == nil {
		return nil
	}
	p, err := e.latency.encode()
	if err != nil {
		return err
	}
	e.packed, e.latency = p, nil
	return nil
}

// ledger holds the cells: counts by Config.Cell, latencies by hour. Counts
// older than rollAfter become part of their hour, and latencies older than
// dayAfter part of their day.
type ledger struct {
	span  int64 // seconds
	keep  time.Duration
	cells map[cellKey]*entry
	// retired sums what was dropped for its age, so that totals never sink.
	retired map[pairKey]*Counts
}

const (
	rollAfter = 6 * time.Hour
	packAfter = 2 * time.Hour
	dayAfter  = 48 * time.Hour
	hour      = int64(3600)
	day       = 24 * hour
)

func newLedger(c Config) *ledger {
	return &ledger{span: int64(c.Cell / time.Second), keep: c.Keep, cells: make(map[cellKey]*entry), retired: make(map[pairKey]*Counts)}
}

func (l *ledger) entry(k cellKey) *entry {
	e := l.cells[k]
	if e == nil {
		e = new(entry)
		l.cells[k] = e
	}
	e.dirty = true
	return e
}

// entries returns the counts of a key in the cell of a time, and its latencies
// in the hour.
func (l *ledger) entries(p pairKey, k Key, at int64) (counts, times *entry) {
	sec := at / int64(time.Second)
	counts = l.entry(cellKey{Pair: p, Key: k, Start: sec - sec%l.span, Span: l.span})
	times = l.entry(cellKey{Pair: p, Key: k, Start: sec - sec%hour, Span: hour})
	times.unpack()
	if times.latency == nil {
		times.latency = new(Latency)
	}
	return counts, times
}

// roll moves old counts into their hours and old latencies into their days,
// packs latencies that hardly grow any more, and drops what is older than
// keep. It returns the keys that are gone.
func (l *ledger) roll(now time.Time) (gone []cellKey, err error) {
	before := func(d time.Duration) int64 { return now.Add(-d).Unix() }
	for k, e := range l.cells {
		switch {
		case k.Start < before(l.keep):
			if k.Pair.Candidate != "" {
				sumInto(l.retired, k.Pair, &e.counts)
			}
			delete(l.cells, k)
			gone = append(gone, k)
		case k.Span < hour && k.Start < before(rollAfter):
			l.join(k, e, hour)
			delete(l.cells, k)
			gone = append(gone, k)
		case k.Span == hour && k.Start < before(dayAfter) && e.hasLatency():
			e.unpack()
			l.join(k, &entry{latency: e.latency}, day)
			e.latency, e.dirty = nil, true
		case k.Span >= hour && k.Start+k.Span < before(packAfter):
			if err := e.pack(); err != nil {
				return gone, err
			}
		}
	}
	return gone, nil
}

func (e *entry) hasLatency() bool { return e.latency != nil || !e.packed.empty() }

// join adds a cell to the one of a longer span that it lies in.
func (l *ledger) join(k cellKey, e *entry, span int64) {
	k.Start, k.Span = k.Start-k.Start%span, span
	into := l.entry(k)
	into.counts.Add(&e.counts)
	if e.latency != nil {
		into.unpack()
		if into.latency == nil {
			into.latency = new(Latency)
		}
		into.latency.Add(e.latency)
	}
}

// totals sums all that was ever counted, by pair.
func (l *ledger) totals() map[pairKey]*Counts {
	out := make(map[pairKey]*Counts)
	for pair, counts := range l.retired {
		sumInto(out, pair, counts)
	}
	for k, e := range l.cells {
		if k.Pair.Candidate != "" {
			sumInto(out, k.Pair, &e.counts)
		}
	}
	return out
}

func sumInto(sums map[pairKey]*Counts, pair pairKey, c *Counts) {
	if sums[pair] == nil {
		sums[pair] = new(Counts)
	}
	sums[pair].Add(c)
}

// copyApp returns a ledger with copies of an app's cells that end after a time.
func (l *ledger) copyApp(app string, since time.Time) *ledger {
	out := &ledger{span: l.span, keep: l.keep, cells: make(map[cellKey]*entry)}
	for k, e := range l.cells {
		if k.Pair.App != app || k.Start+k.Span <= since.Unix() {
			continue
		}
		c := &entry{counts: e.counts.clone()}
		c.packed = e.packed
		if c.unpack(); e.latency != nil {
			c.latency = new(Latency)
			c.latency.Add(e.latency)
		}
		out.cells[k] = c
	}
	return out
}

// pairs returns the cells by pair, in a fixed order.
func (l *ledger) pairs() []Pair {
	byPair := make(map[pairKey]*Pair)
	for k, e := range l.cells {
		if k.Pair.Candidate == "" {
			continue
		}
		p := byPair[k.Pair]
		if p == nil {
			p = &Pair{Reference: k.Pair.Reference, Candidate: k.Pair.Candidate}
			byPair[k.Pair] = p
		}
		p.Cells = append(p.Cells, Cell{
			Key: k.Key, Start: time.Unix(k.Start, 0).UTC(), Span: time.Duration(k.Span) * time.Second,
			Counts: e.counts, Latency: e.latency,
		})
	}
	out := make([]Pair, 0, len(byPair))
	for _, p := range byPair {
		slices.SortFunc(p.Cells, byStart)
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.Reference, b.Reference), cmp.Compare(a.Candidate, b.Candidate))
	})
	return out
}

// coverage sums what the references delivered.
func (l *ledger) coverage() Coverage {
	var c Coverage
	for k, e := range l.cells {
		if k.Pair.Candidate == "" {
			c.Delivered += e.counts.Delivered
			c.Published += e.counts.Published
			c.Webhooks += e.counts.Webhooks.Told
		}
	}
	return c
}
