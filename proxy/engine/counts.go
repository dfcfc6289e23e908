package engine

import (
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Subscription counts are told at each change up to countFreely, and above it
// once per countEvery at most (vendor documentation: subscription counting).
const (
	countFreely = 100
	countEvery  = 5 * time.Second
)

// countChanged tells a channel's subscribers how many they are now, or files
// it for later. The caller has the channel's turn.
func (e *Engine) countChanged(app *proxy.App, ch *channel, count int) {
	if !app.SubscriptionCounting || ch.hidden() || ch.name.Kind() == protocol.Presence {
		return
	}
	if count <= countFreely {
		e.tellCount(ch, count)
		return
	}
	if ch.count == nil {
		ch.count = &throttle{}
	}
	if ch.count.scheduled {
		return
	}
	now := time.Now()
	if next := ch.count.told.Add(countEvery); next.After(now) {
		ch.count.scheduled = true
		ch.hold()
		e.counts.add(next, ch)
		return
	}
	e.tellCount(ch, count)
}

// countDue tells a count that had to wait, if it still differs from the one
// told last.
func (e *Engine) countDue(ch *channel) {
	defer ch.release()
	ch.turn.Lock()
	defer ch.turn.Unlock()
	ch.count.scheduled = false
	app, ok := e.apps(ch.tenant.id)
	if !ok || !app.SubscriptionCounting {
		return
	}
	if count, known := e.total(ch); known && count != ch.count.value {
		e.tellCount(ch, count)
	}
}

func (e *Engine) tellCount(ch *channel, count int) {
	if ch.count != nil {
		ch.count.value = count
		ch.count.told = time.Now()
	}
	if e.occupancy == nil {
		e.append(ch, protocol.AppendSubscriptionCount(nil, ch.name, count))
	} else {
		e.tellCountEverywhere(ch, count)
	}
	e.offer(proxy.Record{Kind: proxy.KindSubscriptionCount, Topic: ch.topic(), Count: count})
}
