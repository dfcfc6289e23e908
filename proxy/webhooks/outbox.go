package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
)

// Apps is where the outbox learns of apps and their webhooks.
// proxy/apps.Registry is one.
type Apps interface {
	ByID(id string) (*proxy.App, bool)
	All() []*proxy.App
	// Changed returns a channel that is closed when All has changed.
	Changed() <-chan struct{}
}

// Settings wires an Outbox.
type Settings struct {
	// DB is where the outbox lives: in a bucket of its own, "webhooks".
	DB   *bbolt.DB
	Apps Apps
	Log  zerolog.Logger
	// Departures is where the outboxes of several nodes hold departures back
	// together. Nil: this is the only node.
	Departures Departures
	// Transport carries every delivery. Nil: one transport per receiver,
	// which refuses the addresses that Forbidden names unless the webhook
	// allows them.
	Transport http.RoundTripper
	// QueueRecords bounds the records in memory that are not yet on disk.
	// When it is full, records are dropped and counted; those of occupied and
	// vacated channels and of members have as much room again. 0: 65536.
	QueueRecords int
	// ReceiverBytes bounds what one receiver's pending letters occupy on disk,
	// and again what its dead letters do. When it is full, the oldest pending
	// letters die, and the oldest dead letters are discarded; both are
	// counted. 0: 64 MiB.
	ReceiverBytes int64
}

const (
	defaultQueueRecords  = 1 << 16
	defaultReceiverBytes = 64 << 20
)

// Outbox delivers webhooks. It is a proxy.Sink: a record that its app's
// webhooks ask for is written to disk within milliseconds of Offer, from
// which point on it is delivered at least once, or becomes a dead letter, also
// when the process is killed. Events of one channel reach a receiver in the
// order offered.
//
// Of the records offered it takes the engine's. What happens at the upstream
// it learns from the upstream's own webhooks (Pass, Merge).
type Outbox struct {
	// Set at construction.
	settings Settings
	intake   *intake
	metrics  *metrics

	// Owned by Run.
	truth   *truth
	byApp   map[string][]*receiver // configured receivers
	workers sync.WaitGroup

	// Guarded by mu.
	mu        sync.Mutex
	receivers map[string]*receiver // by id; also those no longer configured
}

var _ proxy.Sink = (*Outbox)(nil)

// New opens the outbox in s.DB, which it creates if need be. It reads what is
// there, and starts nothing.
func New(s Settings) (*Outbox, error) {
	if s.QueueRecords <= 0 {
		s.QueueRecords = defaultQueueRecords
	}
	if s.ReceiverBytes <= 0 {
		s.ReceiverBytes = defaultReceiverBytes
	}
	o := &Outbox{
		settings:  s,
		intake:    newIntake(s.QueueRecords),
		metrics:   newMetrics(),
		truth:     newTruth(s.Departures != nil),
		receivers: map[string]*receiver{},
	}
	if err := s.DB.Update(o.open); err != nil {
		return nil, fmt.Errorf("open webhook outbox: %w", err)
	}
	return o, nil
}

// open reads the receivers that the outbox knows. What they had been told of
// channels and members is read by Run, whose start begins the leave delay.
func (o *Outbox) open(tx *bbolt.Tx) error {
	if err := prepare(tx); err != nil {
		return err
	}
	stored, err := storedReceivers(tx)
	if err != nil {
		return err
	}
	for id, a := range stored {
		r := o.newReceiver(id, a)
		if err := r.load(tx); err != nil {
			return fmt.Errorf("receiver %s: %w", id, err)
		}
		o.receivers[id] = r
	}
	return nil
}

// Kinds returns the kinds of record that an Outbox takes.
func Kinds() proxy.Kinds {
	var all proxy.Kinds
	for _, t := range proxy.WebhookTypes() {
		all |= kindsOf(t)
	}
	return all
}

// kindsOf returns the kinds of record that must be seen in order to send
// events of a type: a departure is only told of what had been there.
func kindsOf(t proxy.WebhookType) proxy.Kinds {
	switch t {
	case proxy.WebhookChannelOccupied, proxy.WebhookChannelVacated:
		return proxy.KindsOf(proxy.KindOccupied, proxy.KindVacated)
	case proxy.WebhookMemberAdded, proxy.WebhookMemberRemoved:
		return proxy.KindsOf(proxy.KindMemberAdded, proxy.KindMemberRemoved)
	case proxy.WebhookClientEvent:
		return proxy.KindsOf(proxy.KindPublished)
	case proxy.WebhookCacheMiss:
		return proxy.KindsOf(proxy.KindCacheMiss)
	case proxy.WebhookSubscriptionCount:
		return proxy.KindsOf(proxy.KindSubscriptionCount)
	default:
		return 0
	}
}

// wants reports whether any of an app's webhooks needs records of kind k.
func wants(app *proxy.App, k proxy.Kind) bool {
	for i := range app.Webhooks {
		for _, t := range app.Webhooks[i].Events {
			if kindsOf(t).Has(k) {
				return true
			}
		}
	}
	return false
}

