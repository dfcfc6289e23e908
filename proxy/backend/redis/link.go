package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
)

// link is one connection that receives events.
type link struct {
	pubsub *redis.PubSub
	heard  atomic.Int64 // when something was last received, in Unix nanoseconds

	mu      sync.Mutex
	waiting map[string][]chan error // for Redis to confirm a subscription
	broken  bool
}

var errBroken = errors.New("the link has broken")

// await returns a function that waits until Redis has confirmed a
// subscription that is made after this call.
func (l *link) await(channel string) func(context.Context) error {
	done := make(chan error, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		done <- errBroken
	} else {
		l.waiting[channel] = append(l.waiting[channel], done)
	}
	return func(ctx context.Context) error {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *link) confirm(channel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, done := range l.waiting[channel] {
		done <- nil
	}
	delete(l.waiting, channel)
}

func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = true
	for _, list := range l.waiting {
		for _, done := range list {
			done <- errBroken
		}
	}
	l.waiting = nil
	_ = l.pubsub.Close() // it is given up
}

// A link is asked for a sign of life pingEvery, and given up after silence.
const (
	pingEvery = time.Second
	silence   = 3 * time.Second
)

// serve makes a link and takes events from it until it breaks.
func (b *Broker) serve(ctx context.Context, deliver func(*proxy.Event), again bool) error {
	l := &link{pubsub: b.client.Subscribe(ctx), waiting: make(map[string][]chan error)}
	defer l.end()
	if err := b.open(ctx, l); err != nil {
		return err
	}
	b.recoverOwn(deliver)
	b.attach(l)
	defer b.detach()
	if again {
		b.log.Info().Msg("linked to redis again")
		if b.returned != nil {
			b.returned()
		}
	}
	return b.receive(ctx, l, deliver)
}

// open subscribes to the node's own channel and to all topics that are wanted.
func (b *Broker) open(ctx context.Context, l *link) error {
	b.mu.Lock()
	channels := []string{b.keys.nodeChannel(b.node)}
	for channel := range b.topics {
		channels = append(channels, channel)
	}
	b.mu.Unlock()
	waiting := make(map[string]bool, len(channels))
	for _, c := range channels {
		waiting[c] = true
	}
	for part := range slices.Chunk(channels, 512) {
		if err := l.pubsub.Subscribe(ctx, part...); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		for range part {
			msg, err := l.pubsub.ReceiveTimeout(ctx, silence)
			if err != nil {
				return fmt.Errorf("wait for subscriptions: %w", err)
			}
			if s, ok := msg.(*redis.Subscription); ok {
				delete(waiting, s.Channel)
			}
		}
	}
	// An event may have come in between, in place of a confirmation.
	for len(waiting) > 0 {
		msg, err := l.pubsub.ReceiveTimeout(ctx, silence)
		if err != nil {
			return fmt.Errorf("wait for subscriptions: %w", err)
		}
		if s, ok := msg.(*redis.Subscription); ok {
			delete(waiting, s.Channel)
		}
	}
	return nil
}

func (b *Broker) attach(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.link = l
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

// receive takes events from a link until it breaks.
func (b *Broker) receive(ctx context.Context, l *link, deliver func(*proxy.Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { l.watch(ctx) })
	for {
		msg, err := l.pubsub.Receive(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		l.heard.Store(time.Now().UnixNano())
		b.take(l, msg, deliver)
	}
}

// watch asks for signs of life, and closes a link that gives none.
func (l *link) watch(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	l.heard.Store(time.Now().UnixNano())
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			_ = l.pubsub.Close() // ends the wait for the next event
			return
		}
		if silent := time.Now().UnixNano() - l.heard.Load(); silent > int64(silence) {
			_ = l.pubsub.Close()
			return
		}
		_ = l.pubsub.Ping(ctx) // without an answer, silence is seen
	}
}

func (b *Broker) take(l *link, msg any, deliver func(*proxy.Event)) {
	switch m := msg.(type) {
	case *redis.Subscription:
		if m.Kind == "subscribe" {
			l.confirm(m.Channel)
		}
	case *redis.Message:
		if ev := b.event(m); ev != nil {
			deliver(ev)
		}
	}
}

// event returns what a message is to deliver here: nil if it is no event of
// ours, or one that was delivered before.
func (b *Broker) event(m *redis.Message) *proxy.Event {
	ev, err := parseFrame(m.Payload)
	own := err == nil && ev.ID.Node == b.node
	switch {
	case err != nil:
	case m.Channel == b.keys.topicChannel(ev.Topic):
	case own && m.Channel == b.keys.nodeChannel(b.node):
	default:
		err = fmt.Errorf("%w: event on %s arrives elsewhere", ErrFrame, strings.ToValidUTF8(ev.Topic.String(), "?"))
	}
	if err != nil {
		if b.refused.Add(1) == 1 {
			b.log.Error().Err(err).Msg("what came from redis is no event; this and further ones are counted")
		}
		return nil
	}
	if own {
		return b.takeOwn(ev.ID)
	}
	return ev
}
