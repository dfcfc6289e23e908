package faulty_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/faulty"
)

// seen is an observer that remembers.
type seen struct {
	items []translators.Envelope
	at    []time.Time
	// states holds how many items came before each state.
	states []int
}

func (s *seen) Deliver(e translators.Envelope) {
	s.items = append(s.items, e)
	s.at = append(s.at, time.Now())
}

func (s *seen) State(translators.ChannelState) { s.states = append(s.states, len(s.items)) }

func envelope(n int) translators.Envelope {
	return translators.Envelope{ID: proxy.EventID{Node: 1, Seq: uint64(n) + 1}, Data: fmt.Appendf(nil, `{"n":%d}`, n)}
}

// count finds faults as a reader would: by comparing what was seen with what
// was sent.
func count(sent int, items []translators.Envelope) map[string]uint64 {
	times := make([]int, sent)
	var last, reordered, corrupted, dropped, duplicated uint64
	for _, e := range items {
		times[e.ID.Seq-1]++
		if e.ID.Seq < last {
			reordered++
		}
		last = max(last, e.ID.Seq)
		if string(e.Data) != string(envelope(int(e.ID.Seq-1)).Data) {
			corrupted++
		}
	}
	for _, n := range times {
		switch {
		case n == 0:
			dropped++
		case n > 1:
			duplicated += uint64(n - 1)
		}
	}
	return map[string]uint64{
		"faults_drop": dropped, "faults_dup": duplicated, "faults_reorder": reordered, "faults_corrupt": corrupted,
	}
}

func TestInjectorCountsWhatAReaderFinds(t *testing.T) {
	for name, text := range map[string]string{
		"none":                    "",
		"drops only":              "drop=0.1",
		"duplicates only":         "dup=0.1",
		"reorders only":           "reorder=0.2",
		"nothing but reorders":    "reorder=1",
		"corruption only":         "corrupt=0.1",
		"all kinds, all the time": "drop=0.25,dup=0.25,reorder=0.25,corrupt=0.25",
		"all kinds, late":         "drop=0.05,dup=0.05,reorder=0.05,corrupt=0.05,delay=200ms",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spec, err := faulty.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				const sent = 2001
				out := &seen{}
				injector := faulty.NewInjector(spec)
				channel := injector.Channel(out)
				for n := range sent {
					channel.Deliver(envelope(n))
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				got, want := injector.Counters(), count(sent, out.items)
				for kind := range want {
					if got[kind] != want[kind] {
						t.Errorf("%s: %d injected, but a reader finds %d", kind, got[kind], want[kind])
					}
				}
			})
		})
	}
}

func TestInjectorReleasesAReorderThatNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &seen{}
		injector := faulty.NewInjector(faulty.Spec{Reorder: 1})
		injector.Channel(out).Deliver(envelope(0))
		time.Sleep(time.Second)
		synctest.Wait()
		if len(out.items) != 1 || injector.Counters()["faults_reorder"] != 0 {
			t.Errorf("%d shown and %v counted, want 1 and none", len(out.items), injector.Counters())
		}
	})
}

func TestInjectorShowsWhatIsHeldBeforeAChangeOfState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &seen{}
		channel := faulty.NewInjector(faulty.Spec{Reorder: 1, Delay: time.Millisecond}).Channel(out)
		channel.Deliver(envelope(0))
		channel.State(translators.ChannelState{State: translators.StateDetached})
		time.Sleep(time.Second)
		synctest.Wait()
		if len(out.states) != 1 || out.states[0] != 1 {
			t.Errorf("states came after %v items, want one after 1", out.states)
		}
	})
}

func TestInjectorDelaysByAsMuchAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &seen{}
		channel := faulty.NewInjector(faulty.Spec{Delay: 200 * time.Millisecond}).Channel(out)
		begin := time.Now()
		for n := range 3 {
			channel.Deliver(envelope(n))
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for n, at := range out.at {
			if want := 200*time.Millisecond + time.Duration(n)*50*time.Millisecond; at.Sub(begin) != want {
				t.Errorf("delivery %d came after %s, want %s", n, at.Sub(begin), want)
			}
		}
		if len(out.at) != 3 {
			t.Errorf("%d deliveries, want 3", len(out.at))
		}
	})
}

func TestInjectorRepeatsItselfWithTheSameSeed(t *testing.T) {
	pattern := func(seed uint64) string {
		out := &seen{}
		channel := faulty.NewInjector(faulty.Spec{Drop: 0.5, Seed: seed}).Channel(out)
		for n := range 64 {
			channel.Deliver(envelope(n))
		}
		return fmt.Sprint(out.items)
	}
	first, again, other := pattern(1), pattern(1), pattern(2)
	if first != again {
		t.Error("one seed chose differently the second time")
	}
	if first == other {
		t.Error("two seeds chose alike")
	}
}
