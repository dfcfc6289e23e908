package host

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

const (
	batchItems = 64
	batchBytes = 256 << 10
	// lanes is the number of order lanes that channels are spread over.
	lanes = 256
	// slack is how long an event may be on its way to a watcher: a hole in
	// what could be seen began that much earlier for what was published.
	slack = time.Second
	// holdPatience is how long an event waits for its channel's subscription.
	holdPatience = 5 * time.Second
)

// item is an event that the backend has not answered for.
type item struct {
	event *proxy.Event
	seq   uint64
}

func (i item) size() int { return len(i.event.Data) + len(i.event.Name) + 256 }

// refusal is an item that exceeds what the plugin takes, and its answer.
type refusal struct {
	item
	result translators.Result
}

// batch is a batch that the plugin has.
type batch struct {
	number uint64
	items  []item
}

// gap is a stretch in which a channel, or all of them, could not be observed.
type gap struct {
	channel  protocol.ChannelName // empty: all
	from, to time.Time
	why      string
}

// book is what a link remembers across the lives of its plugin process: which
// events await an answer, which channels are to be observed, and what could
// not be seen. It does no I/O and knows no goroutines; mu guards all of it.
type book struct {
	maxItems, maxBytes int
	// demand: only channels that have subscribers here are observed, and no
	// event waits for that.
	demand bool

	// most is how many channels the plugin can observe; 0: any number.
	// Guarded by mu.
	most    int
	watched int // channels that it was asked to observe; guarded by mu

	mu          sync.Mutex
	observing   bool // the session can subscribe, as far as known
	down        time.Time
	why         string // why it is down
	channels    map[protocol.ChannelName]*channel
	ready       []item
	again       []item // taken back from a process that leaves, for its successor
	outstanding []batch
	items       int // all that are not answered
	bytes       int
	seq, number uint64
	credit      int
	with        int // items outstanding
	overflow    gap // dropped since the last tick; zero: none
	toAdd       []string
	toDrop      []string
	dropped     uint64
	resent      uint64
	bounds      *bounds   // of the session that runs; nil: none are known
	refused     []refusal // by bounds, and not yet told
	closed      bool      // nothing is taken any more

	work   chan struct{} // one token: there may be something to take
	wanted chan struct{} // one token: there may be channels to add or drop
}

// newBook returns an empty book of a link that is down since now, without
// having missed anything.
func newBook(maxItems, maxBytes int, observing bool) *book {
	return &book{
		maxItems: maxItems, maxBytes: maxBytes, observing: observing,
		channels: map[protocol.ChannelName]*channel{},
		work:     make(chan struct{}, 1), wanted: make(chan struct{}, 1),
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// publish takes an event. It reports false when there was no room for it.
func (b *book) publish(e *proxy.Event, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	it := item{event: e, seq: b.seq}
	if b.closed || b.items >= b.maxItems || b.bytes+it.size() > b.maxBytes {
		b.drop(e, now)
		return false
	}
	b.seq++
	b.items++
	b.bytes += it.size()
	c := b.channelFor(e.Topic.Channel, now)
	if !c.passes() {
		c.held = append(c.held, it)
		return true
	}
	if !c.attached && b.observing && !b.demand && c.dark.IsZero() {
		c.dark = e.At
	}
	b.ready = append(b.ready, it)
	signal(b.work)
	return true
}

// drop is called with mu held.
func (b *book) drop(e *proxy.Event, now time.Time) {
	b.dropped++
	if b.overflow.from.IsZero() {
		b.overflow = gap{from: e.At, why: "the queue of the backend was full"}
	}
	b.overflow.to = now
}

// open begins a process's life. Every channel is to be observed anew before
// its events pass.
func (b *book) open(observing bool, credit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.observing, b.credit = observing, credit
	if !observing || b.demand {
		for _, c := range b.channels {
			c.blind = true
			b.release(c)
		}
	}
	signal(b.work)
}

// lose ends a process's life. What was not answered will be sent again, in
// order and with the same ids; nothing that is known for certain was seen
// since the oldest of it, nor in the last moments.
func (b *book) lose(now time.Time, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := now.Add(-slack)
	again := b.again
	for _, sent := range b.outstanding {
		again = append(again, sent.items...)
	}
	for _, it := range again {
		from = earlier(from, it.event.At)
	}
	for _, c := range b.channels {
		if len(c.held) > 0 {
			from = earlier(from, c.held[0].event.At)
		}
	}
	b.resent += uint64(len(again))
	slices.SortFunc(again, func(x, y item) int { return cmp.Compare(x.seq, y.seq) })
	again = append(again, b.ready...)
	b.again, b.outstanding, b.ready, b.with, b.credit = nil, nil, nil, 0, 0
	if b.observing && !b.demand {
		b.hold(again, now)
	} else { // nothing waits for a subscription, nor may what comes now overtake it
		b.ready = again
	}
	b.toAdd, b.toDrop = nil, nil
	for _, c := range b.channels {
		if b.observing && c.attached && c.dark.IsZero() {
			c.dark = from
		}
		b.forget(c)
		c.attached, c.blind, c.retry = false, !b.observing || b.demand, time.Time{}
	}
	for name, c := range b.channels { // once all are free
		b.ask(name, c)
	}
	if b.down.IsZero() {
		b.down, b.why = from, why
	}
}

// putBack takes items that were answered for, and are to be sent again by the
// successor.
func (b *book) putBack(items []item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, it := range items {
		b.items++
		b.bytes += it.size()
	}
	b.again = append(b.again, items...)
}

// takeOver ends a process's life and begins its successor's, which observes
// some channels already. What was not answered comes first.
func (b *book) takeOver(observing bool, credit int, observes func(protocol.ChannelName) bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sent := range b.outstanding {
		b.again = append(b.again, sent.items...)
	}
	slices.SortFunc(b.again, func(x, y item) int { return cmp.Compare(x.seq, y.seq) })
	b.resent += uint64(len(b.again))
	b.ready = append(b.again, b.ready...)
	b.again, b.outstanding, b.with = nil, nil, 0
	b.observing, b.credit = observing, credit
	for name, c := range b.channels {
		switch {
		case !observing:
			c.blind = true
			b.release(c)
		case c.attached && !observes(name):
			c.attached, c.blind, c.dark = false, true, now.Add(-slack)
		}
	}
	signal(b.work)
}

// hold puts items, which are in order, before what their channels hold.
// Called with mu held.
func (b *book) hold(items []item, now time.Time) {
	first := map[protocol.ChannelName][]item{}
	for _, it := range items {
		name := it.event.Topic.Channel
		first[name] = append(first[name], it)
	}
	for name, mine := range first {
		c := b.channelFor(name, now)
		c.held = append(mine, c.held...)
	}
}

// next returns the next batch within credit, or none. What exceeds the bounds
// is left out: see refusals.
func (b *book) next(now time.Time) (uint64, []item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var items []item
	size, most := 0, min(batchItems, b.credit-b.with)
	for len(b.ready) > 0 && len(items) < most {
		it := b.ready[0]
		if len(items) > 0 && size+it.size() > batchBytes {
			break
		}
		b.ready = b.ready[1:]
		if result, exceeds := b.bounds.refuse(it, now); exceeds {
			b.items--
			b.bytes -= it.size()
			b.refused = append(b.refused, refusal{it, result})
			continue
		}
		if items == nil {
			items = make([]item, 0, min(most, len(b.ready)+1))
		}
		items = append(items, it)
		size += it.size()
	}
	n := len(items)
	if n == 0 {
		return 0, nil
	}
	b.number++
	b.with += n
	b.outstanding = append(b.outstanding, batch{number: b.number, items: items})
	return b.number, items
}

// refusals returns what was left out of batches since the last call.
func (b *book) refusals() []refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	refused := b.refused
	b.refused = nil
	return refused
}

// bind sets the bounds of the session that is fed from now on.
func (b *book) bind(bounds *bounds) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bounds = bounds
}

