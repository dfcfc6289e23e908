package tap

import (
	"sync/atomic"

	"github.com/offramp/offramp/proxy"
)

// Watcher is one sink on a Tap and what it is shown.
type Watcher struct {
	Name  string // in metrics; unique within a tap
	Sink  proxy.Sink
	Kinds proxy.Kinds // kinds of record that it is offered
	// Apps says whether it is offered an app's records; nil: every app's. It
	// is called on the hot path and must not block.
	Apps func(appID string) bool
}

// Tap is a proxy.Sink that offers each record to every watcher that wants it,
// in the order of construction. It is safe for concurrent use.
type Tap struct {
	watchers []watcher
	wanted   proxy.Kinds
}

type watcher struct {
	Watcher
	offered, dropped *atomic.Uint64
}

var _ proxy.Sink = (*Tap)(nil)

// New returns a tap with those watchers. The list is fixed for its lifetime.
func New(watchers ...Watcher) *Tap {
	t := &Tap{}
	for _, w := range watchers {
		t.watchers = append(t.watchers, watcher{Watcher: w, offered: new(atomic.Uint64), dropped: new(atomic.Uint64)})
		t.wanted |= w.Kinds
	}
	return t
}

// Wants reports whether any watcher takes records of that kind, so that a
// caller need not build one for nobody.
func (t *Tap) Wants(k proxy.Kind) bool { return t.wanted.Has(k) }

// Offer implements proxy.Sink. It reports false when a watcher that wanted
// the record dropped it; the others have it all the same.
func (t *Tap) Offer(r proxy.Record) (accepted bool) {
	accepted = true
	for i := range t.watchers {
		if w := &t.watchers[i]; w.wants(&r) {
			accepted = w.offer(r) && accepted
		}
	}
	return accepted
}

func (w *watcher) wants(r *proxy.Record) bool {
	return w.Kinds.Has(r.Kind) && (w.Apps == nil || w.Apps(r.Topic.App))
}

func (w *watcher) offer(r proxy.Record) bool {
	w.offered.Add(1)
	if w.Sink.Offer(r) {
		return true
	}
	w.dropped.Add(1)
	return false
}
