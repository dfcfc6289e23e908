package httpapi

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offramp/offramp/proxy"
)

// tenant is what is kept of one app between requests.
type tenant struct {
	app     *proxy.App
	signers map[string]*signer // by key
	share   *share             // nil: unlimited
	limited prometheus.Counter
}

func newTenant(app *proxy.App, rates proxy.Rates, limited *prometheus.CounterVec) *tenant {
	t := &tenant{
		app: app, signers: make(map[string]*signer, len(app.Credentials)),
		share: newShare(app, rates), limited: limited.WithLabelValues(app.ID),
	}
	for _, c := range app.Credentials {
		t.signers[c.Key] = newSigner(c.Secret.Reveal())
	}
	return t
}

// admit takes n events from the app's share of this second, all or none.
func (t *tenant) admit(n int, now time.Time) *refusal {
	if t.share == nil || t.share.take(n, now) {
		return nil
	}
	t.limited.Inc()
	return errRate(t.app.Limits.PublishesPerSecond)
}

// tenants keeps a tenant per app. An app is immutable and a reload makes a new
// one, so its address is its identity, and a tenant never goes stale.
type tenants struct {
	apps    Apps
	rates   proxy.Rates // nil: the only node
	limited *prometheus.CounterVec
	current atomic.Pointer[map[*proxy.App]*tenant]
	mu      sync.Mutex // serialises add
}

func (ts *tenants) of(app *proxy.App) *tenant {
	if all := ts.current.Load(); all != nil {
		if t, ok := (*all)[app]; ok {
			return t
		}
	}
	return ts.add(app)
}

// add makes the tenant of an app that is new, and forgets those whose app has
// been replaced.
func (ts *tenants) add(app *proxy.App) *tenant {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	next := map[*proxy.App]*tenant{}
	if all := ts.current.Load(); all != nil {
		for known, t := range *all {
			if current, ok := ts.apps.ByID(known.ID); ok && current == known {
				next[known] = t
			}
		}
	}
	if next[app] == nil {
		next[app] = newTenant(app, ts.rates, ts.limited)
	}
	ts.current.Store(&next)
	return next[app]
}
