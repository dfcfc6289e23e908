package engine

import (
	"context"
	"sync"

	"github.com/offramp/offramp/proxy"
)

// seats are an app's connections that count against its limit. On several
// nodes Occupancy adds them up, under a name that no channel has, so that a
// node that dies gives them back with everything else it had. Whoever comes
// while it is being asked is part of the next question: one at a time is
// under way, however many connections there are.
type seats struct {
	exchange sync.Mutex // held while Occupancy is asked

	mu        sync.Mutex
	here      int      // taken on this node
	elsewhere int      // on the others, as last heard
	next      *sitting // who is part of the next question; nil: nobody yet
}

// sitting is those who are asked for together.
type sitting struct {
	arrivals int // guarded by the seats' mu
	// Guarded by exchange.
	settled bool
	seated  int // of the arrivals, in their order
}

// seatsName is what Occupancy knows the connections of an app by.
const seatsName = "#connections"

// takeSeat takes a seat if the app's limit allows it; 0 is no limit.
func (e *Engine) takeSeat(t *tenant, limit int) bool {
	s := &t.seats
	if e.occupancy == nil || limit == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		if limit > 0 && s.here >= limit {
			return false
		}
		s.here++
		return true
	}
	s.mu.Lock()
	sitting := s.join()
	place := sitting.arrivals
	sitting.arrivals++
	s.mu.Unlock()
	e.settle(t, sitting, limit)
	return place < sitting.seated
}

// giveSeat gives a seat back.
func (e *Engine) giveSeat(t *tenant) {
	s := &t.seats
	s.mu.Lock()
	s.here--
	limit := 0
	if app, ok := e.apps(t.id); ok {
		limit = app.Limits.Connections
	}
	if e.occupancy == nil || limit == 0 {
		s.mu.Unlock()
		return
	}
	sitting := s.join()
	s.mu.Unlock()
	e.settle(t, sitting, limit)
}

// full reports whether there is no seat left, as far as this node knows.
func (s *seats) full(limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return limit > 0 && s.here+s.elsewhere >= limit
}

// join returns the next sitting. The caller has mu.
func (s *seats) join() *sitting {
	if s.next == nil {
		s.next = &sitting{}
	}
	return s.next
}

// settle asks for a sitting, unless another of its members has.
func (e *Engine) settle(t *tenant, sitting *sitting, limit int) {
	s := &t.seats
	s.exchange.Lock()
	defer s.exchange.Unlock()
	if sitting.settled {
		return
	}
	s.mu.Lock()
	s.next = nil
	here, arrivals := s.here, sitting.arrivals
	s.mu.Unlock()
	elsewhere, known := e.tellSeats(t, here+arrivals)

	s.mu.Lock()
	if known {
		s.elsewhere = elsewhere
	}
	sitting.seated = min(max(limit-here-s.elsewhere, 0), arrivals)
	sitting.settled = true
	s.here += sitting.seated
	here = s.here
	s.mu.Unlock()
	if sitting.seated < arrivals {
		e.tellSeats(t, here)
	}
}

// tellSeats says how many seats are taken here, and returns how many are on
// the other nodes. When those cannot be asked, the last answer holds.
func (e *Engine) tellSeats(t *tenant, here int) (elsewhere int, known bool) {
	topic := proxy.Topic{App: t.id, Channel: seatsName}
	count, err := e.occupancy.Set(context.Background(), topic, here)
	if err != nil {
		e.failed(err, topic, "tell the number of connections")
		return 0, false
	}
	return max(count.After-here, 0), true
}
