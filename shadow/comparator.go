package shadow

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
)

// sweepEvery is how often open comparisons are looked at.
const sweepEvery = time.Second

// Comparator compares the legs of every app. It is a proxy.Sink: offer it
// every record the gateway makes.
type Comparator struct {
	settings Settings
	config   Config
	queue    *queue

	mu    sync.Mutex // guards all below
	state *state
	last  time.Time // when the last record was taken from the queue
	lag   time.Duration
}

// New returns a comparator, with what its journal holds. It compares once Run
// is called.
func New(s Settings) (*Comparator, error) {
	config := s.Config.withDefaults()
	c := &Comparator{settings: s, config: config, queue: newQueue(config.Queue), state: newState(config, s.Apps)}
	if s.Journal == nil {
		return c, nil
	}
	if err := s.Journal.load(c.state); err != nil {
		return nil, fmt.Errorf("load shadow evidence: %w", err)
	}
	return c, nil
}

// Offer queues a record and reports whether it fitted. It never blocks: when
// the queue is full the record is dropped and counted, and what its leg did
// at that time is unknown.
func (c *Comparator) Offer(r proxy.Record) bool {
	if !watched.Has(r.Kind) {
		return true
	}
	if c.settings.Copy != nil {
		c.settings.Copy.Offer(r)
	}
	return c.queue.offer(&r)
}

// watched are the kinds that the comparison uses.
var watched = proxy.KindsOf(
	proxy.KindPublished, proxy.KindDelivered, proxy.KindGap, proxy.KindMirrored,
	proxy.KindSubscribed, proxy.KindUnsubscribed,
	proxy.KindMemberAdded, proxy.KindMemberRemoved, proxy.KindAllowed, proxy.KindRefused,
	proxy.KindOccupied, proxy.KindVacated, proxy.KindCacheMiss, proxy.KindWebhook, proxy.KindFrame,
	proxy.KindConnected, proxy.KindDisconnected,
)

// Run compares until ctx ends. Then it closes what is still open, and writes
// all it has to the journal: an event that has not arrived by then is unknown.
// Call Settle first where the end of the traffic is known.
func (c *Comparator) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.drain()
			c.close(false)
			return c.save(true)
		case <-c.queue.ready:
			c.drain()
		case now := <-tick.C:
			c.drain()
			c.sweep(now)
			if err := c.save(false); err != nil {
				c.settings.Log.Error().Err(err).Msg("shadow evidence not saved; kept in memory")
			}
		}
	}
}

// drain takes all queued records into the windows.
func (c *Comparator) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, lost := c.queue.take()
	for key, s := range lost {
		c.state.gap(key, "", s)
	}
	for i := range batch {
		c.state.observe(&batch[i])
	}
	if len(batch) > 0 {
		c.last = time.Now()
		c.lag = max(0, c.last.Sub(batch[0].At))
	}
	clear(batch)
}

func (c *Comparator) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.sweep(now.UnixNano())
}

// Settle waits until no record has come for Config.Quiet, or ctx ends, and
// then closes every open comparison as of that moment. An event that is not
// there after the quiet is missing; one that is not there when ctx ends too
// early is unknown. It returns ctx's error in the latter case. Traffic should
// have stopped, and Run must still be running or have returned.
func (c *Comparator) Settle(ctx context.Context) error {
	err := c.awaitQuiet(ctx)
	c.drain()
	c.close(err == nil)
	return err
}

func (c *Comparator) close(quiet bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.closeAll(time.Now().UnixNano(), quiet)
}

func (c *Comparator) awaitQuiet(ctx context.Context) error {
	began := time.Now()
	for {
		c.drain()
		c.mu.Lock()
		since := c.last
		c.mu.Unlock()
		if since.Before(began) {
			since = began
		}
		wait := c.config.Quiet - time.Since(since)
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("settle shadow comparison: %w", ctx.Err())
		}
	}
}

// Snapshot returns the evidence of one app since a time; the zero time means
// all there is. Open comparisons older than Config.Edge are counted as they
// stand now: an event that arrives after all turns from missing to matched in
// the next snapshot.
func (c *Comparator) Snapshot(app string, since time.Time) Evidence {
	c.drain()
	c.mu.Lock()
	defer c.mu.Unlock()
	ev := c.state.snapshot(app, since, time.Now().UnixNano())
	ev.Health.Records, ev.Health.Shed = c.queue.totals()
	ev.Health.Lag = c.lag
	return ev
}

// save writes what changed to the journal, all of it when final.
func (c *Comparator) save(final bool) error {
	if c.settings.Journal == nil {
		return nil
	}
	c.mu.Lock()
	changed, err := c.state.changes(time.Now(), final)
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("save shadow evidence: %w", err)
	}
	if err := c.settings.Journal.store(changed); err != nil {
		return fmt.Errorf("save shadow evidence: %w", err)
	}
	return nil
}
