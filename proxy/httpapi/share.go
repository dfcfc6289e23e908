package httpapi

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/offramp/offramp/proxy"
)

// share is what an app may publish per second. Where there are several nodes
// it is taken from what they have together, a little in advance.
type share struct {
	app   *proxy.App
	rates proxy.Rates   // nil: this is the only node
	alone *rate.Limiter // there, and while the others cannot be asked

	mu    sync.Mutex
	spare int       // taken and not used yet
	spent time.Time // until then there is nothing to be had
}

// parts is how many parts a second's share is taken in: no node asks more
// often, and none holds more in advance.
const parts = 20

// newShare returns nil if the app may publish without limit.
func newShare(app *proxy.App, rates proxy.Rates) *share {
	n := app.Limits.PublishesPerSecond
	if n == 0 {
		return nil
	}
	return &share{app: app, rates: rates, alone: rate.NewLimiter(rate.Limit(n), burst(n))}
}

// burst: a second's worth may come at once, and a full batch always fits.
func burst(perSecond int) int { return max(perSecond, maxBatch) }

// take takes n events, all or none.
func (s *share) take(n int, now time.Time) bool {
	if s.rates == nil {
		return s.alone.AllowN(now, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= s.spare {
		s.spare -= n
		return true
	}
	if now.Before(s.spent) {
		return false
	}
	perSecond, least := s.app.Limits.PublishesPerSecond, n-s.spare
	granted, err := s.rates.Take(context.Background(), s.app.ID, least, least+perSecond/parts, perSecond, burst(perSecond))
	if err != nil {
		return s.alone.AllowN(now, n)
	}
	if granted < least {
		s.spent = now.Add(time.Second / parts)
		return false
	}
	s.spare += granted - n
	return true
}
