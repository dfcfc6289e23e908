package shadow

import (
	"time"

	"github.com/offramp/offramp/proxy"
)

// snapshot returns an app's evidence, with what is open counted as it stands.
func (s *state) snapshot(app string, since time.Time, now int64) Evidence {
	ev := Evidence{App: app}
	cells := s.ledger.copyApp(app, since)
	if known, ok := s.lookup(app); ok {
		ev.Stage = known.Stage
	}
	a := s.apps[app]
	if a != nil {
		shown := a.exhibits.clone()
		s.preview(a, now, target{ledger: cells, exhibits: &shown})
		shown.forget(since)
		ev.Exhibits = shown.list()
		ev.Health.Overflow, ev.Health.Gaps = a.overflow, a.gapCount
		for _, w := range a.windows {
			ev.Health.Open += int64(len(w.events))
		}
	}
	ev.Pairs, ev.Coverage = cells.pairs(), cells.coverage()
	for _, p := range ev.Pairs {
		for i := range p.Cells {
			c := &p.Cells[i]
			if c.Counts.Expected+c.Counts.Unknown == 0 {
				continue
			}
			if end := c.Start.Add(c.Span); end.After(ev.To) {
				ev.To = end
			}
			if ev.From.IsZero() || c.Start.Before(ev.From) {
				ev.From = c.Start
			}
		}
	}
	return ev
}

// preview counts what is open into a target, and changes nothing else.
func (s *state) preview(a *appState, now int64, into target) {
	for _, w := range a.windows {
		p := &s.sweeps
		p.state, p.app, p.window, p.now, p.mode, p.target = s, a, w, now, preview, into
		p.run()
		w.cells = w.cells[:0]
		s.chargeAll(a, w, into.ledger)
	}
}

// Legs returns the legs that appear in the evidence, references first.
func (e *Evidence) Legs() []proxy.Leg {
	var legs []proxy.Leg
	add := func(l proxy.Leg) {
		for _, have := range legs {
			if have == l {
				return
			}
		}
		legs = append(legs, l)
	}
	for _, p := range e.Pairs {
		add(p.Reference)
	}
	for _, p := range e.Pairs {
		add(p.Candidate)
	}
	return legs
}
