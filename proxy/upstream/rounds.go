package upstream

import (
	"context"
	"sync"
	"time"
)

// rounds tells when all that had begun by some moment has ended, in whatever
// order it ends. The zero value is ready for use.
type rounds struct {
	mu      sync.Mutex
	current uint64
	under   map[uint64]int // how many are under way, by the round that they began in
	ended   chan struct{}  // closed when a round has ended; nil: nobody waits
}

// begin returns the round to give to end.
func (r *rounds) begin() (round uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.under == nil {
		r.under = make(map[uint64]int)
	}
	r.under[r.current]++
	return r.current
}

func (r *rounds) end(round uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.under[round]--; r.under[round] > 0 {
		return
	}
	delete(r.under, round)
	if r.ended != nil {
		close(r.ended)
		r.ended = nil
	}
}

// mark ends the current round and returns it: what begins from now on is of
// another.
func (r *rounds) mark() (round uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	round = r.current
	r.current++
	return round
}

// over reports whether all that began in a round or before it has ended. If
// not, the channel is closed when that may have changed.
func (r *rounds) over(round uint64) (over bool, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	over = true
	for began := range r.under {
		over = over && began > round
	}
	if !over && r.ended == nil {
		r.ended = make(chan struct{})
	}
	return over, r.ended
}

// wait returns when all that began in a round or before it has ended, or ctx
// ends, or after longest.
func (r *rounds) wait(ctx context.Context, round uint64, longest time.Duration) {
	over, changed := r.over(round)
	if over {
		return
	}
	late := time.NewTimer(longest)
	defer late.Stop()
	for !over {
		select {
		case <-changed:
			over, changed = r.over(round)
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
