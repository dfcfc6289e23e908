package webhooks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// receiver sends the letters of one mailbox to one webhook of an app.
type receiver struct {
	// Set at construction.
	id       string
	about    about
	settings *Settings
	intake   *intake
	metrics  *metrics
	log      zerolog.Logger
	wake     chan struct{} // has room for one: something changed

	// Owned by Outbox.Run.
	types   []proxy.WebhookType // that it is sent
	running bool

	// Guarded by mu.
	mu        sync.Mutex
	hook      proxy.Webhook
	transport http.RoundTripper
	retired   bool // the configuration does not name it
	queue     *schedule
	history   history
	dead      tally // dead letters on disk
}

// tally counts records and the bytes they occupy.
type tally struct {
	records int
	bytes   int64
}

// namedHook is a webhook with the id of its receiver.
type namedHook struct {
	id   string
	app  string
	hook proxy.Webhook
}

// nameReceivers gives each of an app's webhooks an id that stays the same
// when the others change: the app's id, a digest of the URL, and a number
// where one URL is configured several times.
func nameReceivers(app *proxy.App) []namedHook {
	seen := map[string]int{}
	named := make([]namedHook, 0, len(app.Webhooks))
	for _, hook := range app.Webhooks {
		sum := sha256.Sum256([]byte(hook.URL))
		id := app.ID + "/" + hex.EncodeToString(sum[:5])
		if seen[id]++; seen[id] > 1 {
			id += "-" + strconv.Itoa(seen[id])
		}
		named = append(named, namedHook{id, app.ID, hook})
	}
	return named
}

func (o *Outbox) newReceiver(id string, a about) *receiver {
	return &receiver{
		id:       id,
		about:    a,
		settings: &o.settings,
		intake:   o.intake,
		metrics:  o.metrics,
		log:      o.settings.Log.With().Str("app", a.App).Str("receiver", id).Logger(),
		wake:     make(chan struct{}, 1),
		queue:    newSchedule(),
		retired:  true,
	}
}

// load queues what the mailbox holds.
func (r *receiver) load(tx *bbolt.Tx) error {
	m := openMailbox(tx, r.id)
	held := m.contents()
	now := time.Now()
	for _, l := range held.pending {
		l.since = now
		r.queue.add(protocol.ChannelName(l.channel), l.entry, now)
	}
	for _, a := range held.requests {
		if !r.queue.resume(a, now) {
			held.stale = append(held.stale, seqKey(a.Seqs[0]))
		}
	}
	r.dead = held.dead
	if len(held.damaged) > 0 {
		r.log.Error().Int("records", len(held.damaged)).Msg("damaged webhook outbox records removed")
	}
	return m.clean(held)
}

// configure takes over the webhook as it is configured now.
func (r *receiver) configure(hook proxy.Webhook) {
	r.types = hook.Events
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.transport == nil || r.hook.AllowPrivate != hook.AllowPrivate {
		if r.transport = r.settings.Transport; r.transport == nil {
			r.transport = newTransport(hook.AllowPrivate)
		}
	}
	r.hook, r.retired = hook, false
}

const removed = "webhook removed from the configuration"

// retire ends sending: what is pending dies. Letters in flight may still
// arrive. configure takes it back.
func (r *receiver) retire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = true
	r.abandon()
}

// abandon lets everything die that is not in flight.
func (r *receiver) abandon() {
	requests, waiting := r.queue.abandon()
	for _, q := range requests {
		r.bury(q.seqs(), q.attempts, removed)
	}
	r.bury(waiting, 0, removed)
}

// add queues letters that are now on disk.
func (r *receiver) add(letters []delivery) {
	now := time.Now()
	r.mu.Lock()
	for _, l := range letters {
		r.queue.add(l.channel, l.entry, now)
	}
	r.mu.Unlock()
	r.signal()
}

// shed makes room for more bytes, if need be a twentieth of the mailbox at
// once. It returns the write that moves the oldest letters away.
func (r *receiver) shed(more int64) write {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := r.settings.ReceiverBytes
	excess := r.queue.bytes + more - limit
	if excess <= 0 {
		return nil
	}
	seqs := r.queue.shed(excess + limit/20)
	if len(seqs) == 0 {
		return nil
	}
	r.log.Warn().Int("letters", len(seqs)).Int64("limit_bytes", limit).Msg("webhook outbox full, oldest letters given up")
	return r.burial(seqs, 0, fmt.Sprintf("outbox full: more than %d bytes pending", limit))
}

func (r *receiver) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run sends what is due until ctx ends, and waits for requests in flight.
func (r *receiver) run(ctx context.Context) {
	var inflight sync.WaitGroup
	defer inflight.Wait()
	for ctx.Err() == nil {
		q, wait := r.take()
		if q == nil {
			r.sleep(ctx, wait)
			continue
		}
		// A request cut off might have been delivered: let it end.
		inflight.Go(func() { r.attempt(context.WithoutCancel(ctx), q) })
	}
}