// answer takes a batch off the book and returns its items. ok is false for a
// batch that is not outstanding or has another number of items.
func (b *book) answer(number uint64, results, credit int) (items []item, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := slices.IndexFunc(b.outstanding, func(o batch) bool { return o.number == number })
	if at < 0 || len(b.outstanding[at].items) != results {
		return nil, false
	}
	items = b.outstanding[at].items
	b.outstanding = slices.Delete(b.outstanding, at, at+1)
	b.with -= len(items)
	b.items -= len(items)
	for _, it := range items {
		b.bytes -= it.size()
	}
	b.credit = credit
	signal(b.work)
	return items, true
}

// release passes on what was held for a channel. Called with mu held.
func (b *book) release(c *channel) {
	b.ready = append(b.ready, c.held...)
	c.held = nil
	signal(b.work)
}

// up notes that the plugin is running again, and returns the gap this ended.
func (b *book) up(now time.Time) []gap {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down.IsZero() {
		return nil
	}
	ended := gap{from: b.down, to: now, why: b.why}
	b.down = time.Time{}
	return []gap{ended}
}

// tick returns what could not be seen since the last tick, and lets pass what
// has waited too long for its channel.
func (b *book) tick(now time.Time, linger time.Duration) []gap {
	b.mu.Lock()
	defer b.mu.Unlock()
	var gaps []gap
	if !b.overflow.from.IsZero() {
		gaps = append(gaps, b.overflow)
		b.overflow = gap{}
	}
	if !b.down.IsZero() {
		gaps = append(gaps, gap{from: b.down, to: now, why: b.why})
		b.down = now
		return gaps
	}
	for name, c := range b.channels {
		b.tidy(name, c, now, linger)
		if len(c.held) > 0 && b.credit > 0 && now.Sub(c.held[0].event.At) > holdPatience {
			c.blind = true
			if c.dark.IsZero() {
				c.dark = c.held[0].event.At
			}
			b.release(c)
		}
		if c.blind && !c.dark.IsZero() {
			why := "the channel is not observed"
			if c.denied {
				why = fmt.Sprintf("the backend's plugin observes %d channels, and no more", b.most)
			}
			gaps = append(gaps, gap{channel: name, from: c.dark, to: now, why: why})
			c.dark = now
		}
	}
	return gaps
}

// shut refuses all further events, or takes them again.
func (b *book) shut(closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = closed
}

// empty reports whether nothing awaits the backend.
func (b *book) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.items == 0
}

// tally fills in a status.
func (b *book) tally(s *Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Queued, s.Outstanding, s.Dropped, s.Resent = b.items-b.with, b.with, b.dropped, b.resent
	for _, c := range b.channels {
		if c.attached {
			s.Channels++
		}
		if c.denied {
			s.ChannelsDenied++
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// laneOf returns the order lane of a channel.
func laneOf(name protocol.ChannelName) uint32 { return hashOf(name) % lanes }

// hashOf is stable over processes and releases.
func hashOf(name protocol.ChannelName) uint32 {
	h := uint32(2166136261) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}
