package shadow

import (
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
)

// queue hands records from many goroutines to one, in batches. It holds at
// most its capacity; a record that does not fit is dropped, and the span of
// what was lost is remembered per leg so that it becomes unknown.
type queue struct {
	capacity int
	ready    chan struct{} // holds one token while there is something to take

	mu      sync.Mutex
	records []proxy.Record
	spare   []proxy.Record
	offered int64
	shed    int64
	lost    map[legOf]span
}

// legOf names a leg of an app.
type legOf struct {
	app string
	leg proxy.Leg
}

// maxLost bounds the legs whose losses are remembered apart. It is far more
// than an installation has.
const maxLost = 4096

func newQueue(capacity int) *queue {
	return &queue{capacity: capacity, ready: make(chan struct{}, 1), lost: make(map[legOf]span)}
}

// offer queues a record and reports whether it fitted.
func (q *queue) offer(r *proxy.Record) bool {
	q.mu.Lock()
	q.offered++
	fits := len(q.records) < q.capacity
	if fits {
		q.records = append(q.records, *r)
	} else {
		q.shed++
		q.lose(r)
	}
	first := len(q.records) == 1
	q.mu.Unlock()
	if first {
		q.wake()
	}
	return fits
}

// lose is called with mu held.
func (q *queue) lose(r *proxy.Record) {
	at := r.At.UnixNano()
	if r.At.IsZero() {
		at = time.Now().UnixNano()
	}
	key := legOf{app: r.Topic.App, leg: r.Leg}
	s, known := q.lost[key]
	switch {
	case known:
		q.lost[key] = span{from: min(s.from, at), to: max(s.to, at)}
	case len(q.lost) < maxLost:
		q.lost[key] = span{from: at, to: at}
	}
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take returns what is queued and what was lost since the last call. The
// batch is the caller's until its next call.
func (q *queue) take() (batch []proxy.Record, lost map[legOf]span) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch = q.records
	q.records, q.spare = q.spare[:0], batch
	if len(q.lost) > 0 {
		lost = q.lost
		q.lost = make(map[legOf]span)
	}
	return batch, lost
}

// totals returns how many records were offered, and dropped.
func (q *queue) totals() (offered, shed int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.offered, q.shed
}
