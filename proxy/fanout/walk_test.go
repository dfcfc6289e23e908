package fanout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// actor is an inbox that does something while a walk is at its member.
type actor struct {
	inbox
	act func(call int)
}

func (a *actor) Send(b *Batch, from int) bool {
	a.inbox.Send(b, from)
	if a.act != nil {
		a.act(a.calls)
	}
	return true
}

// crowd is a group of members that have joined, each with its actor.
type crowd struct {
	Group
	f       *Flusher
	actors  []*actor
	members []*Member
}

func newCrowd(size int, delivered func(any, int, time.Time)) *crowd {
	c := &crowd{f: NewFlusher(delivered)}
	for range size {
		c.join()
	}
	return c
}

func (c *crowd) join() int {
	a := new(actor)
	m := &Member{Outlet: a}
	c.actors, c.members = append(c.actors, a), append(c.members, m)
	c.Join(m, nil)
	return len(c.members) - 1
}

func (c *crowd) append(text string, except *Member) {
	c.Append(c.f, []byte(text), except, nil)
}

// flush sends all that waits, and what is appended meanwhile.
func (c *crowd) flush(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for {
		if err := c.f.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if c.pending == nil {
			return
		}
	}
}

func TestWalkTakesAlongWhatGathers(t *testing.T) {
	const size, here = 4 * stride, stride + 5 // what member here causes is found at 2*stride
	for name, tc := range map[string]struct {
		act   func(c *crowd)
		texts map[int]string // of some members, from the first on
		calls map[int]int
	}{
		"for the members ahead in the same write, for those behind in another": {
			act:   func(c *crowd) { c.append("b", nil) },
			texts: map[int]string{0: "a b", here: "a b", 2*stride - 1: "a b", 2 * stride: "a b", size - 1: "a b"},
			calls: map[int]int{0: 2, here: 2, 2*stride - 1: 2, 2 * stride: 1, size - 1: 1},
		},
		"but not for the excluded member ahead": {
			act:   func(c *crowd) { c.append("b", c.members[size-1]) },
			texts: map[int]string{0: "a b", size - 2: "a b", size - 1: "a"},
		},
		"nor for the excluded member behind": {
			act:   func(c *crowd) { c.append("b", c.members[0]); c.append("c", nil) },
			texts: map[int]string{0: "a c", 1: "a b c", size - 1: "a b c"},
		},
		"for a newcomer from its joining on": {
			act:   func(c *crowd) { c.append("b", nil); c.join(); c.append("c", nil) },
			texts: map[int]string{0: "a b c", size - 1: "a b c", size: "c"},
		},
		"not when somebody has left, whose place another has": {
			act:   func(c *crowd) { c.Leave(c.members[0]); c.append("b", nil) },
			texts: map[int]string{0: "a", 1: "a b", size - 2: "a b", size - 1: "a b"},
			calls: map[int]int{1: 2, size - 1: 2},
		},
		"not beyond the bound of a write": {
			act: func(c *crowd) { c.append(strings.Repeat("b", maxPending-1), nil) },
			texts: map[int]string{
				0: "a " + strings.Repeat("b", maxPending-1), size - 1: "a " + strings.Repeat("b", maxPending-1),
			},
			calls: map[int]int{0: 2, size - 1: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(size, nil)
			c.actors[here].act = func(call int) {
				if call == 1 {
					tc.act(c)
				}
			}
			c.append("a", nil)
			c.flush(t)
			for i, want := range tc.texts {
				if got := strings.Join(c.actors[i].texts, " "); got != want {
					t.Errorf("member %d: got %.40q, want %.40q", i, got, want)
				}
			}
			for i, want := range tc.calls {
				if got := c.actors[i].calls; got != want {
					t.Errorf("member %d: got %d writes, want %d", i, got, want)
				}
			}
		})
	}
}

// A group whose publishers never rest leaves its flusher after two rounds.
func TestWalkEnds(t *testing.T) {
	c := newCrowd(4*stride, nil)
	for _, a := range c.actors {
		a.act = func(int) { c.append("more", nil) }
	}
	c.append("a", nil)
	w := c.walk()
	w.run(nil, nil)
	for i, a := range c.actors {
		if a.calls > 2 {
			t.Errorf("member %d got %d writes in one walk, want at most 2", i, a.calls)
		}
	}
	if c.pending == nil {
		t.Error("what was appended at last does not wait for the next walk")
	}
}

func TestWalkReportsEachLegWhenItHasArrived(t *testing.T) {
	type told struct {
		value     any
		receivers int
		calls     int // that the first member had had by then
	}
	var got []told
	var c *crowd
	c = newCrowd(2*stride, func(v any, n int, _ time.Time) { got = append(got, told{v, n, c.actors[0].calls}) })
	c.actors[3].act = func(call int) {
		if call == 1 {
			c.join()
			c.Append(c.f, []byte("b"), c.members[1], "second")
		}
	}
	c.Append(c.f, []byte("a"), nil, "first")
	c.flush(t)
	if want := []told{{"first", 2 * stride, 1}, {"second", 2 * stride, 2}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// FuzzWalk lets members publish, exclude, join and leave while walks pass
// them, and compares what everybody got with what a list of everything says.
func FuzzWalk(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint8(3*stride))
	}
	f.Fuzz(func(t *testing.T, seed uint64, size uint8) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := newCrowd(1+int(size), nil)
		want := make([][]string, len(c.members))
		left := make([]bool, len(c.members))
		published := 0
		publish := func() {
			published++
			text, except := fmt.Sprint(published), random.IntN(2*len(c.members))
			var m *Member
			if except < len(c.members) {
				m = c.members[except]
			}
			c.append(text, m)
			for i := range want {
				if !left[i] && i != except {
					want[i] = append(want[i], text)
				}
			}
		}
		busy := func(int) {
			if published > 200 || random.IntN(8) > 0 {
				return
			}
			switch random.IntN(8) {
			case 0:
				c.join()
				want, left = append(want, nil), append(left, false)
			case 1:
				i := random.IntN(len(c.members))
				c.Leave(c.members[i])
				left[i] = true
			default:
				publish()
			}
		}
		for _, a := range c.actors {
			a.act = busy
		}
		publish()
		c.flush(t)
		for i, a := range c.actors {
			// A member that left may miss the last of what was published before.
			if left[i] && len(a.texts) < len(want[i]) {
				want[i] = want[i][:len(a.texts)]
			}
			if got := a.texts; !slices.Equal(got, want[i]) {
				t.Fatalf("member %d (left: %v): got %v, want %v", i, left[i], got, want[i])
			}
		}
	})
}
