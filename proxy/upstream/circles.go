package upstream

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// A circle that leaves no mark is known by what it does. That equal events
// pass again and again says nothing: somebody may publish them. But what goes
// in a circle comes back because it was let pass, and only then. So a channel
// on which one and the same event has passed often is tried: its events are
// held for a moment. Somebody who publishes goes on meanwhile, and the channel
// is acquitted. Where nothing comes while all is held, one event is let pass,
// to see whether it comes back at once; then nothing must come for a while
// that nobody can foresee, and so on for some rounds. Whoever publishes for
// himself does not keep to that.
//
// What is held is passed on in its order when the trial ends without a circle:
// a trial costs those who publish a delay, and nothing else.
const (
	tallyWindow = 10 * time.Second
	maxTallied  = 1 << 16
	// suspectAfter is how many equal events of one channel in two windows make
	// it suspect. Gateways of one circle are not to begin at the same time, so
	// each adds up to as many of its own.
	suspectAfter = 100
	// acquittedFor is up to how many times more of them make it suspect again.
	acquittedFor = 5

	// roundWithin is how long a round of a circle may take to be known for one.
	roundWithin = 500 * time.Millisecond
	// quietFirst and quietFrom to quietTo are how long nothing comes in a
	// circle where all is held.
	quietFirst = 500 * time.Millisecond
	quietFrom  = time.Second
	quietTo    = 3 * time.Second
	// convictAfter is how many rounds are a circle. One who ticks slowly, and
	// by chance as a circle would, has one chance in four to do so in each.
	convictAfter = 10

	maxTrials = 16   // channels at a time
	maxHeld   = 4096 // events of a channel; more than that is no circle
)

// crossing is an event on its way over the bridge.
type crossing struct {
	way     direction
	channel protocol.ChannelName
	name    string
	data    []byte
	event   *proxy.Event // of those on their way up
	user    string       // who said it, of those on their way down
}

// circles finds the channels of a bridge whose events go in a circle.
type circles struct {
	// Set at construction.
	pass    func(context.Context, crossing) // lets a held event pass
	drop    func(crossing)                  // gives it up
	convict func(channel protocol.ChannelName, why string)
	wake    chan struct{} // trials have changed

	mu     sync.Mutex
	seed   maphash.Seed
	limit  int               // equal events that are not suspect
	tally  map[uint64]passed // equal events in this window
	before map[uint64]passed // in the last one
	until  time.Time         // when this window ends
	trials map[protocol.ChannelName]*trial
}

// passed says how often an event has passed.
type passed struct {
	times int
	limit int // that it was given when it was acquitted; 0: it was not yet
}

func newCircles(pass func(context.Context, crossing), drop func(crossing), convict func(protocol.ChannelName, string)) *circles {
	return &circles{
		pass: pass, drop: drop, convict: convict, wake: make(chan struct{}, 1),
		seed: maphash.MakeSeed(), limit: suspectAfter + rand.IntN(suspectAfter), trials: make(map[protocol.ChannelName]*trial),
		tally: make(map[uint64]passed),
	}
}

// holds counts an event that is about to pass, and reports whether it is held
// for now, as its channel is tried.
func (c *circles) holds(x crossing, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := fingerprint(c.seed, x.channel, x.name, x.data)
	t := c.trials[x.channel]
	if t == nil && c.suspects(sum, now) && len(c.trials) < maxTrials {
		t = &trial{sum: sum, step: emptying, due: now.Add(roundWithin)}
		c.trials[x.channel] = t
	}
	if t == nil {
		return false
	}
	t.held = append(t.held, heldCrossing{x, sum})
	if sum == t.sum {
		t.came()
	}
	if len(t.held) >= maxHeld {
		t.step = acquitted
	}
	c.nudge()
	return true
}

func (c *circles) nudge() {
	select {
	case c.wake <- struct{}{}:
	default: // it is about to look
	}
}

