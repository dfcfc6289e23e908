package engine

import (
	"bytes"
	"time"

	"github.com/offramp/offramp/proxy"
)

// keptFor is how long a cache channel keeps its last event (vendor
// documentation: cache channels).
const keptFor = 30 * time.Minute

// fresh returns the kept event unless it is too old. The caller has mu.
func (r *rare) fresh(now time.Time) *proxy.Event {
	if r.kept == nil || !now.Before(r.kept.At.Add(keptFor)) {
		return nil
	}
	return r.kept
}

// keep stores an event for newcomers. The caller has mu and holds the
// channel; the stored event holds it as well, until it has expired.
func (e *Engine) keep(ch *channel, ev *proxy.Event) {
	kept := *ev
	kept.Data = bytes.Clone(ev.Data) // of a larger request, as a rule
	ch.rare.kept = &kept
	if !ch.rare.scheduled {
		ch.rare.scheduled = true
		ch.hold()
		e.expiries.add(kept.At.Add(keptFor), ch)
	}
}

// expiryDue forgets the kept event, or files the channel once more if a newer
// one has taken its place.
func (e *Engine) expiryDue(ch *channel) {
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	if kept := ch.rare.fresh(time.Now()); kept != nil {
		e.expiries.add(kept.At.Add(keptFor), ch)
		return
	}
	ch.rare.kept, ch.rare.scheduled = nil, false
	ch.release()
}
