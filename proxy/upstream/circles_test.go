package upstream

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// ferry is the way over one gateway's bridge.
type ferry struct {
	*circles
	onward func(crossing) // what becomes of an event that has passed

	mu      sync.Mutex
	passed  []crossing
	dropped int
	stopped []protocol.ChannelName
	slowest time.Duration // from arriving to passing
	came    map[string]time.Time
}

func newFerry(onward func(crossing)) *ferry {
	f := &ferry{onward: onward, came: make(map[string]time.Time)}
	f.circles = newCircles(func(_ context.Context, x crossing) { f.over(x) }, func(crossing) { f.dropped++ },
		func(channel protocol.ChannelName, _ string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.stopped = append(f.stopped, channel)
		})
	return f
}

func (f *ferry) over(x crossing) {
	f.mu.Lock()
	f.passed = append(f.passed, x)
	if at, ok := f.came[x.user]; ok {
		f.slowest = max(f.slowest, time.Since(at))
	}
	f.mu.Unlock()
	if f.onward != nil {
		f.onward(x)
	}
}

// arrive is that an event comes to the bridge. The user, where there is one,
// tells equal events apart.
func (f *ferry) arrive(x crossing) {
	f.mu.Lock()
	barred := slices.Contains(f.stopped, x.channel)
	if x.user != "" {
		f.came[x.user] = time.Now()
	}
	f.mu.Unlock()
	if !barred && !f.holds(x, time.Now()) {
		f.over(x)
	}
}

func (f *ferry) count() (passed int, stopped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.passed), len(f.stopped) > 0
}

// sail runs ferries while a test lasts.
func sail(t *testing.T, ferries ...*ferry) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, f := range ferries {
		running.Go(func() { f.run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func equal(way direction) crossing {
	return crossing{way: way, channel: "prices", name: "tick", data: []byte(`{"same":true}`)}
}

// TestWhoeverPublishesIsNeverTakenForACircle, however often and evenly: what
// is published for itself does not stop when the bridge holds it.
func TestWhoeverPublishesIsNeverTakenForACircle(t *testing.T) {
	publish := func(f *ferry, n int, every time.Duration, ways ...direction) {
		for i := range n {
			f.arrive(equal(ways[i%len(ways)]))
			time.Sleep(every)
		}
	}
	for name, tc := range map[string]struct {
		publish func(*ferry)
		want    int
	}{
		"two thousand equal events a second for two minutes": {func(f *ferry) { publish(f, 240_000, time.Second/2000, up) }, 240_000},
		"as many, by independent publishers on both sides":   {func(f *ferry) { publish(f, 240_000, time.Second/2000, up, down) }, 240_000},
		"twenty a second for an hour":                        {func(f *ferry) { publish(f, 72_000, time.Second/20, up) }, 72_000},
		"six a second from the vendor for an hour":           {func(f *ferry) { publish(f, 21_600, time.Second/6, down) }, 21_600},
		"bursts of a thousand every seven seconds": {func(f *ferry) {
			for range 200 {
				publish(f, 1000, time.Millisecond, up)
				time.Sleep(6 * time.Second)
			}
		}, 200_000},
		"a burst, and then one tick in two seconds for an hour": {func(f *ferry) {
			publish(f, 1000, time.Millisecond, up)
			publish(f, 1800, 2*time.Second, up)
		}, 2800},
		"a burst as fast as can be": {func(f *ferry) { publish(f, 100_000, 0, up) }, 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFerry(nil)
				sail(t, f)
				tc.publish(f)
				time.Sleep(time.Minute)
				synctest.Wait()
				if passed, stopped := f.count(); stopped || passed != tc.want || f.dropped != 0 {
					t.Errorf("%d of %d passed, %d dropped, stopped: %v", passed, tc.want, f.dropped, stopped)
				}
			})
		})
	}
}

