package shadow

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
)

// MarshalJSON implements json.Marshaler: the histograms in their own compact
// encoding.
func (l *Latency) MarshalJSON() ([]byte, error) {
	p, err := l.encode()
	if err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *Latency) UnmarshalJSON(text []byte) error {
	var p packed
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	decoded, err := p.decode()
	if decoded != nil {
		*l = *decoded
	}
	return err
}

// Merge returns the evidence of several gateways on one app as one: each saw
// its own clients and publishers, so that counts add up. Cells of one minute
// become one, and are one block of the design effect.
func Merge(all ...Evidence) (Evidence, error) {
	if len(all) == 0 {
		return Evidence{}, errors.New("merge evidence: there is none")
	}
	out := Evidence{App: all[0].App, Stage: all[0].Stage}
	var shown exhibits
	merged := make(map[pairName]map[cellName]*Cell)
	for i := range all {
		ev := &all[i]
		if ev.App != out.App {
			return Evidence{}, fmt.Errorf("merge evidence: it is on different apps, %q and %q", out.App, ev.App)
		}
		out.span(ev)
		out.Coverage.add(&ev.Coverage)
		out.Health.add(&ev.Health)
		out.Nodes, out.Missing = append(out.Nodes, ev.Nodes...), append(out.Missing, ev.Missing...)
		for _, p := range ev.Pairs {
			name := pairName{p.Reference, p.Candidate}
			if merged[name] == nil {
				merged[name] = make(map[cellName]*Cell)
			}
			for k := range p.Cells {
				mergeCell(merged[name], &p.Cells[k])
			}
		}
		for _, x := range ev.Exhibits {
			shown.keep(&x)
		}
	}
	out.Pairs, out.Exhibits = pairsOf(merged), shown.list()
	return out, nil
}

type pairName struct{ reference, candidate proxy.Leg }

type cellName struct {
	key   Key
	start int64
	span  time.Duration
}

func mergeCell(into map[cellName]*Cell, c *Cell) {
	name := cellName{c.Key, c.Start.Unix(), c.Span}
	sum := into[name]
	if sum == nil {
		sum = &Cell{Key: c.Key, Start: c.Start, Span: c.Span}
		into[name] = sum
	}
	sum.Counts.Add(&c.Counts)
	if c.Latency != nil {
		if sum.Latency == nil {
			sum.Latency = new(Latency)
		}
		sum.Latency.Add(c.Latency)
	}
}

func pairsOf(merged map[pairName]map[cellName]*Cell) []Pair {
	var pairs []Pair
	for name, cells := range merged {
		p := Pair{Reference: name.reference, Candidate: name.candidate}
		for _, c := range cells {
			p.Cells = append(p.Cells, *c)
		}
		slices.SortFunc(p.Cells, byStart)
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.Reference, b.Reference), cmp.Compare(a.Candidate, b.Candidate))
	})
	return pairs
}

func byStart(a, b Cell) int {
	return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Span, b.Span), cmp.Compare(a.Type, b.Type),
		cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Event, b.Event))
}

// span widens e to the time of another.
func (e *Evidence) span(o *Evidence) {
	if o.From.IsZero() {
		return
	}
	if e.From.IsZero() || o.From.Before(e.From) {
		e.From = o.From
	}
	if o.To.After(e.To) {
		e.To = o.To
	}
}

func (c *Coverage) add(o *Coverage) {
	c.Delivered += o.Delivered
	c.Published += o.Published
	c.Webhooks += o.Webhooks
}

func (h *Health) add(o *Health) {
	h.Records += o.Records
	h.Shed += o.Shed
	h.Overflow += o.Overflow
	h.Gaps += o.Gaps
	h.Open += o.Open
	h.Lag = max(h.Lag, o.Lag)
}

// keep keeps an exhibit if there is room for it.
func (e *exhibits) keep(x *Exhibit) {
	switch place := e.place(x); place {
	case none:
	case len(e.kept):
		e.kept = append(e.kept, *x)
	default:
		e.kept[place] = *x
	}
}
