package upstream

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	// echoFor is how long an echo is waited for.
	echoFor = 10 * time.Second
	// lateEcho is how long after its answer the vendor may still deliver an
	// event to somebody who subscribes then.
	lateEcho = time.Second
)

// echoes are events that the tap will be given though they are ours. They are
// counted: of two equal events, one of them ours, one is let through.
type echoes struct {
	seed    maphash.Seed
	waiting []echo // oldest first
}

type echo struct {
	sum   uint64
	until time.Time
}

func (e *echoes) sum(channel protocol.ChannelName, name string, data []byte) uint64 {
	if e.seed == (maphash.Seed{}) {
		e.seed = maphash.MakeSeed()
	}
	return fingerprint(e.seed, channel, name, data)
}

// fingerprint returns a number that equal events share.
func fingerprint(seed maphash.Seed, channel protocol.ChannelName, name string, data []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(string(channel)) // a hash takes everything
	_ = h.WriteByte(0)
	_, _ = h.WriteString(name)
	_ = h.WriteByte(0)
	_, _ = h.Write(data)
	return h.Sum64()
}

// expect notes that an event will come back.
func (e *echoes) expect(ev *proxy.Event, now time.Time) {
	e.forget(now)
	e.waiting = append(e.waiting, echo{e.sum(ev.Topic.Channel, ev.Name, ev.Data), now.Add(echoFor)})
}

// doubt notes that an event that is expected has hardly a way to come back.
func (e *echoes) doubt(ev *proxy.Event, now time.Time) {
	sum := e.sum(ev.Topic.Channel, ev.Name, ev.Data)
	for i := len(e.waiting) - 1; i >= 0; i-- {
		if e.waiting[i].sum == sum && e.waiting[i].until.After(now.Add(lateEcho)) {
			e.waiting[i].until = now.Add(lateEcho)
			return
		}
	}
}

// take reports whether an event is an echo, once for each that is expected.
func (e *echoes) take(channel protocol.ChannelName, name string, data []byte, now time.Time) bool {
	e.forget(now)
	if len(e.waiting) == 0 {
		return false
	}
	sum := e.sum(channel, name, data)
	for i := range e.waiting {
		if e.waiting[i].sum == sum {
			e.waiting = append(e.waiting[:i], e.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (e *echoes) forget(now time.Time) {
	e.waiting = slices.DeleteFunc(e.waiting, func(w echo) bool { return now.After(w.until) })
}