// TestATrialDelaysAndKeepsTheOrder of everything on its channel, and no other
// channel.
func TestATrialDelaysAndKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFerry(nil)
		sail(t, f)
		for i := range 4000 {
			x := equal(up)
			x.user = strings.Repeat("i", i+1)
			if i%2 == 1 {
				x.name = "other"
			}
			f.arrive(x)
			if i%100 == 0 {
				before, _ := f.count()
				f.arrive(crossing{way: up, channel: "elsewhere", name: "tick"})
				if after, _ := f.count(); after <= before {
					t.Fatal("an event of another channel was held")
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		next := 0
		for _, x := range f.passed {
			if x.channel == "prices" {
				if next++; len(x.user) != next {
					t.Fatalf("event %d passed in place %d", len(x.user), next)
				}
			}
		}
		if next != 4000 {
			t.Errorf("%d of 4000 passed", next)
		}
		if f.slowest == 0 || f.slowest > 2*roundWithin {
			t.Errorf("held for %s", f.slowest)
		}
	})
}

// TestACircleIsStopped, of however many gateways, and however many equal
// events go round in it.
func TestACircleIsStopped(t *testing.T) {
	// Gateways that try at the same time may acquit each other, and then find
	// it at the next trial.
	const most = 2 * (1 + acquittedFor + acquittedFor*acquittedFor) * suspectAfter
	for name, tc := range map[string]struct {
		gateways, events, copies int
		round                    time.Duration
	}{
		"one gateway, and a program that publishes what it hears": {1, 1, 1, 40 * time.Millisecond},
		"two gateways":                            {2, 1, 1, 60 * time.Millisecond},
		"two gateways on one machine":             {2, 1, 1, time.Millisecond},
		"three gateways":                          {3, 1, 1, 90 * time.Millisecond},
		"two gateways and thirty equal events":    {2, 30, 1, 60 * time.Millisecond},
		"three gateways and twelve equal events":  {3, 12, 1, 200 * time.Millisecond},
		"a program that says twice what it hears": {1, 1, 2, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ferries := make([]*ferry, tc.gateways)
				for i := range ferries {
					ferries[i] = newFerry(func(x crossing) {
						for range tc.copies {
							time.AfterFunc(tc.round/time.Duration(tc.gateways), func() { ferries[(i+1)%len(ferries)].arrive(x) })
						}
					})
				}
				sail(t, ferries...)
				began := time.Now()
				for range tc.events {
					ferries[0].arrive(equal(up))
				}
				ended := func() bool {
					return slices.ContainsFunc(ferries, func(f *ferry) bool { _, stopped := f.count(); return stopped })
				}
				for !ended() && time.Since(began) < 10*time.Minute {
					time.Sleep(time.Second)
				}
				if !ended() {
					t.Fatal("not stopped within ten minutes")
				}
				took := time.Since(began)
				time.Sleep(time.Minute) // a second gateway may still be at its trial
				at := make([]int, len(ferries))
				for i, f := range ferries {
					at[i], _ = f.count()
				}
				time.Sleep(10 * time.Minute)
				for i, f := range ferries {
					now, _ := f.count()
					if now != at[i] {
						t.Errorf("gateway %d: an event still goes round", i)
					}
					if tc.copies == 1 && now > most+convictAfter*tc.events {
						t.Errorf("gateway %d: %d events passed, want at most %d", i, now, most+convictAfter*tc.events)
					}
				}
				t.Logf("after %s, passed %v", took, at)
			})
		})
	}
}

// TestHeldEventsPassWhenTheBridgeCloses.
func TestHeldEventsPassWhenTheBridgeCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFerry(nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.run(ctx)
		}()
		for range 1000 {
			f.arrive(equal(up))
		}
		synctest.Wait()
		if passed, _ := f.count(); passed == 1000 {
			t.Fatal("none was held")
		}
		cancel()
		<-done
		if passed, _ := f.count(); passed != 1000 {
			t.Errorf("%d of 1000 passed", passed)
		}
	})
}
