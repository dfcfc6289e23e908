package host

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

var epoch = time.Unix(1_000_000, 0)

func after(d time.Duration) time.Time { return epoch.Add(d) }

// event n of a channel, accepted n milliseconds after the epoch.
func event(channel string, n int) *proxy.Event {
	return &proxy.Event{
		ID: proxy.EventID{Node: 1, Seq: uint64(n)}, Topic: proxy.Topic{App: "app", Channel: protocol.ChannelName(channel)},
		At: after(time.Duration(n) * time.Millisecond),
	}
}

// taken returns the events of the next batch, such as "a1 b2".
func taken(b *book) (number uint64, events string) {
	number, items := b.next(epoch)
	var names []string
	for _, it := range items {
		names = append(names, fmt.Sprintf("%s%d", it.event.Topic.Channel, it.event.ID.Seq))
	}
	return number, strings.Join(names, " ")
}

func attached(b *book, channel string, at time.Time) []gap {
	return b.observed(protocol.ChannelName(channel), translators.ChannelState{State: translators.StateAttached}, at)
}

// running returns a book whose plugin observes those channels.
func running(credit int, channels ...string) *book {
	b := newBook(100, 1<<20, true)
	b.open(true, credit)
	for _, c := range channels {
		b.occupy(protocol.ChannelName(c), true, epoch)
		attached(b, c, epoch)
	}
	return b
}

func texts(gaps []gap) string {
	var all []string
	for _, g := range gaps {
		all = append(all, fmt.Sprintf("%s[%s,%s]", g.channel, g.from.Sub(epoch), g.to.Sub(epoch)))
	}
	return strings.Join(all, " ")
}

