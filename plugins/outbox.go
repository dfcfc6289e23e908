package plugins

import (
	"context"
	"sync"
	"time"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// maxOutbox bounds what waits for the gateway's credit. What does not fit is
// dropped, and its channel's gap is told.
const maxOutbox = 1 << 16

// highWater is the length of the outbox above which publishes are not
// acknowledged, so that the gateway runs out of credit rather than have its
// own events come back faster than it reads them.
const highWater = maxOutbox / 2

// notice is an event or a change of state: exactly one of its fields is set.
type notice struct {
	item  *wire.Envelope
	state *wire.ChannelState
}

// outbox queues what a session observed until the gateway grants credit.
type outbox struct {
	wake  chan struct{} // one token: something changed
	eased chan struct{} // one token: the outbox was read from

	// Guarded by mu.
	mu      sync.Mutex
	queue   []notice
	granted int
	missed  map[protocol.ChannelName]translators.ChannelState // gaps of what did not fit
}

func newOutbox() *outbox {
	return &outbox{
		wake: make(chan struct{}, 1), eased: make(chan struct{}, 1),
		missed: map[protocol.ChannelName]translators.ChannelState{},
	}
}

func (b *outbox) put(channel protocol.ChannelName, n notice) {
	b.mu.Lock()
	if n.item != nil && len(b.queue) >= maxOutbox {
		b.miss(channel)
	} else {
		b.queue = append(b.queue, n)
	}
	b.mu.Unlock()
	poke(b.wake)
}

// miss is called with mu held.
func (b *outbox) miss(channel protocol.ChannelName) {
	now := time.Now()
	gap, open := b.missed[channel]
	if !open {
		gap = translators.ChannelState{State: translators.StateGap, From: now, Detail: "the plugin's outbox was full"}
	}
	gap.To = now
	b.missed[channel] = gap
}

func (b *outbox) grant(items int) {
	b.mu.Lock()
	b.granted += items
	b.mu.Unlock()
	poke(b.wake)
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// calm waits until the outbox is below its high water.
func (b *outbox) calm(ctx context.Context) {
	for b.length() > highWater {
		select {
		case <-b.eased:
		case <-ctx.Done():
			return
		}
	}
}

func (b *outbox) length() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}

// send hands batches to a stream until ctx or the stream ends.
func (b *outbox) send(ctx context.Context, send func(*wire.InboundBatch) error) error {
	for {
		batch := b.take()
		if batch == nil {
			select {
			case <-b.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if err := send(batch); err != nil {
			return err
		}
	}
}

// take returns the next batch: events as far as credit goes, and then the
// states that follow them. Nil: there is nothing that may be sent.
func (b *outbox) take() *wire.InboundBatch {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tellMissed()
	batch := &wire.InboundBatch{}
	n := 0
	for n < len(b.queue) && b.queue[n].item != nil && len(batch.Items) < maxBatch && b.granted > 0 {
		batch.Items = append(batch.Items, b.queue[n].item)
		b.granted--
		n++
	}
	for n < len(b.queue) && b.queue[n].state != nil {
		batch.States = append(batch.States, b.queue[n].state)
		n++
	}
	if n == 0 {
		return nil
	}
	b.queue = b.queue[n:]
	if len(b.queue) == 0 {
		b.queue = nil
	}
	poke(b.eased)
	return batch
}

// tellMissed queues the gaps once there is room again. Called with mu held.
func (b *outbox) tellMissed() {
	if len(b.missed) == 0 || len(b.queue) > highWater {
		return
	}
	for channel, gap := range b.missed {
		b.queue = append(b.queue, notice{state: wire.FromState(channel, gap)})
		delete(b.missed, channel)
	}
}