// suspects counts an event.
func (c *circles) suspects(sum uint64, now time.Time) bool {
	if !now.Before(c.until) {
		c.before, c.tally = c.tally, make(map[uint64]passed)
		if now.Sub(c.until) > tallyWindow {
			c.before = nil
		}
		c.until = now.Add(tallyWindow)
	}
	p, known := c.tally[sum]
	if !known && len(c.tally) >= maxTallied {
		return false
	}
	last := c.before[sum]
	p.times++
	p.limit = max(p.limit, last.limit)
	c.tally[sum] = p
	return p.times+last.times > max(c.limit, p.limit)
}

// trial is a channel that is tried.
type trial struct {
	sum    uint64 // of the event that passes so often
	step   step
	due    time.Time // when the step ends
	back   bool      // the one that was let pass has come back
	rounds int
	held   []heldCrossing
}

type heldCrossing struct {
	crossing
	sum uint64
}

// step is how far a trial is.
type step int

const (
	emptying  step = iota // what is on its way may still come
	quiet                 // nothing may come
	asking                // one was let pass, and is to come back
	acquitted             // what is held is to pass
	convicted             // what is held is to be dropped
)

// came notes that the event has come.
func (t *trial) came() {
	switch t.step {
	case quiet:
		t.step = acquitted
	case asking:
		t.back = true
	}
}

// next takes the step that is due, and reports whether one is to pass.
func (t *trial) next(now time.Time) (ask bool) {
	switch t.step {
	case emptying:
		t.step, t.due = quiet, now.Add(quietFirst)
	case quiet:
		t.step, t.due, t.back = asking, now.Add(roundWithin), false
		return true
	case asking:
		t.step, t.due = quiet, now.Add(quietFrom+rand.N(quietTo-quietFrom))
		if t.rounds++; !t.back {
			t.step = acquitted
		} else if t.rounds == convictAfter {
			t.step = convicted
		}
	}
	return false
}

// take removes the events that are to pass: all, or those up to the first that
// is the event itself.
func (t *trial) take(all bool) (passing []heldCrossing) {
	n := len(t.held)
	if !all {
		for i, h := range t.held {
			if h.sum == t.sum {
				n = i + 1
				break
			}
		}
	}
	passing, t.held = t.held[:n:n], t.held[n:]
	return passing
}

// run conducts the trials. When ctx ends, what is held passes.
func (c *circles) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(c.work(ctx))
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
			c.work(ctx)
			return
		}
	}
}

// work takes every trial as far as it can be, and returns how long nothing
// more is due.
func (c *circles) work(ctx context.Context) time.Duration {
	wait := time.Minute
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel, t := range c.trials {
		now, ask := time.Now(), false
		if ctx.Err() != nil {
			t.step = acquitted
		}
		if t.step < acquitted && !now.Before(t.due) {
			ask = t.next(now)
		}
		switch t.step {
		case acquitted:
			c.free(ctx, channel, t)
		case convicted:
			c.condemn(channel, t)
		default:
			if ask {
				c.let(ctx, t.take(false))
			}
			wait = min(wait, time.Until(t.due))
		}
	}
	return max(wait, 0)
}

// let lets events pass. It is called with mu held, and gives it up meanwhile:
// what comes then is held behind them.
func (c *circles) let(ctx context.Context, events []heldCrossing) {
	c.mu.Unlock()
	defer c.mu.Lock()
	for _, h := range events {
		c.pass(context.WithoutCancel(ctx), h.crossing)
	}
}

// free ends a trial without a circle.
func (c *circles) free(ctx context.Context, channel protocol.ChannelName, t *trial) {
	for len(t.held) > 0 {
		c.let(ctx, t.take(true))
	}
	p := c.tally[t.sum]
	p.limit = int(float64(max(p.times+c.before[t.sum].times, c.limit)) * (2 + rand.Float64()*(acquittedFor-2)))
	c.tally[t.sum] = p
	delete(c.trials, channel)
}

// condemn ends a trial that has found a circle.
func (c *circles) condemn(channel protocol.ChannelName, t *trial) {
	delete(c.trials, channel)
	delete(c.tally, t.sum)
	delete(c.before, t.sum)
	c.mu.Unlock()
	defer c.mu.Lock()
	c.convict(channel, fmt.Sprintf("one and the same event came back %d times when it had passed, and never before", t.rounds))
	for _, h := range t.held {
		c.drop(h.crossing)
	}
}
