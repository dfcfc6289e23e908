package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// link is what receives events: one connection, or one to each master of a
// Redis Cluster. It is given up whole, and another one made.
type link struct {
	client client
	parts  map[string]*part // by address
	server string           // the servers' identity
	began  uint64           // when it was made, by Redis's clock in milliseconds

	mu      sync.Mutex
	waiting map[string][]chan error // for Redis to confirm a subscription
	leaving map[string]int          // unsubscriptions that Redis has not confirmed
	ended   error                   // why it was given up; nil: it was not
}

// part is one of its connections.
type part struct {
	pubsub *redis.PubSub
	master redis.Cmdable
	asked  atomic.Int32          // signs of life asked for since something was received
	clock  atomic.Pointer[clock] // as last seen
	whole  atomic.Uint64         // all that was published until then was received, by that clock
}

// clock is a server's time, in milliseconds, and the latest at which it was that.
type clock struct {
	ms uint64
	at time.Time
}

var (
	errBroken    = errors.New("the link has broken")
	errElsewhere = errors.New("redis is another server now")
)

// dial makes a link that is subscribed to channels.
func dial(ctx context.Context, c client, channels []string) (*link, error) {
	parts, err := c.links(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{client: c, parts: parts, waiting: make(map[string][]chan error), leaving: make(map[string]int)}
	if err := l.open(ctx, channels); err != nil {
		l.end(err)
		return nil, err
	}
	return l, nil
}

// open subscribes to channels, and to something else on each connection that
// has none of them: so it is known to work.
func (l *link) open(ctx context.Context, channels []string) (err error) {
	if l.server, err = l.client.identity(ctx); err != nil {
		return err
	}
	for _, p := range l.parts {
		if p.whole.Store(p.look(ctx)); p.whole.Load() == 0 {
			return fmt.Errorf("ask for redis's time: %w", errBroken)
		}
	}
	l.began = l.whole()
	lists := make(map[*part][]string)
	for _, channel := range channels {
		p, err := l.part(ctx, channel)
		if err != nil {
			return err
		}
		lists[p] = append(lists[p], channel)
	}
	for _, p := range l.parts {
		if err := l.openPart(ctx, p, lists[p]); err != nil {
			return err
		}
	}
	return nil
}

func (l *link) openPart(ctx context.Context, p *part, channels []string) error {
	if err := p.pubsub.Ping(ctx); err != nil {
		return fmt.Errorf("reach redis: %w", err)
	}
	waiting := make(map[string]bool, len(channels))
	for _, c := range channels {
		waiting[c] = true
	}
	parts := slices.Collect(slices.Chunk(channels, 512))
	for {
		// An event may come in place of a confirmation.
		msg, err := p.pubsub.ReceiveTimeout(ctx, silence)
		if err != nil {
			return fmt.Errorf("wait for subscriptions: %w", err)
		}
		if s, ok := msg.(*redis.Subscription); ok {
			delete(waiting, s.Channel)
		}
		if len(parts) > 0 {
			if err := l.client.subscribe(ctx, p.pubsub, parts[0]...); err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
			parts = parts[1:]
		}
		if len(waiting) == 0 {
			return nil
		}
	}
}

// part returns the connection on which a channel's events come.
func (l *link) part(ctx context.Context, channel string) (*part, error) {
	address, err := l.client.masterOf(ctx, channel)
	if err != nil {
		return nil, err
	}
	if p := l.parts[address]; p != nil {
		return p, nil
	}
	l.end(errElsewhere)
	return nil, errElsewhere
}

func (l *link) subscribe(ctx context.Context, channel string) error {
	p, err := l.part(ctx, channel)
	if err != nil {
		return err
	}
	return l.client.subscribe(ctx, p.pubsub, channel)
}

func (l *link) unsubscribe(ctx context.Context, channel string) error {
	p, err := l.part(ctx, channel)
	if err != nil {
		return nil // the next link will not have it
	}
	l.mu.Lock()
	l.leaving[channel]++
	l.mu.Unlock()
	return l.client.unsubscribe(ctx, p.pubsub, channel)
}

// await returns a function that waits until Redis has confirmed a
// subscription that is made after this call.
func (l *link) await(channel string) func(context.Context) error {
	done := make(chan error, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
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

// confirm notes what Redis says of a subscription. One that Redis ends by
// itself is another server's now.
func (l *link) confirm(s *redis.Subscription) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s.Kind {
	case "subscribe", "ssubscribe":
		for _, done := range l.waiting[s.Channel] {
			done <- nil
		}
		delete(l.waiting, s.Channel)
	case "unsubscribe", "sunsubscribe":
		if l.leaving[s.Channel] == 0 {
			return errElsewhere
		}
		if l.leaving[s.Channel]--; l.leaving[s.Channel] == 0 {
			delete(l.leaving, s.Channel)
		}
	}
	return nil
}

// end gives the link up, for the first reason that is given.
func (l *link) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return
	}
	l.ended = why
	for _, list := range l.waiting {
		for _, done := range list {
			done <- errBroken
		}
	}
	l.waiting = nil
	for _, p := range l.parts {
		_ = p.pubsub.Close() // it is given up
	}
}

