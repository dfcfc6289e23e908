package webhooks

import "time"

// historySize is how many tries a receiver's history keeps.
const historySize = 50

// Attempt is one try to deliver a request, as kept in a receiver's history.
type Attempt struct {
	At     time.Time     `json:"at"` // when it ended
	Took   time.Duration `json:"took_ns"`
	Events int           `json:"events"`
	Try    int           `json:"try"` // 1 is the first
	Status int           `json:"status,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// history is a receiver's latest tries and their sums since the start.
type history struct {
	latest    []Attempt // a ring, once it is full
	next      int
	delivered int // events
	failed    int // requests
	success   time.Time
}

func (h *history) note(now time.Time, q *request, o outcome) {
	a := Attempt{At: now, Took: o.took, Events: len(q.entries), Try: q.attempts + 1, Status: o.status}
	if o.err != nil {
		a.Error = o.err.Error()
	}
	if o.delivered() {
		h.delivered += len(q.entries)
		h.success = now
	} else {
		h.failed++
	}
	if len(h.latest) < historySize {
		h.latest = append(h.latest, a)
		return
	}
	h.latest[h.next] = a
	h.next = (h.next + 1) % historySize
}

// newest returns the latest tries, newest first.
func (h *history) newest() []Attempt {
	n := len(h.latest)
	all := make([]Attempt, n)
	for i := range n {
		all[n-1-i] = h.latest[(h.next+i)%n]
	}
	return all
}
