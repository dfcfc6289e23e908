package webhooks

import (
	"time"

	"github.com/offramp/offramp/proxy"
)

const (
	// rememberFor is how long after a subject's end the upstream may still tell
	// of its departure: its own delay, and the longest pause between two tries.
	rememberFor = 2 * time.Minute
	// orderFor is how far apart two webhooks of the upstream can overtake each
	// other: it tries for five minutes.
	orderFor = 10 * time.Minute
)

// vendorNews is what has to be known to take the upstream's word: its webhooks
// come in any order, may come again, and some come only because the gateway
// itself was a client there.
type vendorNews struct {
	heard  map[subject]heard
	ends   map[subject]time.Time // when receivers were told, of apps that are heard of
	apps   map[string]bool       // that are heard of
	counts map[proxy.Topic]counts
	swept  time.Time
}

// heard is the latest word on a subject.
type heard struct {
	said time.Time // by the upstream's clock
	at   time.Time // by ours
}

// counts are a channel's subscriptions.
type counts struct{ engine, vendor, told int }

func newVendorNews() vendorNews {
	return vendorNews{
		heard: map[subject]heard{}, ends: map[subject]time.Time{}, apps: map[string]bool{}, counts: map[proxy.Topic]counts{},
	}
}

// stale reports whether the upstream has said something newer about a subject
// already, and otherwise notes that it has said this.
func (v *vendorNews) stale(s subject, said, now time.Time) bool {
	v.apps[s.topic.App] = true
	v.sweep(now)
	if last, ok := v.heard[s]; ok && said.Before(last.said) {
		return true
	}
	v.heard[s] = heard{said, now}
	return false
}

// heardSince reports whether the upstream told of a subject after a time.
func (v *vendorNews) heardSince(s subject, since time.Time) bool {
	last, ok := v.heard[s]
	return ok && !last.at.Before(since)
}

// end notes that receivers were told of a subject's departure.
func (v *vendorNews) end(s subject, now time.Time) {
	if v.apps[s.topic.App] {
		v.ends[s] = now
	}
}

// ended reports whether receivers have been told of a subject's departure
// lately, of which another one is but the echo: that of a tap or ghost.
func (v *vendorNews) ended(s subject) bool {
	_, ok := v.ends[s]
	return ok
}

func (v *vendorNews) sweep(now time.Time) {
	if now.Sub(v.swept) < time.Minute {
		return
	}
	v.swept = now
	for s, last := range v.heard {
		if now.Sub(last.at) > orderFor {
			delete(v.heard, s)
		}
	}
	for s, at := range v.ends {
		if now.Sub(at) > rememberFor {
			delete(v.ends, s)
		}
	}
}

// count notes how many subscriptions a channel has on a leg, and returns the
// sum and whether it is news.
func (v *vendorNews) count(topic proxy.Topic, leg legs, n int) (sum int, news bool) {
	c, known := v.counts[topic]
	if leg == onVendor {
		c.vendor = n
	} else {
		c.engine = n
	}
	sum = c.engine + c.vendor
	news = !known || sum != c.told
	c.told = sum
	if v.counts[topic] = c; sum == 0 {
		delete(v.counts, topic)
	}
	return sum, news
}
