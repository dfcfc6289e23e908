package host

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// maxPaced is how many channels' rates are known before those that have been
// idle are forgotten.
const maxPaced = 10_000

// bounds are the limits in force for one session: what exceeds them is refused
// here and not sent.
type bounds struct {
	limits translators.Limits
	all    *rate.Limiter // nil: any rate
	each   map[protocol.ChannelName]*rate.Limiter
}

// boundsOf returns what a session says that it takes. One that says nothing is
// held to the sizes that its plugin declares, and not to the rates: it may join
// several events in one publish.
func boundsOf(d translators.Description, o plugins.Opened) *bounds {
	if o.Limits == nil {
		l := d.Limits
		l.PublishesPerSecond, l.PerChannelPerSecond = 0, 0
		return &bounds{limits: l}
	}
	b := &bounds{limits: *o.Limits, each: map[protocol.ChannelName]*rate.Limiter{}}
	if perSecond := b.limits.PublishesPerSecond; perSecond > 0 {
		b.all = pacer(perSecond)
	}
	return b
}

// pacer lets half a second's worth pass at once.
func pacer(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/2)))
}

// refuse returns the answer for an item that exceeds a limit, and whether it
// does.
func (b *bounds) refuse(it item, now time.Time) (translators.Result, bool) {
	if b == nil {
		return translators.Result{}, false
	}
	l, e := b.limits, it.event
	for _, size := range []struct {
		what      string
		has, most int
		code      translators.Code
	}{
		{"its data", len(e.Data), l.PayloadBytes, translators.CodeRejectedSize},
		{"its channel's name", len(e.Topic.Channel), l.ChannelNameBytes, translators.CodeRejectedName},
		{"its name", len(e.Name), l.EventNameBytes, translators.CodeRejectedName},
	} {
		if size.most > 0 && size.has > size.most {
			return translators.Result{
				Code: size.code, Detail: fmt.Sprintf("%s has %d bytes, and the plugin takes %d", size.what, size.has, size.most),
			}, true
		}
	}
	if !b.paces(e.Topic.Channel, now) {
		return translators.Result{Code: translators.CodeThrottled, Detail: "over the rate that the plugin takes"}, true
	}
	return translators.Result{}, false
}

// paces reports whether the rates let another event of a channel pass, which
// then counts.
func (b *bounds) paces(name protocol.ChannelName, now time.Time) bool {
	if perSecond := b.limits.PerChannelPerSecond; b.each != nil && perSecond > 0 {
		p, known := b.each[name]
		if !known {
			b.prune(now)
			p = pacer(perSecond)
			b.each[name] = p
		}
		if !p.AllowN(now, 1) {
			return false
		}
	}
	return b.all == nil || b.all.AllowN(now, 1)
}

// prune forgets channels that could publish as if they were new.
func (b *bounds) prune(now time.Time) {
	if len(b.each) < maxPaced {
		return
	}
	for name, p := range b.each {
		if p.TokensAt(now) >= float64(p.Burst()) {
			delete(b.each, name)
		}
	}
}