func TestBook(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, expect func(what, got, want string)){
		"an event waits until its channel is observed, others pass": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "b")
			b.publish(event("a", 1), epoch)
			b.publish(event("b", 2), epoch)
			b.publish(event("a", 3), epoch)
			_, got := taken(b)
			expect("first batch", got, "b2")
			expect("gaps of attaching", texts(attached(b, "a", after(time.Second))), "")
			_, got = taken(b)
			expect("second batch", got, "a1 a3")
		},
		"a channel that cannot be observed in time is a gap, and its events pass": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10)
			b.publish(event("a", 0), epoch)
			expect("gaps at first", texts(b.tick(after(time.Second), time.Minute)), "")
			expect("gaps in the end", texts(b.tick(after(6*time.Second), time.Minute)), "a[0s,6s]")
			_, got := taken(b)
			expect("batch", got, "a0")
			b.publish(event("a", 6500), after(6500*time.Millisecond))
			_, got = taken(b)
			expect("next batch", got, "a6500")
			expect("gap when it is observed", texts(attached(b, "a", after(7*time.Second))), "a[6s,7s]")
			expect("gaps from then on", texts(b.tick(after(8*time.Second), time.Minute)), "")
		},
		"no more than the credit is taken": func(t *testing.T, expect func(what, got, want string)) {
			b := running(2, "a")
			for n := range 3 {
				b.publish(event("a", n), epoch)
			}
			number, got := taken(b)
			expect("first batch", got, "a0 a1")
			_, got = taken(b)
			expect("batch without credit", got, "")
			if _, ok := b.answer(number, 2, 1); !ok {
				t.Error("the answer was not taken")
			}
			_, got = taken(b)
			expect("batch with credit", got, "a2")
		},
		"what was not answered is sent again, in order, before what waits": func(t *testing.T, expect func(what, got, want string)) {
			b := running(2, "a", "b")
			for n := range 4 {
				b.publish(event("a", n), epoch)
			}
			taken(b)
			b.publish(event("b", 4), epoch)
			b.lose(after(2*time.Second), "killed")
			b.open(true, 10)
			attached(b, "a", after(3*time.Second))
			attached(b, "b", after(3*time.Second))
			_, got := taken(b)
			expect("batch", got, "a0 a1 a2 a3 b4")
			if b.resent != 2 {
				t.Errorf("%d resent, want 2", b.resent)
			}
		},
		"a death is a gap of all from the oldest unanswered event until it runs, and of each channel until it is observed": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "a")
			b.publish(event("a", 500), epoch)
			taken(b)
			b.lose(after(2*time.Second), "killed")
			expect("gaps while down", texts(b.tick(after(3*time.Second), time.Minute)), "[500ms,3s]")
			expect("gap when up", texts(b.up(after(4*time.Second))), "[3s,4s]")
			b.open(true, 10)
			expect("gap when observed", texts(attached(b, "a", after(5*time.Second))), "a[500ms,5s]")
		},
		"a death with nothing unanswered is a gap from shortly before it": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "a")
			b.lose(after(2*time.Second), "killed")
			expect("gap", texts(b.up(after(3*time.Second))), "[1s,3s]")
		},
		"a plugin that never ran is a gap of all that waits for it": func(t *testing.T, expect func(what, got, want string)) {
			b := newBook(100, 1<<20, true)
			b.publish(event("a", 100), epoch)
			b.lose(after(10*time.Second), "refused")
			expect("gap", texts(b.tick(after(11*time.Second), time.Minute)), "[100ms,11s]")
		},
		"what does not fit is dropped and a gap of all": func(t *testing.T, expect func(what, got, want string)) {
			b := newBook(2, 1<<20, true)
			b.open(true, 10)
			for n := range 4 {
				kept := b.publish(event("a", n), after(time.Duration(n)*time.Second))
				if kept != (n < 2) {
					t.Errorf("event %d kept: %v", n, kept)
				}
			}
			expect("gaps", texts(b.tick(after(3500*time.Millisecond), time.Minute)), "[2ms,3s]")
			expect("gaps after", texts(b.tick(after(4*time.Second), time.Minute)), "")
		},
		"a detached channel is a gap until it is attached, and its events pass": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "a")
			b.observed("a", translators.ChannelState{State: translators.StateDetached, From: after(2 * time.Second)}, after(2*time.Second))
			b.publish(event("a", 3000), after(3*time.Second))
			_, got := taken(b)
			expect("batch", got, "a3000")
			expect("gaps", texts(b.tick(after(4*time.Second), time.Minute)), "a[1s,4s]")
			expect("last gap", texts(attached(b, "a", after(5*time.Second))), "a[4s,5s]")
		},
		"a gap that the plugin tells is passed on": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "a")
			s := translators.ChannelState{State: translators.StateGap, From: after(3 * time.Second), To: after(4 * time.Second)}
			expect("gap", texts(b.observed("a", s, after(5*time.Second))), "a[2s,4s]")
		},
		"no more channels are observed than the plugin can, the rest is a gap, and its turn comes": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10)
			b.limit(1)
			b.publish(event("a", 0), epoch)
			b.publish(event("b", 100), after(100*time.Millisecond))
			add, _ := b.wants()
			expect("asked", strings.Join(add, " "), "a")
			attached(b, "a", after(100*time.Millisecond))
			_, got := taken(b)
			expect("batch", got, "b100 a0")
			expect("gap", texts(b.tick(after(time.Second), time.Minute)), "b[100ms,1s]")
			b.publish(event("b", 61000), after(61*time.Second))
			b.tick(after(61*time.Second), time.Minute) // whichever it looks at first
			b.tick(after(62*time.Second), time.Minute)
			add, drop := b.wants()
			expect("asked once the other one is idle", strings.Join(add, " ")+", not "+strings.Join(drop, " "), "b, not a")
			expect("gap until it is observed", texts(attached(b, "b", after(63*time.Second))), "b[1m2s,1m3s]")
		},
		"a limit that is learnt late takes channels without subscribers first": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "a", "b")
			b.wants()
			b.publish(event("c", 0), epoch)
			b.publish(event("d", 0), epoch)
			b.occupy("d", true, epoch)
			b.limit(3)
			add, drop := b.wants()
			expect("asked", strings.Join(add, " ")+", not "+strings.Join(drop, " "), "d, not ")
			b.limit(0)
			b.tick(after(time.Second), time.Minute)
			add, _ = b.wants()
			expect("asked without a limit", strings.Join(add, " "), "c")
			var s Status
			b.tally(&s)
			if s.ChannelsDenied != 0 || b.watched != 4 {
				t.Errorf("%d are denied and %d asked for, want 0 and 4", s.ChannelsDenied, b.watched)
			}
		},
		"a channel given up is a gap, and asked for again": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "a")
			b.wants()
			b.observed("a", translators.ChannelState{State: translators.StateError}, after(3*time.Second))
			add, _ := b.wants()
			expect("asked at once", strings.Join(add, " "), "")
			b.tick(after(4*time.Second), time.Minute)
			add, _ = b.wants()
			expect("asked later", strings.Join(add, " "), "a")
			expect("gap", texts(attached(b, "a", after(5*time.Second))), "a[2s,5s]")
		},
		"an idle channel is dropped after the linger, an occupied one is not": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "occupied", "left")
			b.publish(event("quiet", 0), epoch)
			b.occupy("left", false, epoch)
			attached(b, "quiet", epoch)
			number, _ := taken(b)
			b.answer(number, 1, 10)
			b.wants()
			b.tick(after(time.Minute), time.Minute)
			_, drop := b.wants()
			expect("dropped in time", strings.Join(drop, " "), "")
			b.tick(after(time.Minute+time.Second), time.Minute)
			_, drop = b.wants()
			if len(drop) != 2 || len(b.channels) != 1 {
				t.Errorf("dropped %v, and %d channels are left, want 2 and 1", drop, len(b.channels))
			}
		},
		"a link that observes nothing holds nothing": func(t *testing.T, expect func(what, got, want string)) {
			b := newBook(10, 1<<20, true)
			b.publish(event("a", 0), epoch)
			b.open(false, 10)
			b.publish(event("b", 1), epoch)
			_, got := taken(b)
			expect("batch", got, "a0 b1")
			add, _ := b.wants()
			expect("gaps", texts(b.tick(after(10*time.Second), time.Minute)), "")
			if b.answer(1, 2, 10); !b.empty() {
				t.Errorf("the book is not empty; it asked for %v", add)
			}
		},
		"an answer for another batch, or of another length, is refused": func(t *testing.T, expect func(what, got, want string)) {
			b := running(10, "a")
			b.publish(event("a", 0), epoch)
			number, _ := taken(b)
			for _, wrong := range []struct {
				number  uint64
				results int
			}{{number + 1, 1}, {number, 2}, {number, 0}} {
				if _, ok := b.answer(wrong.number, wrong.results, 10); ok {
					t.Errorf("the answer %+v was taken", wrong)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: %q, want %q", what, got, want)
				}
			})
		})
	}
}

