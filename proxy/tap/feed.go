package tap

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/offramp/offramp/proxy"
)

// Filter says which records a subscriber of a Feed is sent. Each field that
// is set narrows it; the zero Filter passes everything.
type Filter struct {
	App     string      // app id
	Channel string      // channel name pattern, "*" for any run of characters
	Kinds   proxy.Kinds // 0: every kind
}

func (f Filter) passes(r *proxy.Record) bool {
	return (f.App == "" || f.App == r.Topic.App) &&
		(f.Channel == "" || proxy.MatchPattern(f.Channel, string(r.Topic.Channel))) &&
		(f.Kinds == 0 || f.Kinds.Has(r.Kind))
}

// Feed is a proxy.Sink for people who look on, such as the debug console. It
// keeps nothing for those who are not there: without subscribers an offer
// costs one atomic read. It is safe for concurrent use.
type Feed struct {
	queue       int
	dropped     atomic.Uint64
	subscribers atomic.Pointer[[]*subscriber]
	mu          sync.Mutex // serialises changes of subscribers
}

type subscriber struct {
	filter  Filter
	records chan proxy.Record
}

var _ proxy.Sink = (*Feed)(nil)

// NewFeed returns a feed whose subscribers have room for queue records each,
// at least one. A full queue loses its oldest record.
func NewFeed(queue int) *Feed {
	f := &Feed{queue: max(queue, 1)}
	f.subscribers.Store(new([]*subscriber))
	return f
}

// Subscribe returns the records that pass filter from now on, until ctx ends.
// The channel is never closed: the receiver watches ctx too.
func (f *Feed) Subscribe(ctx context.Context, filter Filter) <-chan proxy.Record {
	s := &subscriber{filter: filter, records: make(chan proxy.Record, f.queue)}
	f.change(func(all []*subscriber) []*subscriber { return append(all, s) })
	context.AfterFunc(ctx, func() {
		f.change(func(all []*subscriber) []*subscriber {
			return slices.DeleteFunc(all, func(other *subscriber) bool { return other == s })
		})
	})
	return s.records
}

// change replaces the list of subscribers by an edited copy, so that Offer
// reads it without a lock.
func (f *Feed) change(edit func([]*subscriber) []*subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := edit(slices.Clone(*f.subscribers.Load()))
	f.subscribers.Store(&next)
}

// Offer implements proxy.Sink. It reports false only when a subscriber that
// wanted the record did not get it.
func (f *Feed) Offer(r proxy.Record) (accepted bool) {
	accepted = true
	for _, s := range *f.subscribers.Load() {
		if s.filter.passes(&r) {
			accepted = f.push(s, r) && accepted
		}
	}
	return accepted
}

// push queues r, making room by dropping the oldest. It gives up after a few
// turns, for other producers may fill each gap it makes.
func (f *Feed) push(s *subscriber, r proxy.Record) bool {
	for range 3 {
		select {
		case s.records <- r:
			return true
		default:
		}
		select {
		case <-s.records:
			f.dropped.Add(1)
		default:
		}
	}
	f.dropped.Add(1)
	return false
}
