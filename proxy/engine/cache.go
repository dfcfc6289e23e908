package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// cache is what a cache channel keeps, as far as this node knows: while it
// follows the channel, it sees every change; else Broker is asked.
//
// Guarded by rare.mu.
type cache struct {
	event   *proxy.Event // nil: nothing
	until   time.Time    // its end
	follows bool         // event is the truth
	// ahead: event was an answer of Broker, and is, with those before it, on
	// its way here still or never comes. Everybody on the channel has it.
	ahead bool
}

// fresh returns the kept event unless it is too old.
func (c *cache) fresh(now time.Time) *proxy.Event {
	if c.event == nil || !now.Before(c.until) {
		return nil
	}
	return c.event
}

// kept returns the same with the life that is left to it.
func (c *cache) kept(now time.Time) proxy.Kept {
	if ev := c.fresh(now); ev != nil {
		return proxy.Kept{Event: ev, Left: c.until.Sub(now)}
	}
	return proxy.Kept{}
}

// later reports whether k comes after what the node has of the channel.
func (c *cache) later(k proxy.Kept) bool {
	return k.Event != nil && (c.event == nil || k.Event.ID != c.event.ID && k.Event.Order > c.event.Order)
}

// overtake puts an answer of Broker in the place of what came by itself.
func (c *cache) overtake(k proxy.Kept) {
	if c.later(k) {
		c.event, c.until, c.ahead = k.Event, time.Now().Add(k.Left), true
	}
}

// deliverKept keeps an event for newcomers and fans it out in one step, so
// that each subscriber gets it either way, and only one way.
func (e *Engine) deliverKept(ch *channel, ev *proxy.Event) {
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	c := &ch.rare.cache
	if c.ahead && ev.Order != 0 && ev.Order <= c.event.Order {
		return
	}
	c.event, c.until, c.ahead = ev, time.Now().Add(proxy.CacheFor), false
	e.fanOut(ch, ev)
}

// followCache begins to keep what a cache channel keeps. It is called when Broker
// has begun to send the channel's events, and nobody is subscribed here.
func (e *Engine) followCache(ch *channel) *protocol.Error {
	kept, err := e.broker.Last(context.Background(), ch.topic(), proxy.Kept{})
	if err != nil {
		e.failed(err, ch.topic(), "see what a cache channel keeps")
		return protocol.ErrUnavailable
	}
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	ch.rare.cache.overtake(kept)
	ch.rare.cache.follows = true
	return nil
}

// forgetCache ends that: from now on events pass this node by.
func (ch *channel) forgetCache() {
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	ch.rare.cache = cache{}
}

// lastKept returns what a cache channel keeps, followed here or not.
func (e *Engine) lastKept(ctx context.Context, t proxy.Topic) (proxy.Kept, error) {
	if ch := e.tenant(t.App).find(t.Channel); ch != nil {
		ch.rare.mu.Lock()
		kept, follows := ch.rare.cache.kept(time.Now()), ch.rare.cache.follows
		ch.rare.mu.Unlock()
		if follows {
			return kept, nil
		}
	}
	kept, err := e.broker.Last(ctx, t, proxy.Kept{})
	if err != nil {
		e.backendErrors.Add(1)
		return kept, fmt.Errorf("engine: what %s keeps: %w", t, err)
	}
	return kept, nil
}

// missed is what a cache channel keeps that this node may not have been sent.
type missed struct {
	channel *channel // held
	kept    proxy.Kept
}

// late is how long an event may be on its way. What has not come by then was
// sent while this node could not be reached.
const late = time.Second

// resyncCaches tells Broker what it has lost of cache channels, and their
// subscribers here what this node was not sent. It reports whether Broker
// could be asked about all of them; if not, it has paused for a while.
func (e *Engine) resyncCaches(ctx context.Context) (done bool) {
	var list []missed
	done = true
	e.eachChannel(func(ch *channel) {
		if !done || !ch.name.Cached() || ch.group.Len() == 0 {
			return
		}
		m, err := e.askMissed(ctx, ch)
		if err != nil {
			e.failed(err, ch.topic(), "see what a cache channel keeps")
			done = false
		} else if m.kept.Event != nil {
			list = append(list, m)
		}
	})
	if done && len(list) == 0 {
		return true
	}
	select {
	case <-time.After(late):
	case <-ctx.Done():
	}
	for _, m := range list {
		e.makeUp(m)
	}
	return done
}

// askMissed returns nothing if nothing was missed.
func (e *Engine) askMissed(ctx context.Context, ch *channel) (missed, error) {
	ch = ch.tenant.acquire(ch.name)
	ch.rare.mu.Lock()
	have := ch.rare.cache.kept(time.Now())
	ch.rare.mu.Unlock()
	kept, err := e.broker.Last(ctx, ch.topic(), have)
	if err != nil || kept.Event == nil || have.Event != nil && kept.Event.ID == have.Event.ID {
		ch.release()
		return missed{}, err
	}
	return missed{ch, kept}, nil
}

func (e *Engine) makeUp(m missed) {
	ch := m.channel
	defer ch.release()
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	if c := &ch.rare.cache; c.follows && c.later(m.kept) {
		c.overtake(m.kept)
		e.fanOut(ch, m.kept.Event)
	}
}
