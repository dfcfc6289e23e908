package memory

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
)

// ErrStopped is returned by Publish once Run has returned.
var ErrStopped = errors.New("memory broker: not running")

// Broker delivers every event on the caller's goroutine, before Publish
// returns, and keeps what cache channels keep. A node of one needs no interest
// in topics: Subscribe and Unsubscribe do nothing.
type Broker struct {
	seed    maphash.Seed
	lanes   [lanes]lane
	running chan struct{} // closed by Run once deliver is set

	// Set by Run before running is closed.
	deliver func(*proxy.Event)
	stopped <-chan struct{}
}

// lanes is the number of locks that topics are spread over.
const lanes = 64

// lane keeps the events of its topics in order. Padding keeps the locks of
// two lanes out of one cache line.
type lane struct {
	mu    sync.Mutex
	order uint64 // of the last event that was kept
	kept  map[proxy.Topic]kept
	_     [40]byte
}

var _ proxy.Broker = (*Broker)(nil)

// NewBroker returns a broker that delivers once it runs.
func NewBroker() *Broker {
	return &Broker{seed: maphash.MakeSeed(), running: make(chan struct{})}
}

func (b *Broker) lane(t proxy.Topic) *lane {
	return &b.lanes[maphash.String(b.seed, string(t.Channel))%lanes]
}

// Publish implements proxy.Broker. Before Run it waits for it.
func (b *Broker) Publish(ctx context.Context, ev *proxy.Event) error {
	select {
	case <-b.running:
	case <-ctx.Done():
		return fmt.Errorf("publish on %s: %w", ev.Topic, ctx.Err())
	}
	select {
	case <-b.stopped:
		return ErrStopped
	default:
	}
	l := b.lane(ev.Topic)
	l.mu.Lock()
	defer l.mu.Unlock()
	if ev.Keeps() {
		l.keep(ev)
	}
	b.deliver(ev)
	return nil
}

// Subscribe implements proxy.Broker.
func (b *Broker) Subscribe(context.Context, proxy.Topic) error { return nil }

// Unsubscribe implements proxy.Broker.
func (b *Broker) Unsubscribe(context.Context, proxy.Topic) error { return nil }

// Run implements proxy.Broker. It can be called once.
func (b *Broker) Run(ctx context.Context, deliver func(*proxy.Event)) error {
	b.deliver, b.stopped = deliver, ctx.Done()
	close(b.running)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			b.sweep()
		case <-ctx.Done():
			return nil
		}
	}
}
