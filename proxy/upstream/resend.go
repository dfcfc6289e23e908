package upstream

import (
	"context"
	"errors"
	"time"
)

// errNotNeeded ends a bridge that its app no longer needs.
var errNotNeeded = errors.New("upstream: the app no longer needs its bridge")

// takeUp prepares what an earlier process has left for the vendor, which gets
// it before anything new. The vendor may have had the call that was under way
// when that process ended, or have it yet. What it then tells the tap has no
// socket left out that is still there, so the echo is expected.
func (b *bridge) takeUp(now time.Time) {
	left := b.relay.settings.Feed.of(b.id).leftOver()
	for _, ev := range left {
		if now.Sub(ev.At) > copyFor {
			b.relay.lose(ev, "not brought to the upstream: it waited for too long while the gateway was down")
			b.settle(ev)
			continue
		}
		if len(b.left) < maxBatch {
			b.echoes.expect(ev, now)
		}
		b.left = append(b.left, ev)
	}
	if len(left) > 0 {
		b.relay.settings.Log.Info().Str("app", b.id).Int("events", len(b.left)).Int("too_old", len(left)-len(b.left)).
			Msg("events that an earlier process left are brought to the upstream")
	}
}

// outlasting returns a context that ends lastCalls after another has, for the
// same cause.
func outlasting(ctx context.Context) (longer context.Context, cancel context.CancelFunc) {
	longer, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(lastCalls, func() { end(context.Cause(ctx)) })
	})
	return longer, func() {
		stop()
		end(nil)
	}
}

// keeps reports whether events whose call has failed are left to the next
// process: this one is ending, and they are on disk.
func (b *bridge) keeps(ctx context.Context, status int, err error) bool {
	return ctx.Err() != nil && (err != nil || undone(status, err)) && !errors.Is(context.Cause(ctx), errNotNeeded) &&
		b.relay.settings.Feed.of(b.id).spool != nil
}

// spooled returns how many copies of an app wait, and how many of those that
// ever did would not have outlived the process.
func (f *Feed) spooled(app string) (waiting int, unkept uint64) {
	if f == nil || f.of(app).spool == nil {
		return 0, 0
	}
	return f.of(app).spool.stats()
}

// Copies is how the copies of an app's events for its upstream are doing.
type Copies struct {
	Waiting int       `json:"waiting"`         // on disk and in memory
	Oldest  time.Time `json:"oldest,omitzero"` // when the first of them was accepted; zero: none waits
	Lost    uint64    `json:"lost"`            // since the start: the upstream will not have them
	Unkept  uint64    `json:"unkept"`          // since the start: they waited in memory only
}

// Copies returns how the copies of an app are doing; ok is false where none
// are kept and none were lost.
func (r *Relay) Copies(app string) (c Copies, ok bool) {
	if r.settings.Feed == nil {
		return Copies{}, false
	}
	p := r.settings.Feed.of(app)
	c.Lost = p.lost.Load()
	if p.spool == nil {
		return c, c.Lost > 0
	}
	c.Waiting, c.Unkept = p.spool.stats()
	c.Oldest = p.spool.oldest()
	return c, true
}
