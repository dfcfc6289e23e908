package webhooks

import (
	"sync"

	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
)

// write is a change to the outbox on disk that the committer carries out with
// others in one transaction. It may run again if that transaction fails, so
// it changes nothing else but through tx.OnCommit.
type write func(tx *bbolt.Tx) error

// state is the kinds of record that change what receivers believe.
const state = proxy.Kinds(1<<proxy.KindOccupied | 1<<proxy.KindVacated | 1<<proxy.KindMemberAdded | 1<<proxy.KindMemberRemoved)

// intake is the committer's queue in memory. Records beyond limit are refused,
// except that those which change what receivers believe have as much room
// again: a client event that is lost is lost, but a channel_vacated that is
// lost leaves receivers wrong.
type intake struct {
	limit int
	wake  chan struct{} // has room for one: something is there

	mu      sync.Mutex
	records []proxy.Record
	writes  []write
	closed  bool
}

func newIntake(limit int) *intake { return &intake{limit: limit, wake: make(chan struct{}, 1)} }

// record queues a record and reports whether there was room.
func (in *intake) record(r proxy.Record) bool {
	limit := in.limit
	if state.Has(r.Kind) {
		limit *= 2
	}
	in.mu.Lock()
	ok := !in.closed && len(in.records) < limit
	if ok {
		in.records = append(in.records, r)
	}
	in.mu.Unlock()
	if ok {
		in.signal()
	}
	return ok
}

// write queues a write. There are few at a time: one for each request in
// flight.
func (in *intake) write(w write) {
	in.mu.Lock()
	in.writes = append(in.writes, w)
	in.mu.Unlock()
	in.signal()
}

func (in *intake) signal() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// take removes and returns everything queued.
func (in *intake) take() ([]proxy.Record, []write) {
	in.mu.Lock()
	defer in.mu.Unlock()
	records, writes := in.records, in.writes
	in.records, in.writes = nil, nil
	return records, writes
}

// close refuses records from now on.
func (in *intake) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
}
