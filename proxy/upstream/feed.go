package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Feed collects what the engine does, for a Relay to bring to the vendor
// while clients or publishers of an app are still there. It is made before
// the engine, which it watches, and the Relay after it.
type Feed struct {
	records chan proxy.Record
	apps    sync.Map // by app id: *progress
}

var _ proxy.Sink = (*Feed)(nil)

// FeedKinds are the records that a Feed is to be offered.
const FeedKinds = proxy.Kinds(1<<proxy.KindPublished | 1<<proxy.KindOccupied | 1<<proxy.KindVacated |
	1<<proxy.KindSubscribed | 1<<proxy.KindUnsubscribed)

// NewFeed returns a feed with room for that many records.
func NewFeed(room int) *Feed { return &Feed{records: make(chan proxy.Record, max(room, 1))} }

// Offer implements proxy.Sink. What came from the vendor is not taken: it is
// never sent back there. Nor is what the doubles of relayed clients do, who
// are there themselves.
func (f *Feed) Offer(r proxy.Record) (accepted bool) {
	if r.Leg != proxy.LegEngine || r.Event != nil && r.Event.Origin == proxy.LegVendor || isDouble(r) {
		return true
	}
	if r.Kind == proxy.KindPublished && r.Event != nil {
		f.of(r.Topic.App).take(r.Event)
	}
	select {
	case f.records <- r:
		return true
	default:
		f.settle(r)
		return false
	}
}

// isDouble reports whether a record is of a double, which is nobody's member.
func isDouble(r proxy.Record) bool {
	joins := r.Kind == proxy.KindSubscribed || r.Kind == proxy.KindUnsubscribed
	return joins && r.Topic.Channel.Kind() == protocol.Presence && r.UserID == ""
}

func (f *Feed) of(app string) *progress {
	if p, ok := f.apps.Load(app); ok {
		return p.(*progress)
	}
	p, _ := f.apps.LoadOrStore(app, &progress{open: make(map[*proxy.Event]uint64)})
	return p.(*progress)
}

// settle notes that a record needs nothing more.
func (f *Feed) settle(r proxy.Record) {
	if r.Kind == proxy.KindPublished && r.Event != nil {
		f.of(r.Topic.App).done(r.Event)
	}
}

// flush returns when the events of an app that were offered before would
// outlive the process.
func (f *Feed) flush(app string) {
	if f == nil {
		return
	}
	if s := f.of(app).spool; s != nil {
		s.flush()
	}
}

// unsettled returns how many events of an app the vendor does not have yet.
func (f *Feed) unsettled(app string) int {
	p := f.of(app)
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// longestWait bounds caughtUp: an event that overtakes another is better than
// a client that cannot connect.
const longestWait = 2 * time.Second

// caughtUp waits until the vendor has the events of an app that were taken in
// before, but not for long. Who goes over to the vendor only then neither
// overtakes them nor gets them a second time.
func (f *Feed) caughtUp(app string) {
	if f != nil {
		f.of(app).catchUp(context.Background(), longestWait)
	}
}

// progress knows what of an app is on its way: its published events, until
// they need nothing more, which the vendor then has or never will, and calls
// of its HTTP API (moves.go).
type progress struct {
	spool   *spool        // nil: they wait in memory only
	lost    atomic.Uint64 // events that the vendor will not have
	bridged atomic.Bool   // what is published is for the vendor as well

	events rounds
	calls  rounds
	turn   atomic.Uint64 // the last round of calls before the latest move

	mu      sync.Mutex
	open    map[*proxy.Event]uint64 // the events, by round
	settled time.Time               // when the latest was
	left    []*proxy.Event          // by an earlier process; open as well
}

// take takes an event in. Client events are not kept: nobody was told that
// they were accepted, and they are the connection's that says them.
func (p *progress) take(ev *proxy.Event) {
	p.begin(ev)
	if p.spool != nil && ev.Publisher == proxy.ByServer && p.bridged.Load() {
		p.spool.add(ev)
	}
}

func (p *progress) begin(ev *proxy.Event) {
	round := p.events.begin()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[ev] = round
}

// done settles events for good.
func (p *progress) done(events ...*proxy.Event) {
	if p.spool != nil {
		p.spool.settle(events...)
	}
	p.settle(events...)
}

// leftOver hands out what an earlier process has left, once.
func (p *progress) leftOver() []*proxy.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.left
	p.left = nil
	return left
}

// settle notes that this process does nothing more about events.
func (p *progress) settle(events ...*proxy.Event) {
	now := time.Now()
	for _, ev := range events {
		p.mu.Lock()
		round, open := p.open[ev]
		delete(p.open, ev)
		p.settled = now
		p.mu.Unlock()
		if open {
			p.events.end(round)
		}
	}
}

func (p *progress) catchUp(ctx context.Context, longest time.Duration) {
	p.mu.Lock()
	none := len(p.open) == 0
	p.mu.Unlock()
	if !none {
		p.events.wait(ctx, p.events.mark(), longest)
	}
}
