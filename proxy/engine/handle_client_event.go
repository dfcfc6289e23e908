package engine

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// clientEvent carries out a client-* event: an event for the others on a
// channel that the sender is on.
func (c *Conn) clientEvent(app *proxy.App, f protocol.Frame) *protocol.Error {
	if f.Data == nil || f.Channel == "" {
		return protocol.ErrClientShape
	}
	if !app.ClientEvents {
		return protocol.ErrClientOff
	}
	name := protocol.ChannelName(f.Channel)
	if !name.NeedsAuth() {
		return protocol.ErrClientChannel(name)
	}
	sub := c.joined.get(name)
	if sub == nil {
		return protocol.ErrNotMember(name)
	}
	if !c.bucket.take(time.Since(c.engine.started), app.Limits.ClientEventsPerSecond) {
		return protocol.ErrClientRate
	}
	if utf8.RuneCountInString(f.Event) > protocol.MaxEventNameLength {
		return protocol.ErrEventName(protocol.MaxEventNameLength)
	}
	data, _ := f.ClientData()
	if limit := app.Limits.EventBytes; len(data) > limit {
		return protocol.ErrClientSize(len(data), limit)
	}
	e := c.engine
	ev := &proxy.Event{
		ID:        e.nextID(),
		Topic:     sub.channel.topic(),
		Name:      f.Event,
		Data:      data,
		Except:    c.id,
		UserID:    sub.userID,
		Socket:    c.id,
		Publisher: proxy.ByClient,
		Origin:    proxy.LegEngine,
		At:        time.Now(),
	}
	if err := e.broker.Publish(context.Background(), ev); err != nil {
		e.failed(err, ev.Topic, "publish a client event")
		return protocol.ErrUnavailable
	}
	c.tenant.clientEvents.Add(1)
	return nil
}

// bucket is a token bucket that holds one second's worth of tokens, as the
// time at which it will be full again. The zero value is full.
type bucket struct{ full time.Duration }

// take takes a token at time now, if there is one.
func (b *bucket) take(now time.Duration, perSecond int) bool {
	token := time.Second / time.Duration(max(perSecond, 1))
	full := max(b.full, now) + token
	if full-now > time.Second {
		return false
	}
	b.full = full
	return true
}