// why returns why the link was given up.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// Each connection is asked for a sign of life pingEvery; after silence, in
// which it was asked each time, the link is given up. A node that was paused
// has not asked: what Redis has sent meanwhile is there to be read.
const (
	pingEvery = time.Second
	silence   = 3 * time.Second
)

// receive passes on what comes, by a goroutine per connection, until ctx ends
// or the link breaks, and returns why.
func (l *link) receive(ctx context.Context, take func(any) error) error {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	for _, p := range l.parts {
		wg.Go(func() {
			l.end(l.receivePart(ctx, p, take))
			cancel()
		})
		wg.Go(func() { l.watch(ctx, p) })
	}
	wg.Wait()
	cancel()
	return l.why()
}

func (l *link) receivePart(ctx context.Context, p *part, take func(any) error) error {
	for {
		msg, err := p.pubsub.Receive(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		p.asked.Store(0)
		if pong, is := msg.(*redis.Pong); is {
			p.heard(pong.Payload)
			continue
		}
		if err := take(msg); err != nil {
			return err
		}
	}
}

// watch asks for signs of life, and ends a link that gives none.
func (l *link) watch(ctx context.Context, p *part) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			l.end(ctx.Err()) // ends the wait for the next event
			return
		}
		if p.asked.Add(1) > int32(silence/pingEvery) {
			l.end(errBroken)
			return
		}
		_ = p.pubsub.Ping(ctx, p.question(ctx)) // without an answer, silence is seen
	}
}

// question is what a part is asked with: the time at which what it is still to
// receive was published. It comes back behind all that.
func (p *part) question(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, pingEvery/2)
	defer cancel()
	return strconv.FormatUint(p.look(ctx), 10)
}

// heard takes the answer.
func (p *part) heard(question string) {
	if ms, err := strconv.ParseUint(question, 10, 64); err == nil && ms > 0 {
		p.whole.Store(ms)
	}
}

// look returns the server's time, 0 if it cannot be had.
func (p *part) look(ctx context.Context) uint64 {
	t, err := p.master.Time(ctx).Result()
	if err != nil {
		return 0
	}
	ms := uint64(max(t.UnixMilli(), 0))
	p.clock.Store(&clock{ms, time.Now()})
	return ms
}

// whole returns until when everything that was published was received.
func (l *link) whole() uint64 {
	whole := uint64(math.MaxUint64)
	for _, p := range l.parts {
		whole = min(whole, p.whole.Load())
	}
	return whole
}

// now returns Redis's time, or one shortly before it.
func (l *link) now() uint64 {
	now := uint64(math.MaxUint64)
	for _, p := range l.parts {
		c := p.clock.Load()
		now = min(now, c.ms+uint64(time.Since(c.at).Milliseconds()))
	}
	return now
}
