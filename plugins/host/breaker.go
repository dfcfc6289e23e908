package host

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// BreakerPolicy says when a loop breaker opens, and for how long.
type BreakerPolicy struct {
	// Circles is how often the same content may come back to one channel
	// within Window after it was passed on to another backend. Default 100.
	Circles int
	// Strays is how many events may come to one channel within Window that
	// have been through too many gateways. Default 20.
	Strays int
	Window time.Duration // default 10s
	Pause  time.Duration // how long it stays open; default 30s
}

const (
	// maxHops is how many gateways may pass an event on.
	maxHops = 4
	// maxContents bounds the contents that a breaker keeps apart.
	maxContents = 8192
	// maxOpen bounds the channels that are open one by one: with more, all are.
	maxOpen = 1024
)

// breaker ends loops of an app's bridges, which arise where two backends are
// joined by another gateway, too. An event that came in by one bridge is
// passed on to the other backends; where the same content keeps coming back
// after that, it goes in a circle. The breaker then opens for its channel:
// for a while, no bridge of the app brings anything in on it, and what circles
// runs dry.
type breaker struct {
	policy BreakerPolicy
	prints prints
	log    zerolog.Logger

	// Guarded by mu.
	mu       sync.Mutex
	young    contents // since began
	old      contents // of the window before
	began    time.Time
	open     map[protocol.ChannelName]time.Time // until when
	openings uint64
}

// contents counts what passes in a window.
type contents struct {
	onward map[uint64]struct{} // passed on to another backend
	turns  map[uint64]int      // came back after that
	strays map[protocol.ChannelName]int
}

func newContents() contents {
	return contents{map[uint64]struct{}{}, map[uint64]int{}, map[protocol.ChannelName]int{}}
}

func newBreaker(p BreakerPolicy, log zerolog.Logger) *breaker {
	return &breaker{
		policy: p, prints: newPrints(), log: log, young: newContents(), old: newContents(), open: map[protocol.ChannelName]time.Time{},
	}
}

// onward notes that an event that did not enter at this gateway's engine is
// handed to a bridge's backend.
func (b *breaker) onward(ev *proxy.Event, now time.Time) {
	sum := b.prints.of(ev.Topic.Channel, ev.Name, ev.Data)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	b.young.onward[sum] = struct{}{}
}

// arrive notes that a bridge brings an event in, and reports whether it may.
func (b *breaker) arrive(channel protocol.ChannelName, name string, data []byte, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	if b.isOpen(channel, now) {
		return false
	}
	if len(b.young.onward)+len(b.old.onward) == 0 {
		return true
	}
	sum := b.prints.of(channel, name, data)
	if !b.young.has(sum) && !b.old.has(sum) {
		return true
	}
	b.young.turns[sum]++
	if b.young.turns[sum]+b.old.turns[sum] <= b.policy.Circles {
		return true
	}
	b.trip(channel, now, "the same event keeps coming back")
	return false
}

func (c contents) has(sum uint64) bool {
	_, ok := c.onward[sum]
	return ok
}

// stray notes that an event came that has been through too many gateways.
func (b *breaker) stray(channel protocol.ChannelName, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	b.young.strays[channel]++
	if b.young.strays[channel]+b.old.strays[channel] > b.policy.Strays && !b.isOpen(channel, now) {
		b.trip(channel, now, "events keep coming back through other gateways")
	}
}

// turn begins a new window when the present one is over or full. Called with
// mu held.
func (b *breaker) turn(now time.Time) {
	full := len(b.young.onward)+len(b.young.turns)+len(b.young.strays) > maxContents
	switch age := now.Sub(b.began); {
	case age > 2*b.policy.Window:
		b.young, b.old, b.began = newContents(), newContents(), now
	case age > b.policy.Window || full:
		b.young, b.old, b.began = newContents(), b.young, now
	}
}

// trip opens the breaker for a channel. Called with mu held.
func (b *breaker) trip(channel protocol.ChannelName, now time.Time, why string) {
	b.expire(now)
	if len(b.open) >= maxOpen {
		channel = everyChannel
	}
	b.open[channel] = now.Add(b.policy.Pause)
	b.openings++
	b.log.Error().Str("channel", string(channel)).Str("why", why).Dur("pause", b.policy.Pause).
		Msg("loop between gateways: for a while, the bridges bring nothing in on this channel; does another gateway join the same backends?")
}

// everyChannel is where all channels are open: no channel has this name.
const everyChannel protocol.ChannelName = "*"

// isOpen is called with mu held.
func (b *breaker) isOpen(channel protocol.ChannelName, now time.Time) bool {
	return len(b.open) > 0 && (now.Before(b.open[channel]) || now.Before(b.open[everyChannel]))
}

// expire closes what has been open for long enough. Called with mu held.
func (b *breaker) expire(now time.Time) {
	for channel, until := range b.open {
		if !now.Before(until) {
			delete(b.open, channel)
		}
	}
}

// reset closes the breaker and forgets what has passed.
func (b *breaker) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.young, b.old = newContents(), newContents()
	clear(b.open)
}

// state returns the channels that are open, with the time until which they
// are, and how often the breaker has opened.
func (b *breaker) state(now time.Time) (open map[protocol.ChannelName]time.Time, openings uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	open = make(map[protocol.ChannelName]time.Time, len(b.open))
	for channel, until := range b.open {
		open[channel] = until
	}
	return open, b.openings
}
