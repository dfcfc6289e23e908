package shadow

import "time"

// charge is a cluster being filled: one channel's events of one name in one
// minute, and how many of them the candidate lost.
type charge struct {
	leg    int
	name   uint32
	at     int64
	minute int64
	n, x   int64
}

// charge adds an event to its cluster.
func (p *sweeper) charge(leg int, s *slot, lost bool) {
	if p.mode == preview {
		return
	}
	w := p.window
	min := s.at / int64(time.Minute)
	for i := range w.charges {
		c := &w.charges[i]
		if c.leg == leg && c.name == s.name && c.minute == min {
			c.add(lost)
			return
		}
	}
	c := charge{leg: leg, name: s.name, at: s.at, minute: min}
	c.add(lost)
	w.charges = append(w.charges, c)
}

func (c *charge) add(lost bool) {
	c.n++
	if lost {
		c.x++
	}
}

// chargeOld moves clusters that are full into their cells: those of minutes
// whose events are all closed.
func (s *state) chargeOld(a *appState, w *window, now int64) {
	before := (now - 2*int64(s.config.Window)) / int64(time.Minute)
	kept := w.charges[:0]
	for _, c := range w.charges {
		if c.minute >= before {
			kept = append(kept, c)
			continue
		}
		s.settleCharge(a, w, c, s.ledger)
	}
	w.charges = kept
}

// chargeAll adds all clusters of a window to a ledger, full or not, and
// forgets them if the ledger is the state's own.
func (s *state) chargeAll(a *appState, w *window, into *ledger) {
	for _, c := range w.charges {
		s.settleCharge(a, w, c, into)
	}
	if into == s.ledger {
		w.charges = w.charges[:0]
	}
}

func (s *state) settleCharge(a *appState, w *window, c charge, into *ledger) {
	if c.leg >= len(w.legs) {
		return // the leg is configured away
	}
	pair := pairKey{App: a.id, Reference: w.legs[0].name, Candidate: w.legs[c.leg].name}
	key := cellKeyOf(a, w, c.name)
	counts, _ := into.entries(pair, key, c.at)
	counts.counts.Clusters.Observe(c.n, c.x)
}
