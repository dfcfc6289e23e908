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

// item is a record and how it is to be taken.
type item struct {
	proxy.Record
	passed   bool      // receivers have been told by others
	snapshot *snapshot // in place of the record's word: who is at the upstream
}

// state is the kinds of record that change what receivers believe.
const state = proxy.Kinds(1<<proxy.KindOccupied | 1<<proxy.KindVacated | 1<<proxy.KindMemberAdded | 1<<proxy.KindMemberRemoved)

// intake is the committer's queue in memory. Records beyond limit are refused,
// except that those which change what receivers believe have as much room
// again: a client event that is lost is lost, but a channel_vacated that is
// lost leaves receivers wrong.
type intake struct {
	limit int
	wake  chan struct{} // has room for one: something is there

	mu     sync.Mutex
	items  []item
	writes []write
	closed bool
}

func newIntake(limit int) *intake { return &intake{limit: limit, wake: make(chan struct{}, 1)} }

// record queues a record and reports whether there was room.
func (in *intake) record(r proxy.Record) bool {
	limit := in.limit
	if state.Has(r.Kind) {
		limit *= 2
	}
	return in.add(limit, nil, item{Record: r})
}

// add queues items, all or none, and behind them a write.
func (in *intake) add(limit int, then write, items ...item) bool {
	in.mu.Lock()
	ok := !in.closed && len(in.items)+len(items) <= limit
	if ok {
		in.items = append(in.items, items...)
		if then != nil {
			in.writes = append(in.writes, then)
		}
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
func (in *intake) take() ([]item, []write) {
	in.mu.Lock()
	defer in.mu.Unlock()
	items, writes := in.items, in.writes
	in.items, in.writes = nil, nil
	return items, writes
}

// close refuses records from now on.
func (in *intake) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
}
