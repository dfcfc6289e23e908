package host

import (
	"slices"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// channel is what the book knows of one channel.
type channel struct {
	asked    bool      // the plugin was asked to observe it
	denied   bool      // it was not, as it can observe no more
	attached bool      // it is observed
	blind    bool      // it could not be observed in time: its events pass unobserved
	occupied bool      // it has subscribers here
	active   time.Time // last event or subscription
	left     time.Time // when its last subscriber went
	dark     time.Time // since when it is not observed though it should be; zero: it is, or nothing was missed yet
	held     []item    // in order, waiting for the subscription
	retry    time.Time // when to ask again after a refusal
}

// passes reports whether the channel's events go to the plugin now.
func (c *channel) passes() bool { return c.attached || c.blind }

// channelFor is called with mu held.
func (b *book) channelFor(name protocol.ChannelName, now time.Time) *channel {
	c, ok := b.channels[name]
	if !ok {
		c = &channel{blind: !b.observing || b.demand, active: now}
		b.channels[name] = c
		b.ask(name, c)
	}
	c.active = now
	return c
}

// ask has the plugin asked to observe a channel, if it is to. Called with mu
// held.
func (b *book) ask(name protocol.ChannelName, c *channel) {
	switch {
	case !b.observing || b.demand && !c.occupied:
	case b.most > 0 && b.watched >= b.most:
		b.deny(c)
	default:
		b.watched++
		c.asked, c.denied = true, false
		b.toAdd = append(b.toAdd, string(name))
		signal(b.wanted)
	}
}

// deny leaves a channel unobserved, as the plugin can observe no more. It is a
// gap for as long as that lasts, and its events pass. Called with mu held.
func (b *book) deny(c *channel) {
	c.denied, c.attached, c.blind = true, false, true
	if c.dark.IsZero() {
		c.dark = c.active
	}
	b.release(c)
}

// forget notes that the plugin is not asked to observe a channel any more.
// Called with mu held.
func (b *book) forget(c *channel) {
	if c.asked {
		c.asked = false
		b.watched--
	}
}

// limit sets how many channels the plugin can observe; 0: any number. Of those
// that are too many, the ones without subscribers here go first.
func (b *book) limit(channels int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.most = channels
	if channels == 0 || b.watched <= channels {
		return
	}
	coming := make(map[string]bool, len(b.toAdd))
	for _, name := range b.toAdd {
		coming[name] = true
	}
	for _, occupied := range []bool{false, true} {
		for name, c := range b.channels {
			if b.watched <= channels || !c.asked || c.occupied != occupied {
				continue
			}
			if b.forget(c); !coming[string(name)] {
				b.toDrop = append(b.toDrop, string(name))
			}
			delete(coming, string(name))
			b.deny(c)
		}
	}
	b.toAdd = slices.DeleteFunc(b.toAdd, func(name string) bool { return !coming[name] })
	signal(b.wanted)
}

// occupy notes whether a channel has subscribers.
func (b *book) occupy(name protocol.ChannelName, occupied bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.channels[name]
	if !ok && !occupied {
		return
	}
	if !ok {
		c = b.channelFor(name, now)
	}
	if c.occupied && !occupied {
		c.left = now
	}
	c.occupied, c.active = occupied, now
	if b.demand && !c.asked {
		b.ask(name, c)
	}
}

// restrict treats channels that are not taken any more as channels that
// nobody is on: what was accepted of them is still sent.
func (b *book) restrict(takes func(protocol.ChannelName) bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, c := range b.channels {
		if c.occupied && !takes(name) {
			c.occupied, c.left = false, now
		}
	}
}

// wants returns the channels that are to be observed from now on, and those
// that are not any more, since the last call.
func (b *book) wants() (add, drop []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	add, drop = b.toAdd, b.toDrop
	b.toAdd, b.toDrop = nil, nil
	return add, drop
}

// census returns every channel that the plugin was asked to observe, and those
// of them that it does.
func (b *book) census() (all []string, attached []protocol.ChannelName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, c := range b.channels {
		if c.asked {
			all = append(all, string(name))
		}
		if c.attached {
			attached = append(attached, name)
		}
	}
	return all, attached
}

// observed changes a channel's state as the plugin says, and returns the gap
// that this ended or told.
func (b *book) observed(name protocol.ChannelName, s translators.ChannelState, now time.Time) []gap {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.channels[name]
	if !ok {
		return nil
	}
	switch s.State {
	case translators.StateAttached:
		return b.attach(name, c, now)
	case translators.StateDetached:
		if c.attached {
			c.attached, c.blind = false, true
			c.dark = s.From.Add(-slack)
		}
	case translators.StateGap:
		return []gap{{channel: name, from: s.From.Add(-slack), to: s.To, why: s.Detail}}
	case translators.StateError:
		if c.attached && c.dark.IsZero() {
			c.dark = now.Add(-slack)
		}
		b.forget(c)
		c.attached = false
		c.retry = now.Add(time.Second)
	}
	return nil
}

// attach is called with mu held.
func (b *book) attach(name protocol.ChannelName, c *channel, now time.Time) []gap {
	var gaps []gap
	if !c.dark.IsZero() {
		gaps = append(gaps, gap{channel: name, from: c.dark, to: now, why: "the channel was not observed"})
	}
	c.attached, c.blind, c.dark = true, b.demand, time.Time{}
	b.release(c)
	return gaps
}

// tidy forgets a channel that is idle, and asks again for one that was
// refused. Called with mu held.
func (b *book) tidy(name protocol.ChannelName, c *channel, now time.Time, linger time.Duration) {
	switch {
	case b.demand && c.asked && !c.occupied && now.Sub(c.left) > linger:
		b.toDrop = append(b.toDrop, string(name))
		signal(b.wanted)
		b.forget(c)
		c.attached, c.dark = false, time.Time{}
	case !c.occupied && len(c.held) == 0 && now.Sub(c.active) > linger:
		if c.asked {
			b.toDrop = append(b.toDrop, string(name))
			signal(b.wanted)
		}
		b.forget(c)
		delete(b.channels, name)
	case !c.asked && !now.Before(c.retry):
		b.ask(name, c)
	}
}

// asksFor reports whether the plugin was asked to observe a channel.
func (b *book) asksFor(name protocol.ChannelName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.channels[name]
	return c != nil && c.asked
}

// sees reports whether the plugin observes a channel.
func (b *book) sees(name protocol.ChannelName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.channels[name]
	return c != nil && c.attached
}

func (b *book) isObserving() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.observing
}
