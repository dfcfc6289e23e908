package upstream

import (
	"context"
	"net/http"
	"time"

	"github.com/offramp/offramp/proxy"
)

// A call that the vendor did not answer may have had its effect, and the
// vendor knows no way to tell a second call from a second event. Copies are
// rather brought twice than not at all: the call is made again, but not
// before the vendor has answered a question, so that a vendor that hangs gets
// it no more often than it has to.
const (
	// maxDoubts is how often a call is made again without knowing.
	maxDoubts = 3
	// copyFor is how old a copy may become that the vendor may have already, or
	// that an earlier process has left: after that those who are at the vendor
	// are better off without it.
	copyFor = 5 * time.Minute
)

// doubtful reports whether a call that failed may have had its effect.
func doubtful(status int, err error) bool {
	return !undone(status, err) && (err != nil || status >= http.StatusInternalServerError && status != http.StatusLoopDetected)
}

// mayRepeat waits, after a call that may have had its effect, until the vendor
// answers a question. It reports whether the call is then to be made again:
// not when its events have become too old.
func (b *bridge) mayRepeat(ctx context.Context, batch []*proxy.Event) bool {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return true // whether it is left to the next process is to be seen
		}
		app, ok := b.app()
		if !ok || time.Since(batch[0].At) > copyFor {
			return false
		}
		p, err := b.relay.callVendor(ctx, app, http.MethodGet, "/apps/"+app.ID+exploring, nil)
		if err == nil && p.status < http.StatusInternalServerError {
			b.relay.metrics.repeated.WithLabelValues(b.id).Add(float64(len(batch)))
			return true
		}
	}
}
