package host

import (
	"slices"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	// patience is how long an event is left to the channel's owner before this
	// node asks to be the owner.
	patience = time.Second
	// arrival is how long what the last owner has published may be on its way.
	arrival = 500 * time.Millisecond
	// leftFor is how long an event is left to the owner at most: longer than a
	// dead node is taken to live.
	leftFor = 30 * time.Second
	// seenFor is how long an event that another node has published is awaited
	// from the backend.
	seenFor = 5 * time.Second
	// claimedFor is how long a claim is relied on without asking again.
	claimedFor = 5 * time.Minute
	// custodyLook is how often what waits is looked at.
	custodyLook = 250 * time.Millisecond
	// maxLeft bounds, for each backend, the events that are left to owners, and
	// those that owners have published first.
	maxLeft = 16384
)

// custody has each event of a backend published by one node, where several
// observe its channel. The first that sees an event on the channel becomes its
// owner and publishes; the others keep what they see until the owner's arrives
// here, and go on from what is left when they become the owner. Events are known
// by what they contain, and counted, so that a change of owner neither loses nor
// repeats any; docs/translators.md names the exceptions.
type custody struct {
	prints prints

	mu       sync.Mutex
	channels map[protocol.ChannelName]*ward
	left     int // in all of them
	seen     int
}

// ward is a channel with subscribers on this node, or that it still owns.
type ward struct {
	here    int       // subscriptions on this node
	term    string    // in which it was claimed; empty: it was not
	claimed time.Time // when
	from    time.Time // when to begin publishing
	asked   time.Time // when it was claimed last, with whatever answer
	left    []leftEvent
	seen    []seenEvent
}

// leftEvent is an event that the backend delivered and that was not published
// yet as far as is known here.
type leftEvent struct {
	event *proxy.Event
	sum   uint64
	at    time.Time
}

// seenEvent is one that another node has published and that the backend has
// not delivered here yet.
type seenEvent struct {
	sum uint64
	at  time.Time
}

func newCustody() *custody {
	return &custody{prints: newPrints(), channels: map[protocol.ChannelName]*ward{}}
}

// count notes a subscription that came or went, and returns how many this
// node has on the channel.
func (c *custody) count(name protocol.ChannelName, change int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.channels[name]
	if w == nil {
		if change < 0 {
			return 0
		}
		w = &ward{}
		c.channels[name] = w
	}
	w.here = max(w.here+change, 0)
	if w.here == 0 && w.term == "" { // what others publish is not heard of any more
		c.remove(name, w)
	}
	return w.here
}

// remove is called with mu held.
func (c *custody) remove(name protocol.ChannelName, w *ward) {
	c.left -= len(w.left)
	c.seen -= len(w.seen)
	delete(c.channels, name)
}

// here reports whether a channel has subscribers on this node.
func (c *custody) here(name protocol.ChannelName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.channels[name]
	return w != nil && w.here > 0
}

// arrive takes an event that the backend delivered. It returns why it is
// withheld; empty: it is not.
func (c *custody) arrive(ev *proxy.Event, now time.Time) (why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.channels[ev.Topic.Channel]
	if w == nil { // an owner goes on without subscribers until it lets go: till then nobody else does
		return withheldChannel
	}
	sum := c.prints.of(ev.Topic.Channel, ev.Name, ev.Data)
	c.expire(w, now)
	if at := slices.IndexFunc(w.seen, func(s seenEvent) bool { return s.sum == sum }); at >= 0 {
		w.seen = slices.Delete(w.seen, at, at+1)
		c.seen--
		return withheldNode
	}
	if c.left >= maxLeft {
		return withheldOverflow
	}
	w.left = append(w.left, leftEvent{ev, sum, now})
	c.left++
	return ""
}

// published notes an event of the backend's that another node has published.
// It reports whether it was left to that.
func (c *custody) published(ev *proxy.Event, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.channels[ev.Topic.Channel]
	if w == nil || w.here == 0 {
		return false
	}
	sum := c.prints.of(ev.Topic.Channel, ev.Name, ev.Data)
	if at := slices.IndexFunc(w.left, func(l leftEvent) bool { return l.sum == sum }); at >= 0 {
		w.left = slices.Delete(w.left, at, at+1)
		c.left--
		return true
	}
	if c.expire(w, now); c.seen < maxLeft {
		w.seen = append(w.seen, seenEvent{sum, now})
		c.seen++
	}
	return false
}

// expire forgets what is not awaited any more. Called with mu held.
func (c *custody) expire(w *ward, now time.Time) {
	n := 0
	for n < len(w.seen) && now.Sub(w.seen[n].at) > seenFor {
		n++
	}
	w.seen = slices.Delete(w.seen, 0, n)
	c.seen -= n
}

// next returns the next event of a channel that this node is to publish, or
// nil. term is the present one.
func (c *custody) next(name protocol.ChannelName, term string, now time.Time) *proxy.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.channels[name]
	if w == nil || len(w.left) == 0 || !w.owned(term, now) || now.Before(w.from) {
		return nil
	}
	ev := w.left[0].event
	w.left = slices.Delete(w.left, 0, 1)
	c.left--
	return ev
}

func (w *ward) owned(term string, now time.Time) bool {
	return term != "" && w.term == term && now.Sub(w.claimed) < claimedFor
}

// asks reports whether this node should ask now to be a channel's owner: at
// its first event, and later when one was left to the owner in vain. Only then
// does it ask to inherit: who has waited longest has all that was left.
func (c *custody) asks(name protocol.ChannelName, term string, now time.Time) (ask, inherit bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.channels[name]
	if w == nil || len(w.left) == 0 || w.owned(term, now) {
		return false, false
	}
	first := w.asked.IsZero() || w.term != "" // its own claim is void or old
	inherit = now.Sub(w.left[0].at) >= patience
	if !first && (!inherit || now.Sub(w.asked) < patience) {
		return false, false
	}
	w.asked = now
	return true, inherit
}

// answer notes what came of asking in a term.
func (c *custody) answer(name protocol.ChannelName, claim proxy.Claim, term string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.channels[name]
	if w == nil {
		w = &ward{} // it has just lost its subscribers: to be released
		c.channels[name] = w
	}
	w.term, w.claimed, w.from = "", now, now
	switch claim {
	case proxy.ClaimRefused:
		if w.here == 0 {
			c.remove(name, w)
		}
		return
	case proxy.ClaimInherited:
		w.from = now.Add(arrival)
	}
	w.term = term
}

// review returns the channels with events that are left, and the ones that
// this node owns without having subscribers or, as observed says, without
// seeing what the backend delivers. It drops what was left to an owner for
// too long, and says how many that were.
func (c *custody) review(observed func(protocol.ChannelName) bool, now time.Time) (left, release []protocol.ChannelName, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, w := range c.channels {
		c.expire(w, now)
		n := 0
		for n < len(w.left) && now.Sub(w.left[n].at) > leftFor {
			n++
		}
		w.left = slices.Delete(w.left, 0, n)
		c.left -= n
		dropped += n
		if w.term != "" && (w.here == 0 || !observed(name)) {
			release = append(release, name)
		} else if len(w.left) > 0 {
			left = append(left, name)
		}
	}
	return left, release, dropped
}

// released forgets a claim.
func (c *custody) released(name protocol.ChannelName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.channels[name]
	switch {
	case w == nil:
	case w.here == 0:
		c.remove(name, w)
	default:
		w.term = ""
	}
}
