package webhooks

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

const (
	batchSize   = 20                     // letters in one request (vendor documentation: batch webhooks)
	batchWindow = 250 * time.Millisecond // what they are collected in
	giveUpAfter = 5 * time.Minute        // after a request's first try
	firstRetry  = time.Second            // doubled with each try …
	lastRetry   = time.Minute            // … up to this
	concurrency = 8                      // requests in flight to one receiver
	// freshEvery is how often a receiver that is down is tried with a letter
	// that has not failed yet, lest letters that it will never take keep the
	// others from it.
	freshEvery = 10 * time.Second
)

// forever is a wait that only ends when something happens.
const forever = time.Duration(math.MaxInt64)

// entry is a pending letter, which itself stays on disk.
type entry struct {
	seq   uint64
	bytes int
	since time.Time // when it could first be sent: accepted, or found on disk at the start
}

// lane is the letters of one channel, which leave one request after the
// other, so that they arrive in order.
type lane struct {
	channel protocol.ChannelName
	waiting []entry
	held    bool // by a request in flight or waiting to be tried again
}

// request is letters that are sent, and if need be sent again, as one body.
type request struct {
	lanes    []*lane // held by it
	entries  []entry // in order
	at       time.Time
	first    time.Time // when the clock of giveUpAfter began; zero until it failed once
	due      time.Time // of the next try
	attempts int       // tries that failed
}

func (q *request) seqs() []uint64 {
	seqs := make([]uint64, len(q.entries))
	for i, e := range q.entries {
		seqs[i] = e.seq
	}
	return seqs
}

// schedule decides what is sent to one receiver, and when. It does no I/O and
// needs a lock around it.
type schedule struct {
	lanes     map[protocol.ChannelName]*lane
	ready     []*lane    // with letters waiting and not held; each once, longest ready first
	available int        // letters waiting in ready lanes
	since     time.Time  // since when some are
	retries   []*request // failed, by due
	inflight  int

	letters int   // pending: waiting or held
	bytes   int64 // what they occupy on disk

	streak  int       // failures since the last success
	outage  time.Time // when the first of them was sent
	down    bool      // nothing gets through: send carefully
	freshAt time.Time // when a receiver that is down is tried with a fresh letter
}

func newSchedule() *schedule {
	return &schedule{lanes: map[protocol.ChannelName]*lane{}}
}

// add appends a letter to its channel's lane.
func (s *schedule) add(c protocol.ChannelName, e entry, now time.Time) {
	l := s.lanes[c]
	if l == nil {
		l = &lane{channel: c}
		s.lanes[c] = l
	}
	l.waiting = append(l.waiting, e)
	s.letters++
	s.bytes += int64(e.bytes)
	if l.held {
		return
	}
	if len(l.waiting) == 1 {
		s.ready = append(s.ready, l)
	}
	s.offer(1, now)
}

// offer counts letters that have become available.
func (s *schedule) offer(n int, now time.Time) {
	if s.available == 0 {
		s.since = now
	}
	s.available += n
}

// resume takes up a request that had failed before the gateway was stopped.
// Its letters have been added already; it reports whether there were any.
func (s *schedule) resume(a attempted, now time.Time) bool {
	q := &request{at: time.UnixMilli(a.TimeMS), first: now.Add(-a.Spent), due: now, attempts: a.Attempts}
	for _, l := range s.lanes {
		part, rest := split(l.waiting, func(e entry) bool { return slices.Contains(a.Seqs, e.seq) })
		if len(part) == 0 || l.held {
			continue
		}
		q.entries = append(q.entries, part...)
		l.waiting, l.held = rest, true
		s.available -= len(part) + len(rest)
		q.lanes = append(q.lanes, l)
	}
	s.ready = slices.DeleteFunc(s.ready, func(l *lane) bool { return l.held })
	if len(q.entries) == 0 {
		return false
	}
	slices.SortFunc(q.entries, bySeq)
	s.retry(q)
	return true
}

// take returns a request that is due and marks it in flight, or says how long
// to wait unless something happens before.
func (s *schedule) take(now time.Time, batch bool) (*request, time.Duration) {
	if s.inflight >= s.limit() {
		return nil, forever
	}
	if len(s.retries) > 0 && !s.retries[0].due.After(now) {
		q := s.retries[0]
		s.retries = slices.Delete(s.retries, 0, 1)
		s.inflight++
		return q, 0
	}
	wait := forever
	if len(s.retries) > 0 {
		wait = s.retries[0].due.Sub(now)
	}
	if fresh := s.freshWait(now, batch); fresh > 0 {
		return nil, min(wait, fresh)
	}
	s.inflight++
	s.freshAt = now.Add(freshEvery)
	if batch {
		return s.compose(batchSize, now), 0
	}
	return s.compose(1, now), 0
}

func (s *schedule) limit() int {
	if s.down {
		return 1
	}
	return concurrency
}

// freshWait returns how long no letter may leave that has not failed yet.
func (s *schedule) freshWait(now time.Time, batch bool) time.Duration {
	if s.available == 0 {
		return forever
	}
	var wait time.Duration
	if batch && s.available < batchSize {
		wait = s.since.Add(batchWindow).Sub(now)
	}
	if s.down && len(s.retries) > 0 {
		wait = max(wait, s.freshAt.Sub(now))
	}
	return wait
}

