package shadow

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/rs/zerolog"
)

// bench runs a comparator in a bubble of virtual time.
func withComparator(t *testing.T, c Config, use func(ctx context.Context, c *Comparator)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		comparator, err := New(Settings{Config: c, Apps: testApps(false), Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- comparator.Run(ctx) }()
		use(ctx, comparator)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// exchange offers an event that engine and backend both deliver, the backend
// only after a delay.
func exchange(c *Comparator, seq uint64, delay time.Duration) {
	topic := proxy.Topic{App: testApp, Channel: "room-1"}
	ev := &proxy.Event{ID: proxy.EventID{Node: 1, Seq: seq}, Topic: topic, Name: "message", Data: []byte("x"), At: time.Now()}
	c.Offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Topic: topic, Event: ev})
	c.Offer(proxy.Record{Kind: proxy.KindDelivered, At: ev.At, Leg: proxy.LegEngine, Topic: topic, Event: ev, Count: 1})
	c.Offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Topic: topic, Event: ev, Text: "OK"})
	time.AfterFunc(delay, func() {
		c.Offer(proxy.Record{Kind: proxy.KindDelivered, At: time.Now(), Leg: testBackend, Topic: topic, Event: ev})
	})
}

func summed(ev Evidence) Counts {
	var sum Counts
	for _, p := range ev.Pairs {
		for i := range p.Cells {
			sum.Add(&p.Cells[i].Counts)
		}
	}
	return sum
}

func TestSettleWaitsForWhatIsOnItsWay(t *testing.T) {
	withComparator(t, Config{}, func(ctx context.Context, c *Comparator) {
		for seq := range uint64(100) {
			exchange(c, seq+1, 300*time.Millisecond)
			time.Sleep(time.Millisecond)
		}
		if err := c.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		ev := c.Snapshot(testApp, time.Time{})
		if got, want := found(summed(ev)), (foretold{Expected: 100, Matched: 100}); got != want {
			t.Errorf("after Settle: %+v, want %+v", got, want)
		}
		if ev.Health.Open != 0 {
			t.Errorf("%d comparisons are still open", ev.Health.Open)
		}
	})
}

func TestSettleCutShortLeavesUnknown(t *testing.T) {
	withComparator(t, Config{}, func(ctx context.Context, c *Comparator) {
		exchange(c, 1, time.Minute)
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if err := c.Settle(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Settle = %v, want the deadline's error", err)
		}
		if got, want := found(summed(c.Snapshot(testApp, time.Time{}))), (foretold{Unknown: 1}); got != want {
			t.Errorf("after Settle: %+v, want %+v", got, want)
		}
		time.Sleep(time.Minute)
	})
}

func TestRunClosesComparisonsByItself(t *testing.T) {
	withComparator(t, Config{Window: 10 * time.Second}, func(_ context.Context, c *Comparator) {
		exchange(c, 1, time.Second)
		exchange(c, 2, time.Hour)
		time.Sleep(15 * time.Second)
		ev := c.Snapshot(testApp, time.Time{})
		if got, want := found(summed(ev)), (foretold{Expected: 2, Matched: 1, Missing: 1}); got != want || ev.Health.Open != 0 {
			t.Errorf("after the window: %+v with %d open, want %+v with none", got, ev.Health.Open, want)
		}
		time.Sleep(time.Hour)
	})
}

// TestWhatIsOpenAtTheEndIsKept ends a comparator amid traffic: what both legs
// have shown counts after the restart, and what one has not is unknown.
func TestWhatIsOpenAtTheEndIsKept(t *testing.T) {
	j := openJournal(t)
	synctest.Test(t, func(t *testing.T) {
		comparator := func() *Comparator {
			c, err := New(Settings{Apps: testApps(false), Journal: j, Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := comparator()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		for seq := range uint64(10) {
			exchange(c, seq+1, time.Millisecond)
			time.Sleep(2 * time.Millisecond)
		}
		exchange(c, 11, time.Minute)
		time.Sleep(100 * time.Millisecond)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if got, want := found(summed(comparator().Snapshot(testApp, time.Time{}))), (foretold{Expected: 10, Matched: 10, Unknown: 1}); got != want {
			t.Errorf("after a restart: %+v, want %+v", got, want)
		}
		time.Sleep(time.Minute)
	})
}

func TestFullQueueDropsAndMakesUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Settings{Config: Config{Queue: 3}, Apps: testApps(false), Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		exchange(c, 1, 0) // three records fit, and the backend's delivery does not
		time.Sleep(time.Millisecond)
		if err := c.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		ev := c.Snapshot(testApp, time.Time{})
		if got, want := found(summed(ev)), (foretold{Unknown: 1}); got != want {
			t.Errorf("with its delivery dropped: %+v, want %+v", got, want)
		}
		if ev.Health.Shed != 1 || ev.Health.Records != 4 {
			t.Errorf("Health = %+v, want 1 of 4 records shed", ev.Health)
		}
	})
}

func TestOfferOfUnwatchedKindCostsNothing(t *testing.T) {
	c, err := New(Settings{Config: Config{Queue: 1}, Apps: testApps(false), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if !c.Offer(proxy.Record{Kind: proxy.KindSubscriptionCount}) {
			t.Error("a record that is not watched was refused")
		}
	}
	if offered, _ := c.queue.totals(); offered != 0 {
		t.Errorf("%d records queued, want none", offered)
	}
}

// TestOfferersAndReadersDoNotMeet is for the race detector: records come from
// many goroutines while others read.
func TestOfferersAndReadersDoNotMeet(t *testing.T) {
	const offerers, each = 4, 500
	withComparator(t, Config{}, func(ctx context.Context, c *Comparator) {
		var wg sync.WaitGroup
		for n := range offerers {
			wg.Go(func() {
				for i := range each {
					exchange(c, uint64(n*each+i+1), time.Millisecond)
					if i%100 == 0 {
						c.Snapshot(testApp, time.Time{})
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		wg.Wait()
		if err := c.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		got := summed(c.Snapshot(testApp, time.Time{}))
		if got.Expected != offerers*each || got.Matched != offerers*each {
			t.Errorf("%d of %d matched, want all %d", got.Matched, got.Expected, offerers*each)
		}
	})
}
