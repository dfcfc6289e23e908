package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
)

// serve makes a link and takes events from it until it breaks.
func (b *Broker) serve(ctx context.Context, deliver func(*proxy.Event), again bool) error {
	l, err := dial(ctx, b.client, b.wanted())
	if err != nil {
		return err
	}
	defer l.end(errBroken)
	b.recoverOwn(deliver)
	b.attach(l, again)
	defer b.detach()
	if again {
		b.log.Info().Msg("linked to redis again")
		if b.returned != nil {
			b.returned()
		}
	}
	return l.receive(ctx, func(msg any) error { return b.take(l, msg, deliver) })
}

// wanted returns the channels that a link is to be subscribed to.
func (b *Broker) wanted() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	channels := make([]string, 0, len(b.topics))
	for channel := range b.topics {
		channels = append(channels, channel)
	}
	return channels
}

func (b *Broker) attach(l *link, again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.link = l
	if again {
		b.accepts = time.Now().Add(relinking)
	}
	b.first.Do(func() { close(b.linked) })
	for channel := range b.topics {
		b.topics[channel] = true
	}
}

func (b *Broker) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.link = nil
	for channel := range b.topics {
		b.topics[channel] = false
	}
}

// recoverOwn delivers the accepted events of this node that had not come back
// when the link broke: they were accepted, and are late rather than lost.
func (b *Broker) recoverOwn(deliver func(*proxy.Event)) {
	b.mu.Lock()
	late := make([]*proxy.Event, 0, len(b.own))
	for _, p := range b.own {
		if !p.failed {
			late = append(late, p.event)
		}
	}
	clear(b.own)
	b.mu.Unlock()
	slices.SortFunc(late, func(x, y *proxy.Event) int { return cmp.Compare(x.ID.Seq, y.ID.Seq) })
	for _, ev := range late {
		deliver(ev)
	}
}

func (b *Broker) take(l *link, msg any, deliver func(*proxy.Event)) error {
	switch m := msg.(type) {
	case *redis.Subscription:
		return l.confirm(m)
	case *redis.Message:
		if ev := b.event(m); ev != nil {
			deliver(ev)
		}
	}
	return nil
}

// event returns what a message is to deliver here: nil if it is no event of
// ours, or one that was delivered before.
func (b *Broker) event(m *redis.Message) *proxy.Event {
	ev, err := parseFrame(m.Payload)
	own := err == nil && ev.ID.Node == b.node
	switch {
	case err != nil:
	case m.Channel == b.keys.topicChannel(ev.Topic):
	case own && m.Channel == b.keys.ownChannel(b.node, ev.Topic):
	default:
		err = fmt.Errorf("%w: event on %s arrives elsewhere", ErrFrame, strings.ToValidUTF8(ev.Topic.String(), "?"))
	}
	if err != nil {
		b.refuse(err)
		return nil
	}
	if !own {
		return ev
	}
	mine := b.takeOwn(ev.ID)
	if mine != nil {
		mine.Order = ev.Order
	}
	return mine
}
