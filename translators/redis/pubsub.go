package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// pubsub is a session in pubsub mode.
type pubsub struct {
	*session
	current *redis.PubSub // guarded by mu; nil while there is no connection
	wake    chan struct{} // one token: there is something to watch
}

func newPubSub(s *session) *pubsub {
	p := &pubsub{session: s, wake: make(chan struct{}, 1)}
	s.wg.Go(p.read)
	return p
}

// Publish implements translators.Session.
func (p *pubsub) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	return p.each(ctx, batch, func(pipe redis.Pipeliner, e translators.Envelope) func() (translators.Result, error) {
		raw, err := translators.EncodeMessage(e)
		if err != nil {
			return func() (translators.Result, error) { return translators.Refuse(translators.CodeUnsupported, err), nil }
		}
		cmd := pipe.Publish(ctx, p.key(e.Channel), raw)
		return func() (translators.Result, error) { return translators.OK(), cmd.Err() }
	})
}

// Preview implements translators.Previewer.
func (p *pubsub) Preview(e translators.Envelope) (translators.Native, []translators.Loss) {
	raw, err := translators.EncodeMessage(e)
	if err != nil {
		return translators.Native{}, []translators.Loss{{Field: "event", Detail: err.Error()}}
	}
	return translators.Native{Destination: p.key(e.Channel), Body: raw}, nil
}

// Subscribe implements translators.Subscriber.
func (p *pubsub) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	key := p.key(channel)
	w := &watch{observer: o, confirmed: make(chan struct{})}
	p.mu.Lock()
	p.watches[key] = w
	current := p.current
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	if current != nil {
		_ = current.Subscribe(ctx, key) // when it fails the reader connects anew, and subscribes to all
	}
	stop := func() {
		p.mu.Lock()
		delete(p.watches, key)
		current := p.current
		p.mu.Unlock()
		if current != nil {
			ctx, cancel := context.WithTimeout(context.Background(), p.config.Timeout)
			defer cancel()
			_ = current.Unsubscribe(ctx, key)
		}
	}
	select {
	case <-w.confirmed:
		return stop, nil
	case <-ctx.Done():
		stop()
		return nil, fmt.Errorf("subscribe to %s: %w", key, ctx.Err())
	}
}

const (
	// heartbeat is how long the reader waits before it asks whether the server
	// is there, and silence how long it waits for any answer.
	heartbeat  = time.Second
	silence    = 3 * time.Second
	retryAfter = 250 * time.Millisecond
)

var errSilent = errors.New("the server is silent")

// read shows what the server delivers, over one connection after the other,
// until the session ends.
func (p *pubsub) read() {
	for p.ctx.Err() == nil {
		p.mu.Lock()
		keys := slices.Collect(maps.Keys(p.watches))
		if len(keys) > 0 {
			p.current = p.client.Subscribe(p.ctx, keys...)
		}
		current := p.current
		p.mu.Unlock()
		if current == nil {
			select {
			case <-p.wake:
			case <-p.ctx.Done():
			}
			continue
		}
		heard, err := p.receive(current)
		p.mu.Lock()
		p.current = nil
		p.mu.Unlock()
		_ = current.Close()
		if p.ctx.Err() != nil {
			return
		}
		p.detach(heard, err)
		select {
		case <-time.After(retryAfter):
		case <-p.ctx.Done():
		}
	}
}

// receive reads one connection until it fails. It returns when the server was
// last heard of.
func (p *pubsub) receive(from *redis.PubSub) (heard time.Time, err error) {
	heard = time.Now()
	for {
		got, err := from.ReceiveTimeout(p.ctx, heartbeat)
		var timeout net.Error
		switch {
		case err == nil:
			heard = time.Now()
			p.show(got)
		case !errors.As(err, &timeout) || !timeout.Timeout():
			return heard, err
		case time.Since(heard) > silence:
			return heard, errSilent
		default:
			if err := from.Ping(p.ctx); err != nil {
				return heard, err
			}
		}
	}
}

func (p *pubsub) show(got any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m := got.(type) {
	case *redis.Message:
		if w, ok := p.watches[m.Channel]; ok {
			w.observer.Deliver(translators.DecodeMessage([]byte(m.Payload)))
		}
	case *redis.Subscription:
		if w, ok := p.watches[m.Channel]; ok && m.Kind == "subscribe" {
			p.away = nil
			w.attach()
		}
	}
}
