package redis

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
)

// Broker carries events by pub/sub. A node's own events come back to it like
// everybody's, so that their order is Redis's on every node.
type Broker struct {
	// Set at construction.
	keys     keys
	node     uint64
	client   client
	returned func()
	missed   func(apps []string)
	log      zerolog.Logger
	seed     maphash.Seed

	first    sync.Once
	linked   chan struct{} // closed once there has been a link
	refused  atomic.Uint64 // frames that were not taken from the bus
	replayed atomic.Uint64 // events that came late, from logs
	gaps     atomic.Uint64 // returns to logs that had not all any more

	standing standing

	// A lane's lock is held for reading while an event of its topics is
	// published: who takes it for writing knows that none is on its way.
	lanes [lanes]sync.RWMutex

	mu     sync.Mutex
	link   *link                       // nil: there is none
	topics map[string]*wanted          // by pub/sub channel
	own    map[proxy.EventID]published // by this node, and not back yet
	recent recent
	broke  time.Time // when the last link broke
}

// wanted is a pub/sub channel that this node is subscribed to, or will be.
type wanted struct {
	app, bucket string
	since       uint64 // by Redis's clock, in milliseconds
	confirmed   bool   // by Redis
}

// published is an event that is on its way.
type published struct {
	event *proxy.Event
	// failed: its publisher was told so, but Redis may have it. If it comes
	// back, it is delivered here as everywhere.
	failed bool
}

// maxOwn bounds the events on their way. One that has failed is not waited
// for beyond it.
const maxOwn = 1 << 16

const lanes = 64

var _ proxy.Broker = (*Broker)(nil)

func newBroker(s Settings, client client) *Broker {
	return &Broker{
		keys: keys{s.Prefix}, node: s.Node, client: client, returned: s.Returned, missed: s.Missed, log: s.Log, seed: maphash.MakeSeed(),
		linked: make(chan struct{}), topics: make(map[string]*wanted), own: make(map[proxy.EventID]published),
		standing: standing{last: make(map[string]place)},
	}
}

// Healthy returns ErrAway while events do not travel.
func (b *Broker) Healthy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == nil {
		return fmt.Errorf("bus: %w", ErrAway)
	}
	return nil
}

func (b *Broker) lane(channel string) *sync.RWMutex {
	return &b.lanes[maphash.String(b.seed, channel)%lanes]
}

// Publish implements proxy.Broker: one round trip.
func (b *Broker) Publish(ctx context.Context, ev *proxy.Event) error {
	head := appendHead(make([]byte, 0, 256), ev)
	if len(head)+len(ev.Data) > maxFrame-maxOrder-maxPlace {
		return ErrTooLong
	}
	if err := b.publish(ctx, ev, head); err != nil {
		return fmt.Errorf("redis: publish on %s: %w", ev.Topic, err)
	}
	return nil
}

// publish sends an event that this node has no subscription to to the node's
// own channel as well, in the same step.
func (b *Broker) publish(ctx context.Context, ev *proxy.Event, head []byte) error {
	bucket := b.keys.bucketOf(ev.Topic)
	channel, own := topicChannel(bucket, ev.Topic), ownChannel(bucket, b.node)
	if err := b.ensure(ctx, ev.Topic.App, bucket, own); err != nil {
		return err
	}
	// Whether the caller still waits must not decide who gets the event.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	lane := b.lane(channel)
	lane.RLock()
	defer lane.RUnlock()
	subscribed, err := b.begin(channel, own, ev)
	if err != nil {
		return err
	}
	if subscribed {
		own = ""
	}
	if err := b.send(ctx, ev, head, own); err != nil {
		b.doubt(ev.ID)
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent.add(ev, time.Now())
	return nil
}

// send has Redis publish an event, on the node's own channel as well unless
// that is empty.
func (b *Broker) send(ctx context.Context, ev *proxy.Event, head []byte, own string) error {
	bucket := b.keys.bucketOf(ev.Topic)
	keep := int64(0)
	if ev.Keeps() {
		keep = proxy.CacheFor.Milliseconds()
	}
	keys := []string{logOf(bucket), logSize(bucket), b.keys.kept(ev.Topic)}
	return publishScript.Run(ctx, b.client, keys, b.client.publishCommand(), topicChannel(bucket, ev.Topic), own, keep, head, ev.Data, heldFor.Milliseconds(), heldBytes).Err()
}

// ensure subscribes to the node's own channel in a bucket, once.
func (b *Broker) ensure(ctx context.Context, app, bucket, own string) error {
	b.mu.Lock()
	confirmed := b.confirmed(own)
	b.mu.Unlock()
	if confirmed {
		return nil
	}
	return b.subscribe(ctx, app, bucket, own)
}

// confirmed reports whether a channel's events come. The caller has mu.
func (b *Broker) confirmed(channel string) bool {
	w := b.topics[channel]
	return w != nil && w.confirmed
}

// await waits for the first link after the start. Later, without one, calls
// fail at once.
func (b *Broker) await(ctx context.Context) error {
	select {
	case <-b.linked:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrAway, ctx.Err())
	}
}

