package fanout

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// inbox is an Outlet that remembers the texts it was sent.
type inbox struct {
	mu    sync.Mutex
	texts []string
	calls int
}

func (in *inbox) Send(b *Batch, from int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.calls++
	for i := from; i < b.Len(); i++ {
		in.texts = append(in.texts, string(b.Payload(i)))
	}
	return true
}

func (in *inbox) want(t *testing.T, want string) {
	t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	if got := strings.Join(in.texts, " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// runFlusher runs a flusher until the test ends.
func runFlusher(t testing.TB, delivered func(any, int, time.Time)) *Flusher {
	t.Helper()
	f := NewFlusher(delivered)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestGroupDelivers(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(f *Flusher, g *Group, a, b *Member)
		a, b string
	}{
		"to every member in order": {
			do: func(f *Flusher, g *Group, a, b *Member) {
				g.Join(a, nil)
				g.Join(b, nil)
				for i := range 5 {
					g.Append(f, fmt.Append(nil, i), nil, nil)
				}
			},
			a: "0 1 2 3 4", b: "0 1 2 3 4",
		},
		"nothing that was appended before joining": {
			do: func(f *Flusher, g *Group, a, b *Member) {
				g.Join(a, nil)
				g.Append(f, []byte("1"), nil, nil)
				g.Append(f, []byte("2"), nil, nil)
				g.Join(b, nil)
				g.Append(f, []byte("3"), nil, nil)
			},
			a: "1 2 3", b: "3",
		},
		"nothing to a newcomer for whom nothing follows": {
			do: func(f *Flusher, g *Group, a, b *Member) {
				g.Join(a, nil)
				g.Append(f, []byte("1"), nil, nil)
				g.Join(b, nil)
			},
			a: "1",
		},
		"nothing after leaving": {
			do: func(f *Flusher, g *Group, a, b *Member) {
				g.Join(a, nil)
				g.Join(b, nil)
				g.Append(f, []byte("1"), nil, nil)
				synctest.Wait()
				g.Leave(a)
				g.Append(f, []byte("2"), nil, nil)
			},
			a: "1", b: "1 2",
		},
		"nothing that still waited when a member left": {
			do: func(f *Flusher, g *Group, a, b *Member) {
				g.Join(a, nil)
				g.Join(b, nil)
				g.Append(f, []byte("1"), nil, nil)
				g.Leave(a)
			},
			b: "1",
		},
		"not to the excluded member": {
			do: func(f *Flusher, g *Group, a, b *Member) {
				g.Join(a, nil)
				g.Join(b, nil)
				g.Append(f, []byte("1"), a, nil)
				g.Append(f, []byte("2"), b, nil)
				g.Append(f, []byte("3"), nil, nil)
				g.Append(f, []byte("4"), a, nil)
			},
			a: "2 3", b: "1 3 4",
		},
		"not at all to a member that is excluded from everything": {
			do: func(f *Flusher, g *Group, a, b *Member) {
				g.Join(a, nil)
				g.Join(b, nil)
				g.Append(f, []byte("1"), a, nil)
				g.Append(f, []byte("2"), a, nil)
			},
			b: "1 2",
		},
		"what joining sends comes first": {
			do: func(f *Flusher, g *Group, a, b *Member) {
				g.Join(a, func() { a.Outlet.Send(One([]byte("welcome")), 0) })
				g.Append(f, []byte("1"), nil, nil)
			},
			a: "welcome 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := runFlusher(t, nil)
				var g Group
				var a, b inbox
				tc.do(f, &g, &Member{Outlet: &a}, &Member{Outlet: &b})
				synctest.Wait()
				a.want(t, tc.a)
				b.want(t, tc.b)
			})
		})
	}
}

func TestGroupCountsMembers(t *testing.T) {
	f := NewFlusher(nil)
	var g Group
	a, b := &Member{Outlet: &inbox{}}, &Member{Outlet: &inbox{}}
	got := []int{
		g.Append(f, []byte("x"), nil, nil), g.Join(a, nil), g.Join(b, nil), g.Append(f, []byte("x"), nil, nil),
		g.Leave(a), g.Leave(a), g.Len(), g.Leave(b), g.Append(f, []byte("x"), nil, nil), g.Len(),
	}
	if want := []int{0, 1, 2, 2, 1, 1, 1, 0, 0, 0}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What waits when the flusher comes to a group goes out as one batch.
func TestGroupGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFlusher(nil)
		var g Group
		var a inbox
		g.Join(&Member{Outlet: &a}, nil)
		for i := range 3 {
			g.Append(f, fmt.Append(nil, i), nil, nil)
		}
		ctx, stop := context.WithCancel(t.Context())
		go f.Run(ctx)
		synctest.Wait()
		a.want(t, "0 1 2")
		if a.calls != 1 {
			t.Errorf("3 frames took %d calls, want 1", a.calls)
		}
		stop()
	})
}

func TestMarksTellReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type told struct {
			value     any
			receivers int
		}
		var got []told
		f := NewFlusher(func(v any, n int, at time.Time) {
			if at.IsZero() {
				t.Error("without a time")
			}
			got = append(got, told{v, n})
		})
		var g Group
		a, b, c := &Member{Outlet: &inbox{}}, &Member{Outlet: &inbox{}}, &Member{Outlet: &inbox{}}
		g.Join(a, nil)
		g.Append(f, []byte("x"), nil, "for a")
		g.Join(b, nil)
		g.Append(f, []byte("x"), nil, nil)
		g.Append(f, []byte("x"), a, "for b")
		g.Join(c, nil)
		g.Append(f, []byte("x"), nil, "for all")
		ctx, stop := context.WithCancel(t.Context())
		go f.Run(ctx)
		synctest.Wait()
		stop()
		synctest.Wait()
		if want := []told{{"for a", 1}, {"for b", 1}, {"for all", 3}}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// Frames that still wait when the flusher is told to end are sent.
func TestFlusherFinishes(t *testing.T) {
	f := NewFlusher(nil)
	var g Group
	var a inbox
	g.Join(&Member{Outlet: &a}, nil)
	g.Append(f, []byte("last"), nil, nil)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
	a.want(t, "last")
}

// blocked is an Outlet that holds up its flusher until released.
type blocked struct{ release chan struct{} }

func (b blocked) Send(*Batch, int) bool {
	<-b.release
	return true
}

// A publisher that outruns the flusher waits, so that what gathers is bounded.
func TestAppendIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := runFlusher(t, nil)
		var g Group
		slow := blocked{make(chan struct{})}
		g.Join(&Member{Outlet: slow}, nil)
		frame := make([]byte, 10<<10)
		appended := 0
		go func() {
			for appended < 100 {
				g.Append(f, frame, nil, nil)
				appended++
			}
		}()
		synctest.Wait()
		// One batch is with the flusher, and one gathers.
		if limit := 2 * (maxPending/len(frame) + 1); appended > limit {
			t.Errorf("%d frames of 10 KiB gathered, want at most %d", appended, limit)
		}
		close(slow.release)
		synctest.Wait()
		if appended != 100 {
			t.Errorf("%d frames were appended in the end, want 100", appended)
		}
	})
}

// Many publish, join and leave at once. Every member must see, of each
// publisher, consecutive numbers, from its own joining to its own leaving.
func TestGroupUnderLoad(t *testing.T) {
	const publishers, frames, members = 4, 500, 20
	f := runFlusher(t, nil)
	var g Group
	constant := &inbox{}
	g.Join(&Member{Outlet: constant}, nil)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range frames {
				g.Append(f, fmt.Appendf(nil, "%d:%d", p, i), nil, nil)
			}
		})
	}
	boxes := make([]inbox, members)
	for i := range boxes {
		wg.Go(func() {
			for range 20 {
				m := &Member{Outlet: &boxes[i]}
				g.Join(m, func() { boxes[i].Send(One([]byte("join")), 0) })
				g.Append(f, fmt.Appendf(nil, "of %d", i), m, nil)
				g.Leave(m)
			}
		})
	}
	wg.Wait()
	last := make(chan struct{})
	end := &closer{seen: last}
	g.Join(&Member{Outlet: end}, nil)
	g.Append(f, []byte("end"), nil, nil)
	<-last
	checkConsecutive(t, constant.texts, publishers, frames)
	for i := range boxes {
		checkNoGaps(t, boxes[i].texts)
	}
}

// closer closes seen at the first frame.
type closer struct {
	once sync.Once
	seen chan struct{}
}

func (c *closer) Send(*Batch, int) bool {
	c.once.Do(func() { close(c.seen) })
	return true
}

func checkConsecutive(t *testing.T, texts []string, publishers, frames int) {
	t.Helper()
	next := make([]int, publishers)
	for _, text := range texts {
		var p, i int
		if n, _ := fmt.Sscanf(text, "%d:%d", &p, &i); n != 2 {
			continue
		}
		if i != next[p] {
			t.Fatalf("publisher %d: got frame %d, want %d", p, i, next[p])
		}
		next[p]++
	}
	for p, n := range next {
		if n != frames {
			t.Errorf("publisher %d: got %d frames, want %d", p, n, frames)
		}
	}
}

// checkNoGaps checks one member's frames between each of its joins.
func checkNoGaps(t *testing.T, texts []string) {
	t.Helper()
	next := map[int]int{}
	for _, text := range texts {
		var p, i int
		if text == "join" {
			clear(next)
			continue
		}
		if n, _ := fmt.Sscanf(text, "%d:%d", &p, &i); n != 2 {
			continue
		}
		if want, seen := next[p]; seen && i != want {
			t.Fatalf("publisher %d: got frame %d, want %d", p, i, want)
		}
		next[p] = i + 1
	}
}