// compose makes a request of up to size letters from the lanes that have been
// ready for longest.
func (s *schedule) compose(size int, now time.Time) *request {
	q := &request{at: now}
	for len(s.ready) > 0 && len(q.entries) < size {
		l := s.ready[0]
		s.ready = s.ready[1:]
		n := min(size-len(q.entries), len(l.waiting))
		q.entries = append(q.entries, l.waiting[:n]...)
		s.available -= len(l.waiting)
		l.waiting, l.held = l.waiting[n:], true
		q.lanes = append(q.lanes, l)
	}
	slices.SortFunc(q.entries, bySeq)
	return q
}

// delivered ends a request in flight that the receiver took.
func (s *schedule) delivered(q *request, now time.Time) {
	s.inflight--
	s.streak, s.outage = 0, time.Time{}
	if s.down {
		s.down = false
		for _, other := range s.retries {
			other.due = now // it is back: try all of them at once
		}
	}
	s.release(q, now)
}

// failed ends a request in flight that the receiver did not take, and reports
// whether it is given up. If not, it will be tried again.
func (s *schedule) failed(q *request, now time.Time) (dead bool) {
	s.inflight--
	s.streak++
	q.attempts++
	if s.outage.IsZero() {
		s.outage = now
	}
	if q.first.IsZero() {
		// While nothing gets through, the time a letter spent waiting behind
		// others that failed counts as its own.
		q.first = later(q.entries[0].since, s.outage)
	}
	end := q.first.Add(giveUpAfter)
	if !now.Before(end) {
		s.release(q, now)
		return true
	}
	q.due = earlier(now.Add(backoff(q.attempts)), end)
	s.retry(q)
	if s.streak >= concurrency && len(s.retries) >= concurrency {
		s.down = true
	}
	return false
}

// retry queues a request by the time it is due.
func (s *schedule) retry(q *request) {
	i, _ := slices.BinarySearchFunc(s.retries, q, func(a, b *request) int { return a.due.Compare(b.due) })
	s.retries = slices.Insert(s.retries, i, q)
}

// release ends a request for good, and lets its lanes go on.
func (s *schedule) release(q *request, now time.Time) {
	s.forget(q.entries)
	for _, l := range q.lanes {
		l.held = false
		if len(l.waiting) == 0 {
			delete(s.lanes, l.channel)
			continue
		}
		s.ready = append(s.ready, l)
		s.offer(len(l.waiting), now)
	}
}

func (s *schedule) forget(entries []entry) {
	s.letters -= len(entries)
	for _, e := range entries {
		s.bytes -= int64(e.bytes)
	}
}

// expired removes and returns the letters that have waited for giveUpAfter
// while the receiver could not be reached. That it could not be reached by
// another request counts as their own try.
func (s *schedule) expired(now time.Time) []uint64 {
	return s.drop(false, func(e entry) bool {
		return !later(e.since, s.outage).Add(giveUpAfter).After(now)
	})
}

// shed removes and returns the oldest waiting letters, so that at least
// excess bytes become free, or all if that is too few.
func (s *schedule) shed(excess int64) []uint64 {
	var all []entry
	for _, l := range s.lanes {
		all = append(all, l.waiting...)
	}
	slices.SortFunc(all, bySeq)
	var last uint64
	for _, e := range all {
		if excess <= 0 {
			break
		}
		excess -= int64(e.bytes)
		last = e.seq
	}
	return s.drop(true, func(e entry) bool { return e.seq <= last })
}

// abandon removes everything that is not in flight: requests that failed, and
// the letters that wait.
func (s *schedule) abandon() (requests []*request, waiting []uint64) {
	requests, s.retries = s.retries, nil
	for _, q := range requests {
		s.forget(q.entries)
		for _, l := range q.lanes {
			l.held = false
			s.available += len(l.waiting)
		}
	}
	return requests, s.drop(true, func(entry) bool { return true })
}

// drop removes from the front of each lane the letters for which match holds,
// and returns them in order. Lanes that are held are left alone unless held
// is true.
func (s *schedule) drop(held bool, match func(entry) bool) (seqs []uint64) {
	for _, l := range s.lanes {
		if l.held && !held {
			continue
		}
		part, rest := split(l.waiting, match)
		s.forget(part)
		for _, e := range part {
			seqs = append(seqs, e.seq)
		}
		if l.waiting = rest; l.held {
			continue
		}
		s.available -= len(part)
		if len(rest) == 0 {
			delete(s.lanes, l.channel)
		}
	}
	s.ready = slices.DeleteFunc(s.ready, func(l *lane) bool { return len(l.waiting) == 0 })
	slices.Sort(seqs)
	return seqs
}

// split divides entries behind the last of those at the front that match.
func split(entries []entry, match func(entry) bool) (front, rest []entry) {
	n := 0
	for n < len(entries) && match(entries[n]) {
		n++
	}
	return entries[:n], entries[n:]
}

// backoff returns the wait after the n-th failure: 1, 2, 4 … seconds and at
// most a minute, less up to a quarter so that requests spread.
func backoff(n int) time.Duration {
	d := min(firstRetry<<min(n-1, 10), lastRetry)
	return d - rand.N(d/4)
}

func bySeq(a, b entry) int { return cmp.Compare(a.seq, b.seq) }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