// sentHere reports whether an event is one that a client sent here. Of those
// that a client of the upstream sent, the upstream tells.
func sentHere(ev *proxy.Event) bool {
	return ev != nil && ev.Publisher == proxy.ByClient && ev.Origin != proxy.LegVendor
}

// Offer implements proxy.Sink. It also accepts records that no webhook asks
// for, which end here.
func (o *Outbox) Offer(r proxy.Record) (accepted bool) {
	if r.Leg != proxy.LegEngine || r.Kind == proxy.KindPublished && !sentHere(r.Event) {
		return true
	}
	app, ok := o.settings.Apps.ByID(r.Topic.App)
	if !ok || !wants(app, r.Kind) {
		return true
	}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	if o.intake.record(r) {
		return true
	}
	o.metrics.dropped.Inc()
	return false
}

// Run writes and delivers until ctx ends. It then lets requests in flight end,
// which takes at most four seconds, and writes what it was offered until
// then. It is called once. Errors of the disk are logged and the write is
// tried again; only one at the very end is returned.
func (o *Outbox) Run(ctx context.Context) error {
	if err := o.recall(time.Now()); err != nil {
		return err
	}
	var lost error         // writes that failed when there was no time to try again
	var idle chan struct{} // closed when the workers have ended
	for ended := ctx.Done(); ; {
		changed := o.settings.Apps.Changed()
		if idle == nil {
			lost = errors.Join(lost, o.reconcile(ctx))
		}
		for !isClosed(changed) {
			select {
			case <-ended:
				ended, idle = nil, make(chan struct{})
				go func() { o.workers.Wait(); close(idle) }()
			case <-idle:
				o.intake.close()
				return errors.Join(lost, o.round(ctx))
			case <-changed:
			case <-o.intake.wake:
			case <-o.nextDeparture():
			}
			lost = errors.Join(lost, o.round(ctx))
		}
	}
}

// nextDeparture returns what fires when a departure becomes news.
func (o *Outbox) nextDeparture() <-chan time.Time {
	if due, ok := o.truth.nextDeparture(); ok {
		return time.After(time.Until(due))
	}
	return nil
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// recall reads what receivers had been told when the process last ended. The
// engine's sockets are gone, so each channel and member has left it by now.
// What is at the upstream may still be there.
func (o *Outbox) recall(now time.Time) error {
	var left []subject
	err := o.settings.DB.View(func(tx *bbolt.Tx) error {
		return told(tx).ForEach(func(key, value []byte) error {
			s, ok := subjectOf(key)
			if !ok {
				return nil
			}
			on := onEngine // before legs were kept there was no other
			if len(value) == 1 {
				on = legs(value[0])
			}
			if o.truth.shared {
				on = onEngine
			} else {
				o.truth.told[s] = standing{on: on, saved: on}
			}
			if on&onEngine != 0 {
				left = append(left, s)
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read what webhook receivers were told: %w", err)
	}
	// Keys are in order: a channel's members come behind it, and leave first.
	slices.Reverse(left)
	for _, s := range left {
		o.truth.depart(s, onEngine, now.Add(leaveDelay))
	}
	return nil
}

// reconcile makes the receivers those that the apps name now.
func (o *Outbox) reconcile(ctx context.Context) error {
	o.byApp = map[string][]*receiver{}
	configured := map[string]bool{}
	for _, app := range o.settings.Apps.All() {
		for _, named := range nameReceivers(app) {
			r, err := o.receiver(ctx, named)
			if err != nil {
				return err
			}
			configured[named.id] = true
			o.byApp[app.ID] = append(o.byApp[app.ID], r)
		}
	}
	for id, r := range o.receivers {
		if !configured[id] {
			r.retire()
		}
	}
	o.forgetUnwanted()
	return nil
}

// forgetUnwanted drops what was told to apps whose webhooks no longer ask.
func (o *Outbox) forgetUnwanted() {
	dropped := o.truth.forget(func(s subject) bool {
		app, ok := o.settings.Apps.ByID(s.topic.App)
		return ok && wants(app, s.kind())
	})
	for _, s := range dropped {
		o.intake.write(belief{s, 0}.write)
	}
}

// receiver returns a configured receiver, and starts it unless it runs.
func (o *Outbox) receiver(ctx context.Context, named namedHook) (*receiver, error) {
	r := o.receivers[named.id]
	if r == nil {
		a := about{App: named.app, URL: publicURL(named.hook.URL)}
		err := o.insist(ctx, func() error {
			return o.settings.DB.Update(func(tx *bbolt.Tx) error { return createMailbox(tx, named.id, a) })
		})
		if err != nil {
			return nil, fmt.Errorf("create outbox of webhook receiver %s: %w", named.id, err)
		}
		r = o.newReceiver(named.id, a)
		o.mu.Lock()
		o.receivers[named.id] = r
		o.mu.Unlock()
	}
	r.configure(named.hook)
	if !r.running {
		r.running = true
		o.workers.Go(func() { r.run(ctx) })
	}
	return r, nil
}
