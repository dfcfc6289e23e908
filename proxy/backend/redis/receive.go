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

// serve makes a link, delivers what came while there was none, and takes
// events from it until it breaks.
func (b *Broker) serve(ctx context.Context, deliver func(*proxy.Event), again bool) error {
	l, err := dial(ctx, b.client, b.wanted())
	if err != nil {
		return err
	}
	defer l.end(errBroken)
	b.settleOwn()
	missed, err := b.replay(ctx, l, deliver)
	if err != nil {
		return err
	}
	b.recoverOwn(deliver)
	if err := b.publishAgain(ctx, l); err != nil {
		return err
	}
	b.attach(l)
	defer b.detach()
	if again {
		b.log.Info().Uint64("replayed", b.replayed.Load()).Msg("linked to redis again")
		if b.returned != nil {
			b.returned()
		}
	}
	b.tellMissed(missed)
	return l.receive(ctx, func(msg any) error { return b.take(l, msg, deliver) })
}

// tellMissed says that events of apps may be lost here.
func (b *Broker) tellMissed(apps []string) {
	if len(apps) == 0 {
		return
	}
	b.gaps.Add(1)
	b.log.Error().Strs("apps", apps).Msg("more was published while there was no link to redis than is held for that; clients of these apps are sent away")
	if b.missed != nil {
		b.missed(apps)
	}
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

func (b *Broker) attach(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.link = l
	b.first.Do(func() { close(b.linked) })
	for _, w := range b.topics {
		w.confirmed = true
	}
}

func (b *Broker) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.standing.mu.Lock()
	b.standing.whole, b.standing.server = b.link.whole(), b.link.server
	b.standing.mu.Unlock()
	b.link, b.broke = nil, time.Now()
	for _, w := range b.topics {
		w.confirmed = false
	}
}

// settleOwn waits until no event of this node is being published. There is no
// link, so that none is begun.
func (b *Broker) settleOwn() {
	for i := range b.lanes {
		b.lanes[i].Lock()
		b.lanes[i].Unlock() //nolint:staticcheck // whoever had it has ended
	}
}

// recoverOwn delivers the accepted events of this node that have not come back
// and are in no log, as Redis has lost its memory: they are late rather than
// lost.
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
	ev, at, err := parseFrame(m.Payload)
	if err != nil {
		b.refuse(err)
		return nil
	}
	own := ev.ID.Node == b.node
	bucket := b.keys.bucketOf(ev.Topic)
	if m.Channel != topicChannel(bucket, ev.Topic) && (!own || m.Channel != ownChannel(bucket, b.node)) {
		b.refuse(fmt.Errorf("%w: event on %s arrives elsewhere", ErrFrame, strings.ToValidUTF8(ev.Topic.String(), "?")))
		return nil
	}
	if !b.standing.advance(bucket, at, ev.ID) {
		return nil
	}
	if own {
		return b.takeOwn(ev)
	}
	return ev
}