// begin notes an event that will come back.
func (b *Broker) begin(channel, own string, ev *proxy.Event) (subscribed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == nil || !b.confirmed(channel) && !b.confirmed(own) {
		return false, ErrAway
	}
	b.own[ev.ID] = published{event: ev}
	return b.confirmed(channel), nil
}

// takeOwn returns an event of this node as it was published, if it has not
// come back before.
func (b *Broker) takeOwn(back *proxy.Event) *proxy.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	ev := b.own[back.ID].event
	delete(b.own, back.ID)
	if ev != nil {
		ev.Order = back.Order
	}
	return ev
}

// refuse counts what was not taken from Redis.
func (b *Broker) refuse(err error) {
	if b.refused.Add(1) == 1 {
		b.log.Error().Err(err).Msg("what came from redis is no event; this and further ones are counted")
	}
}

// doubt notes that an event may or may not come back.
func (b *Broker) doubt(id proxy.EventID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, on := b.own[id]; on {
		if p.failed = true; len(b.own) < maxOwn {
			b.own[id] = p
		} else {
			delete(b.own, id)
		}
	}
}

// Subscribe implements proxy.Broker. It waits for Redis to confirm.
func (b *Broker) Subscribe(ctx context.Context, t proxy.Topic) error {
	if err := b.subscribe(ctx, t.App, b.keys.bucketOf(t), b.keys.topicChannel(t)); err != nil {
		return fmt.Errorf("redis: subscribe to %s: %w", t, err)
	}
	return nil
}

func (b *Broker) subscribe(ctx context.Context, app, bucket, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := b.await(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	l := b.link
	if l == nil {
		b.mu.Unlock()
		return ErrAway
	}
	if b.topics[channel] == nil {
		b.topics[channel] = &wanted{app: app, bucket: bucket, since: l.now()}
	}
	confirmed := l.await(channel)
	b.mu.Unlock()
	err := l.subscribe(ctx, channel)
	if err == nil {
		err = confirmed(ctx)
	}
	if err != nil {
		b.forget(channel)
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.topics[channel]; w != nil {
		w.confirmed = b.link == l
	}
	return nil
}

// forget ends a topic's state once no event of it is being published as one
// that will come back by its subscription.
func (b *Broker) forget(channel string) *link {
	lane := b.lane(channel)
	lane.Lock()
	defer lane.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.topics, channel)
	return b.link
}

// Unsubscribe implements proxy.Broker.
func (b *Broker) Unsubscribe(ctx context.Context, t proxy.Topic) error {
	channel := b.keys.topicChannel(t)
	l := b.forget(channel)
	if l == nil {
		return nil // the next link will not have it
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := l.unsubscribe(ctx, channel); err != nil && !errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("redis: unsubscribe from %s: %w", t, err)
	}
	return nil
}

// relink gives up the present link: it may be with a server that is the
// others' no more.
func (b *Broker) relink() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link != nil {
		b.link.end(errElsewhere)
	}
}

// Run implements proxy.Broker: it holds a link to Redis, and makes another
// one when that has broken.
func (b *Broker) Run(ctx context.Context, deliver func(*proxy.Event)) error {
	pause := shortPause
	for again := false; ; again = true {
		began := time.Now()
		err := b.serve(ctx, deliver, again)
		if ctx.Err() != nil {
			return nil
		}
		b.log.Warn().Err(err).Msg("no link to redis; events do not travel between nodes")
		if time.Since(began) > longPause {
			pause = shortPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, longPause)
	}
}

// Pauses between attempts to reach Redis.
const (
	shortPause = 50 * time.Millisecond
	longPause  = time.Second
)
