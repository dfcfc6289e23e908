package redis

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRatesAreSharedByAllNodes(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, DefaultLease), startNode(t, s, 2, DefaultLease)
	began := time.Now()
	var taken atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			got, err := []*testNode{a, b}[i%2].Rates.Take(t.Context(), "app", 1, 5, 10, 100)
			if err != nil {
				t.Error(err)
			}
			taken.Add(int64(got))
		})
	}
	wg.Wait()
	most := 100 + int64(time.Since(began).Seconds()*10) + 1
	if got := taken.Load(); got < 100 || got > most {
		t.Errorf("%d were given out, want 100 to %d", got, most)
	}
	if got, err := a.Rates.Take(t.Context(), "app", 50, 60, 10, 100); err != nil || got != 0 {
		t.Errorf("Take = %d, %v; want none, as there is less than the least", got, err)
	}
	if got, err := a.Rates.Take(t.Context(), "other", 1, 60, 10, 100); err != nil || got != 60 {
		t.Errorf("Take = %d, %v; want all of another app's 60", got, err)
	}
	if got, err := b.Rates.Take(t.Context(), "other", 1, 60, 10, 100); err != nil || got < 40 || got > 45 {
		t.Errorf("Take = %d, %v; want what is left of another app's, 40", got, err)
	}
}
