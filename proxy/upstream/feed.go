package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Feed collects what the engine does, for a Relay to bring to the vendor
// while clients or publishers of an app are still there. It is made before
// the engine, which it watches, and the Relay after it.
type Feed struct {
	records chan proxy.Record
	apps    sync.Map // by app id: *progress
}

// progress counts an app's published events: those that were taken in, and
// those that need nothing more, which the vendor then has or never will.
type progress struct{ taken, settled atomic.Int64 }

var _ proxy.Sink = (*Feed)(nil)

// FeedKinds are the records that a Feed is to be offered.
const FeedKinds = proxy.Kinds(1<<proxy.KindPublished | 1<<proxy.KindOccupied | 1<<proxy.KindVacated)

// NewFeed returns a feed with room for that many records.
func NewFeed(room int) *Feed { return &Feed{records: make(chan proxy.Record, max(room, 1))} }

// Offer implements proxy.Sink. What came from the vendor is not taken: it is
// never sent back there.
func (f *Feed) Offer(r proxy.Record) (accepted bool) {
	if r.Leg != proxy.LegEngine || r.Event != nil && r.Event.Origin == proxy.LegVendor {
		return true
	}
	if r.Kind == proxy.KindPublished {
		f.of(r.Topic.App).taken.Add(1)
	}
	select {
	case f.records <- r:
		return true
	default:
		f.settle(r)
		return false
	}
}

func (f *Feed) of(app string) *progress {
	if p, ok := f.apps.Load(app); ok {
		return p.(*progress)
	}
	p, _ := f.apps.LoadOrStore(app, new(progress))
	return p.(*progress)
}

// settle notes that a record needs nothing more.
func (f *Feed) settle(r proxy.Record) {
	if r.Kind == proxy.KindPublished {
		f.of(r.Topic.App).settled.Add(1)
	}
}

// unsettled returns how many events of an app the vendor does not have yet.
func (f *Feed) unsettled(app string) int64 {
	p := f.of(app)
	return p.taken.Load() - p.settled.Load()
}

// caughtUp waits until the vendor has the events of an app that were taken in
// before, but not for long. Who goes over to the vendor only then neither
// overtakes them nor gets them a second time.
func (f *Feed) caughtUp(app string) {
	const longest, look = 2 * time.Second, time.Millisecond
	if f == nil {
		return
	}
	p := f.of(app)
	before := p.taken.Load()
	for waited := time.Duration(0); p.settled.Load() < before && waited < longest; waited += look {
		time.Sleep(look)
	}
}