func (r *receiver) take() (*request, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.retired {
		return nil, forever
	}
	return r.queue.take(time.Now(), r.hook.Batch)
}

func (r *receiver) sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.wake:
	case <-ctx.Done():
	}
}

// attempt sends a request once.
func (r *receiver) attempt(ctx context.Context, q *request) {
	r.mu.Lock()
	hook, transport := r.hook, r.transport
	r.mu.Unlock()
	r.finish(q, r.try(ctx, q, hook.URL, transport))
}

func (r *receiver) try(ctx context.Context, q *request, to string, transport http.RoundTripper) outcome {
	app, ok := r.settings.Apps.ByID(r.about.App)
	if !ok || len(app.Credentials) == 0 {
		return outcome{err: errors.New("app no longer configured")}
	}
	body, err := r.body(q)
	if err != nil {
		return outcome{err: err}
	}
	return post(ctx, transport, to, app.Credentials[0], body)
}

// body reads a request's letters and puts its body together: the same bytes
// each time.
func (r *receiver) body(q *request) (body []byte, err error) {
	events := make([][]byte, 0, len(q.entries))
	err = r.settings.DB.View(func(tx *bbolt.Tx) error {
		m := openMailbox(tx, r.id)
		for _, e := range q.entries {
			l, err := m.letter(e.seq)
			if err != nil {
				return err
			}
			events = append(events, l.Event)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read webhook outbox: %w", err)
	}
	return appendBody(nil, q.at, events), nil
}

// finish notes how a request ended and what that means for it.
func (r *receiver) finish(q *request, o outcome) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.signal()
	wasDown := r.queue.down
	r.metrics.attempts.WithLabelValues(r.about.App, r.id, o.result()).Inc()
	r.history.note(now, q, o)
	switch {
	case o.delivered():
		r.delivered(q, now)
	case r.queue.failed(q, now):
		r.bury(q.seqs(), q.attempts, fmt.Sprintf("given up after %s: %s", giveUpAfter, o))
	case r.retired:
		r.abandon()
	default:
		r.save(q, now)
	}
	if r.queue.down && o.unreachable() {
		r.bury(r.queue.expired(now), 0, fmt.Sprintf("receiver unreachable for %s: %s", giveUpAfter, o))
	}
	if r.queue.down != wasDown {
		r.log.Warn().Bool("down", r.queue.down).Str("last", o.String()).Int("pending", r.queue.letters).Msg("webhook receiver changed")
	}
}

func (r *receiver) delivered(q *request, now time.Time) {
	r.queue.delivered(q, now)
	for _, e := range q.entries {
		r.metrics.delivery.Observe(now.Sub(e.since).Seconds())
	}
	seqs := q.seqs()
	r.intake.write(func(tx *bbolt.Tx) error { return openMailbox(tx, r.id).settle(seqs) })
}

// save keeps what is needed to try a request again after a restart.
func (r *receiver) save(q *request, now time.Time) {
	a := attempted{TimeMS: q.at.UnixMilli(), Spent: now.Sub(q.first), Attempts: q.attempts, Seqs: q.seqs()}
	r.intake.write(func(tx *bbolt.Tx) error {
		return openMailbox(tx, r.id).requests.Put(seqKey(a.Seqs[0]), a.encode())
	})
}

// bury lets letters die that the queue has let go of.
func (r *receiver) bury(seqs []uint64, attempts int, reason string) {
	if len(seqs) == 0 {
		return
	}
	r.log.Warn().Int("letters", len(seqs)).Int("attempts", attempts).Str("reason", reason).Msg("webhook given up, dead letter kept")
	r.intake.write(r.burial(seqs, attempts, reason))
}

// burial returns the write that makes letters dead ones.
func (r *receiver) burial(seqs []uint64, attempts int, reason string) write {
	seqs = slices.Clone(seqs)
	died := time.Now()
	return func(tx *bbolt.Tx) error {
		m := openMailbox(tx, r.id)
		buried, err := m.bury(seqs, died, attempts, reason)
		if err != nil {
			return err
		}
		kept := r.deadTally()
		lost, err := m.discard(kept.bytes + buried.bytes - r.settings.ReceiverBytes)
		if err != nil {
			return err
		}
		tx.OnCommit(func() { r.buried(buried, lost) })
		return nil
	}
}

func (r *receiver) deadTally() tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead
}

// buried counts what a committed burial changed.
func (r *receiver) buried(buried, lost tally) {
	r.mu.Lock()
	r.dead.records += buried.records - lost.records
	r.dead.bytes += buried.bytes - lost.bytes
	r.mu.Unlock()
	r.metrics.dead.WithLabelValues(r.about.App, r.id).Add(float64(buried.records))
	r.metrics.discarded.WithLabelValues(r.about.App, r.id).Add(float64(lost.records))
}
