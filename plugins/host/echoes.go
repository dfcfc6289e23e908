package host

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

const (
	// echoFor is how long the echo of an event that the backend has taken is
	// waited for.
	echoFor = 10 * time.Second
	// maxEchoes bounds what is waited for: the oldest is forgotten.
	maxEchoes = 16384
)

// echoes are events that a backend will deliver to the bridge though they came
// from it, where the backend can neither leave them out nor mark them. They
// are known by what they contain, and counted: of two equal events, one of
// them ours, one is let through.
type echoes struct {
	prints prints

	// Guarded by mu.
	mu    sync.Mutex
	bySeq map[uint64]*echo
	bySum map[uint64][]*echo // in the order in which they were handed out
	order []*echo            // likewise, with some that are gone
}

type echo struct {
	seq   uint64 // of the item
	sum   uint64
	until time.Time // zero: the backend has not answered yet
	gone  bool
}

func newEchoes() *echoes {
	return &echoes{prints: newPrints(), bySeq: map[uint64]*echo{}, bySum: map[uint64][]*echo{}}
}

// prints makes fingerprints, which hold within one process.
type prints struct{ seed maphash.Seed }

func newPrints() prints { return prints{maphash.MakeSeed()} }

func (p prints) of(channel protocol.ChannelName, name string, data []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	for _, part := range [...]string{string(channel), name} {
		_, _ = h.WriteString(part) // a hash takes everything
		_ = h.WriteByte(0)
	}
	_, _ = h.Write(data)
	return h.Sum64()
}

// expect notes that items are handed to the backend. One that is handed over
// again, after the plugin died, is still one echo.
func (e *echoes) expect(items []item) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, it := range items {
		if e.bySeq[it.seq] != nil {
			continue
		}
		ev := it.event
		w := &echo{seq: it.seq, sum: e.prints.of(ev.Topic.Channel, ev.Name, ev.Data)}
		e.bySeq[w.seq] = w
		e.bySum[w.sum] = append(e.bySum[w.sum], w)
		e.order = append(e.order, w)
		e.trim()
	}
}

// trim keeps to the bound. Called with mu held.
func (e *echoes) trim() {
	for len(e.bySeq) > maxEchoes {
		e.remove(e.order[0])
		e.order = e.order[1:]
	}
	if len(e.order) > 2*maxEchoes {
		e.order = slices.DeleteFunc(e.order, func(w *echo) bool { return w.gone })
	}
}

// settle notes the backend's answer: the echo of what it refused never comes.
func (e *echoes) settle(seq uint64, accepted bool, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch w := e.bySeq[seq]; {
	case w == nil: // the echo came before the answer
	case accepted:
		w.until = now.Add(echoFor)
	default:
		e.remove(w)
	}
}

// take reports whether an event is an echo, once for each that is expected.
func (e *echoes) take(channel protocol.ChannelName, name string, data []byte, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.order) > 0 && (e.order[0].gone || e.order[0].late(now)) {
		e.remove(e.order[0])
		e.order = e.order[1:]
	}
	if len(e.bySum) == 0 {
		return false
	}
	for _, w := range e.bySum[e.prints.of(channel, name, data)] {
		if !w.late(now) {
			e.remove(w)
			return true
		}
	}
	return false
}

// late reports whether the echo would have come by now.
func (w *echo) late(now time.Time) bool { return !w.until.IsZero() && now.After(w.until) }

// remove is called with mu held.
func (e *echoes) remove(w *echo) {
	if w.gone {
		return
	}
	w.gone = true
	delete(e.bySeq, w.seq)
	left := slices.DeleteFunc(e.bySum[w.sum], func(other *echo) bool { return other == w })
	if len(left) == 0 {
		delete(e.bySum, w.sum)
		return
	}
	e.bySum[w.sum] = left
}
