package faulty

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/translators"
)

// holdFor is how long a delivery that is to be reordered waits for the next
// one on its channel. If none comes it is shown, and was not reordered.
const holdFor = 500 * time.Millisecond

// Injector decides which deliveries get which fault, and counts them.
type Injector struct {
	spec Spec

	dropped, duplicated, reordered, corrupted atomic.Uint64

	mu     sync.Mutex
	random *rand.Rand
}

// NewInjector returns an injector of those faults.
func NewInjector(s Spec) *Injector {
	return &Injector{spec: s, random: rand.New(rand.NewPCG(s.Seed, 0x0ff7a3))}
}

// Counters returns how many faults were injected so far.
func (i *Injector) Counters() map[string]uint64 {
	return map[string]uint64{
		"faults_drop":    i.dropped.Load(),
		"faults_dup":     i.duplicated.Load(),
		"faults_reorder": i.reordered.Load(),
		"faults_corrupt": i.corrupted.Load(),
	}
}

type fault uint8

const (
	none fault = iota
	drop
	dup
	reorder
	corrupt
)

// choose draws the fault of one delivery.
func (i *Injector) choose() fault {
	i.mu.Lock()
	r := i.random.Float64()
	i.mu.Unlock()
	for _, f := range []struct {
		share float64
		fault fault
	}{{i.spec.Drop, drop}, {i.spec.Dup, dup}, {i.spec.Reorder, reorder}, {i.spec.Corrupt, corrupt}} {
		if r < f.share {
			return f.fault
		}
		r -= f.share
	}
	return none
}

// Channel returns an observer of one channel that shows o what it is shown,
// with faults.
func (i *Injector) Channel(o translators.Observer) *Channel {
	return &Channel{injector: i, out: o}
}

// Channel injects faults into one channel. It implements
// translators.Observer.
type Channel struct {
	injector *Injector
	out      translators.Observer

	mu      sync.Mutex
	stopped bool
	held    *translators.Envelope // waits to be shown after the next delivery
	holding uint64                // number of the hold, so that a late timer knows that it is over
	late    []step                // what Delay keeps back, in order
}

// step is something to show later.
type step struct {
	due  time.Time
	show func(translators.Observer)
}

// Deliver implements translators.Observer.
func (c *Channel) Deliver(e translators.Envelope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	if c.held != nil {
		// Its follower passes as it is: one fault for a pair is unambiguous.
		c.deliver(e)
		c.letGo(true)
		return
	}
	c.inject(c.injector.choose(), e)
}

// inject is called with mu held.
func (c *Channel) inject(f fault, e translators.Envelope) {
	i := c.injector
	switch {
	case f == drop:
		i.dropped.Add(1)
	case f == dup:
		i.duplicated.Add(1)
		c.deliver(e)
		c.deliver(e)
	case f == reorder:
		c.hold(e)
	case f == corrupt && len(e.Data) > 0:
		i.corrupted.Add(1)
		e.Data = alter(e.Data)
		c.deliver(e)
	default:
		c.deliver(e)
	}
}

// alter returns a copy of data with one byte changed.
func alter(data []byte) []byte {
	changed := bytes.Clone(data)
	changed[len(changed)/2] ^= 1
	return changed
}

// hold is called with mu held.
func (c *Channel) hold(e translators.Envelope) {
	c.held = &e
	c.holding++
	holding := c.holding
	time.AfterFunc(holdFor, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held != nil && c.holding == holding && !c.stopped {
			c.letGo(false)
		}
	})
}

// letGo shows what was held. Called with mu held.
func (c *Channel) letGo(overtaken bool) {
	if overtaken {
		c.injector.reordered.Add(1)
	}
	e := *c.held
	c.held = nil
	c.deliver(e)
}

// deliver is called with mu held.
func (c *Channel) deliver(e translators.Envelope) {
	c.show(func(o translators.Observer) { o.Deliver(e) })
}

// State implements translators.Observer. What is held is shown before a
// change, so that no fault lies across a gap.
func (c *Channel) State(s translators.ChannelState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	if c.held != nil {
		c.letGo(false)
	}
	c.show(func(o translators.Observer) { o.State(s) })
}

// show shows something now, or after the delay. Called with mu held.
func (c *Channel) show(f func(translators.Observer)) {
	delay := c.injector.spec.Delay
	if delay == 0 {
		f(c.out)
		return
	}
	c.late = append(c.late, step{due: time.Now().Add(delay), show: f})
	if len(c.late) == 1 {
		time.AfterFunc(delay, c.catchUp)
	}
}

// catchUp shows what is due.
func (c *Channel) catchUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.late) > 0 && !c.stopped {
		wait := time.Until(c.late[0].due)
		if wait > 0 {
			time.AfterFunc(wait, c.catchUp)
			return
		}
		c.late[0].show(c.out)
		c.late = c.late[1:]
	}
}

// stop ends the channel: nothing is shown any more.
func (c *Channel) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}
