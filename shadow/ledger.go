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

// entry is a cell in memory.
type entry struct {
	counts  Counts
	latency *Latency
	dirty   bool
}

// ledger holds the cells: counts by Config.Cell, latencies by hour. Counts
// older than rollAfter become part of their hour.
type ledger struct {
	span  int64 // seconds
	keep  time.Duration
	cells map[cellKey]*entry
	// retired sums what was dropped for its age, so that totals never sink.
	retired map[pairKey]*Counts
}

const (
	rollAfter = 6 * time.Hour
	hour      = int64(3600)
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
	if times.latency == nil {
		times.latency = new(Latency)
	}
	return counts, times
}

// roll moves old minutes into their hours and drops what is older than keep.
// It returns the keys that are gone.
func (l *ledger) roll(now time.Time) (gone []cellKey) {
	rolled, dropped := now.Add(-rollAfter).Unix(), now.Add(-l.keep).Unix()
	for k, e := range l.cells {
		switch {
		case k.Start < dropped:
			if k.Pair.Candidate != "" {
				sumInto(l.retired, k.Pair, &e.counts)
			}
		case k.Span < hour && k.Start < rolled:
			into := k
			into.Start, into.Span = k.Start-k.Start%hour, hour
			l.entry(into).counts.Add(&e.counts)
		default:
			continue
		}
		delete(l.cells, k)
		gone = append(gone, k)
	}
	return gone
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
		if e.latency != nil {
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
		slices.SortFunc(p.Cells, func(a, b Cell) int {
			return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Span, b.Span), cmp.Compare(a.Type, b.Type),
				cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Event, b.Event))
		})
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
		}
	}
	return c
}
