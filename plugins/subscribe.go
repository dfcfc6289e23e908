package plugins

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

const (
	// subscribers is how many channels are being subscribed at a time.
	subscribers = 16
	// subscribePatience bounds one call of Subscriber.Subscribe.
	subscribePatience = 10 * time.Second
)

// Subscribe implements wire.BackendServer.
func (s *server) Subscribe(stream grpc.BidiStreamingServer[wire.SubscribeControl, wire.InboundBatch]) error {
	subscriber, err := find[translators.Subscriber](s, AbilitySubscribe)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	box := newOutbox()
	s.box.Store(box)
	sent := make(chan error, 1)
	go func() {
		defer cancel()
		sent <- box.send(ctx, stream.Send)
	}()
	watch := newWatchers(ctx, subscriber, box)
	received := make(chan error, 1)
	go func() {
		defer cancel()
		received <- control(ctx, stream, watch, box)
	}()
	<-ctx.Done()
	watch.stop()
	if err := <-sent; err != nil && stream.Context().Err() == nil {
		return err
	}
	select {
	case err := <-received:
		return err
	default: // Recv ends with the stream, after this returns
		return stream.Context().Err()
	}
}

// control does what the gateway asks until the stream ends.
func control(
	ctx context.Context, stream grpc.BidiStreamingServer[wire.SubscribeControl, wire.InboundBatch], watch *watchers, box *outbox,
) error {
	for {
		c, err := stream.Recv()
		if err != nil {
			return ended(err)
		}
		switch op := c.GetOp().(type) {
		case *wire.SubscribeControl_Add:
			watch.change(ctx, op.Add.GetChannels(), true)
		case *wire.SubscribeControl_Drop:
			watch.change(ctx, op.Drop.GetChannels(), false)
		case *wire.SubscribeControl_Credit:
			box.grant(int(op.Credit.GetItems()))
		}
	}
}

// change asks for a channel to be observed, or no longer.
type change struct {
	channel protocol.ChannelName
	want    bool
}

// watchers hold a session's subscriptions. Changes of one channel are done
// one after the other, of different channels at the same time.
type watchers struct {
	subscriber translators.Subscriber
	box        *outbox
	seed       maphash.Seed
	workers    [subscribers]chan change
	wg         sync.WaitGroup
}

func newWatchers(ctx context.Context, s translators.Subscriber, box *outbox) *watchers {
	w := &watchers{subscriber: s, box: box, seed: maphash.MakeSeed()}
	for i := range w.workers {
		w.workers[i] = make(chan change, 256)
		w.wg.Go(func() { w.work(ctx, w.workers[i]) })
	}
	return w
}

// stop waits for the workers, which have ended every subscription by then.
func (w *watchers) stop() { w.wg.Wait() }

// change blocks while too many changes are waiting: the gateway then waits too.
func (w *watchers) change(ctx context.Context, channels []string, want bool) {
	for _, name := range channels {
		worker := w.workers[maphash.String(w.seed, name)%subscribers]
		select {
		case worker <- change{channel: protocol.ChannelName(name), want: want}:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watchers) work(ctx context.Context, changes <-chan change) {
	watched := map[protocol.ChannelName]*observer{}
	defer func() {
		for _, o := range watched {
			o.end()
		}
	}()
	for {
		select {
		case c := <-changes:
			o := watched[c.channel]
			if o != nil && (!c.want || o.failed.Load()) {
				o.end()
				delete(watched, c.channel)
				o = nil
			}
			if c.want && o == nil {
				if o = w.subscribe(ctx, c.channel); o != nil {
					watched[c.channel] = o
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// subscribe returns nil when the channel cannot be observed, which it has
// told the gateway.
func (w *watchers) subscribe(ctx context.Context, channel protocol.ChannelName) *observer {
	ctx, cancel := context.WithTimeout(ctx, subscribePatience)
	defer cancel()
	o := &observer{channel: channel, box: w.box}
	stop, err := w.subscriber.Subscribe(ctx, channel, o)
	if err != nil {
		o.State(translators.ChannelState{State: translators.StateError, Detail: err.Error()})
		return nil
	}
	o.stop = stop
	o.attached()
	return o
}

// observer puts what is seen on one channel into the outbox.
type observer struct {
	channel protocol.ChannelName
	box     *outbox
	stop    func()
	over    atomic.Bool // it was ended: what is shown still is ignored
	failed  atomic.Bool // the translator gave it up: asked again, it starts anew

	mu   sync.Mutex
	told bool // the translator has said itself whether the channel is observed
}

func (o *observer) end() {
	o.over.Store(true)
	o.stop()
}

// Deliver implements translators.Observer.
func (o *observer) Deliver(e translators.Envelope) {
	if o.over.Load() {
		return
	}
	e.Channel = o.channel
	o.box.put(o.channel, notice{item: wire.FromEnvelope(e)})
}

// State implements translators.Observer.
func (o *observer) State(s translators.ChannelState) {
	if o.over.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch s.State {
	case translators.StateError:
		o.failed.Store(true)
		o.told = true
	case translators.StateAttached, translators.StateDetached:
		o.told = true
	}
	o.tell(s)
}

// attached says that the channel is observed, now that Subscribe has returned,
// unless the translator has said meanwhile how it is.
func (o *observer) attached() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.told {
		o.tell(translators.ChannelState{State: translators.StateAttached})
	}
}

func (o *observer) tell(s translators.ChannelState) {
	o.box.put(o.channel, notice{state: wire.FromState(o.channel, s)})
}
