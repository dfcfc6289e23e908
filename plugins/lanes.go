package plugins

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/translators"
)

const (
	// creditWindow is how many items the gateway may have outstanding. It also
	// is the length of each lane's queue, so that putting an item into its lane
	// never blocks.
	creditWindow = 4096
	laneCount    = 16
	maxBatch     = 64
	// attemptPatience bounds one call of Session.Publish.
	attemptPatience = 10 * time.Second
	firstBackoff    = 20 * time.Millisecond
	maxBackoff      = 2 * time.Second
)

// task is one item and where its result goes.
type task struct {
	item translators.Envelope
	done func(translators.Result) // called once
}

// lanes hand items to a session: those of one lane one slice after the other,
// in order; those of different lanes at the same time.
type lanes struct {
	session     translators.Session
	queues      [laneCount]chan task
	outstanding atomic.Int64 // items taken and not answered
	draining    atomic.Bool

	ctx    context.Context // of the lanes' life, which no call's context spans
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newLanes(session translators.Session) *lanes {
	l := &lanes{session: session}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for i := range l.queues {
		l.queues[i] = make(chan task, creditWindow)
		l.wg.Go(func() { l.serve(l.queues[i]) })
	}
	return l
}

// credit returns how many items may be outstanding from now on.
func (l *lanes) credit() int {
	if l.draining.Load() {
		return 0
	}
	return creditWindow
}

// put takes an item unless that would exceed the credit.
func (l *lanes) put(t task) bool {
	if l.outstanding.Add(1) > creditWindow {
		l.outstanding.Add(-1)
		return false
	}
	if l.draining.Load() {
		l.outstanding.Add(-1)
		t.done(translators.Result{Code: translators.CodeTransient, Detail: "the plugin is draining"})
		return true
	}
	l.queues[t.item.Lane%laneCount] <- t
	return true
}

// drain takes nothing more, waits until all is answered or ctx ends, stops
// the lanes and returns how many items were left.
func (l *lanes) drain(ctx context.Context) int {
	l.draining.Store(true)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.outstanding.Load() > 0 {
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	leftover := int(l.outstanding.Load())
	l.cancel()
	l.wg.Wait()
	return leftover
}

// serve is one lane.
func (l *lanes) serve(queue <-chan task) {
	batch := make([]task, 0, maxBatch)
	for {
		select {
		case t := <-queue:
			batch = append(batch[:0], t)
		case <-l.ctx.Done():
			return
		}
		batch = gather(batch, queue)
		l.settle(batch)
	}
}

// gather adds what is waiting already, without waiting for more.
func gather(batch []task, queue <-chan task) []task {
	for len(batch) < maxBatch {
		select {
		case t := <-queue:
			batch = append(batch, t)
		default:
			return batch
		}
	}
	return batch
}

// settle publishes until every item has its final result. What failed for now
// is tried again, in order, before anything else of the lane.
func (l *lanes) settle(batch []task) {
	backoff := firstBackoff
	for {
		batch = l.expire(batch)
		if len(batch) == 0 {
			return
		}
		results := l.attempt(batch)
		var again []task
		wait := backoff
		for i, t := range batch {
			if results[i].Code == translators.CodeTransient && l.ctx.Err() == nil {
				again = append(again, t)
				wait = max(wait, results[i].RetryAfter)
				continue
			}
			l.answer(t, results[i])
		}
		if len(again) == 0 {
			return
		}
		batch = again
		l.sleep(wait, batch)
		backoff = min(2*backoff, maxBackoff)
	}
}

// expire answers the items whose deadline has passed and returns the others.
func (l *lanes) expire(batch []task) []task {
	now := time.Now()
	alive := batch[:0:len(batch)]
	for _, t := range batch {
		if d := t.item.Deadline; !d.IsZero() && !now.Before(d) {
			l.answer(t, translators.Result{Code: translators.CodeExpired, Detail: "its deadline passed before the backend took it"})
			continue
		}
		alive = append(alive, t)
	}
	return alive
}

// attempt calls the session once, and returns exactly one result per item
// whatever it returned.
func (l *lanes) attempt(batch []task) []translators.Result {
	items := make([]translators.Envelope, len(batch))
	for i := range batch {
		items[i] = batch[i].item
	}
	ctx, cancel := context.WithTimeout(l.ctx, attemptPatience)
	defer cancel()
	results := l.session.Publish(ctx, items)
	if len(results) == len(batch) {
		return results
	}
	wrong := fmt.Errorf("translator returned %d results for %d items", len(results), len(batch))
	return translators.RefuseAll(len(batch), translators.CodeFatal, wrong)
}

// sleep waits before the next attempt, but not beyond the first deadline.
func (l *lanes) sleep(wait time.Duration, batch []task) {
	for _, t := range batch {
		if d := t.item.Deadline; !d.IsZero() {
			wait = min(wait, time.Until(d))
		}
	}
	select {
	case <-time.After(wait):
	case <-l.ctx.Done():
	}
}

func (l *lanes) answer(t task, r translators.Result) {
	if r.Code == 0 {
		r = translators.Result{Code: translators.CodeFatal, Detail: "translator returned a result without a code"}
	}
	t.done(r)
	l.outstanding.Add(-1)
}