func TestFailures(t *testing.T) {
	policy := RestartPolicy{First: 100 * time.Millisecond, Max: time.Second, Budget: 3, Window: 10 * time.Minute}
	t.Run("waits grow to a bound, and the budget ends them", func(t *testing.T) {
		f := failures{policy: policy}
		for i, most := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
			wait, tooMany := f.add(after(time.Duration(i) * time.Second))
			if tooMany || wait > most || wait < most/2 {
				t.Errorf("failure %d: wait %s, too many %v, want %s to %s", i, wait, tooMany, most/2, most)
			}
		}
		if _, tooMany := f.add(after(4 * time.Second)); !tooMany {
			t.Error("the fourth failure within the window is not too many")
		}
	})
	t.Run("failures far apart are always forgiven", func(t *testing.T) {
		f := failures{policy: policy}
		for i := range 20 {
			wait, tooMany := f.add(after(time.Duration(i) * 4 * time.Minute))
			if tooMany || wait > policy.First {
				t.Fatalf("failure %d: wait %s, too many %v", i, wait, tooMany)
			}
		}
	})
}

// BenchmarkBook is what an event costs the gateway's side of a link: the part
// before the plugin's stream runs where events are offered.
func BenchmarkBook(b *testing.B) {
	k := running(1<<20, "room")
	e := event("room", 1)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		k.publish(e, epoch)
		if n%batchItems == batchItems-1 {
			number, items := k.next(epoch)
			k.answer(number, len(items), 1<<20)
		}
	}
}
