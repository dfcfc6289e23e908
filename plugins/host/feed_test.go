package host

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestALoneEventWaitsForNothingAndTheRestForCompany(t *testing.T) {
	for name, tc := range map[string]struct {
		since time.Duration // the last batch
		waits time.Duration
	}{
		"none was sent in a while": {time.Second, 0},
		"one was sent just now":    {batchLinger / 4, batchLinger - batchLinger/4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &link{book: newBook(10, 1<<20, false)}
				signal(l.book.work)
				sent := time.Now()
				time.Sleep(tc.since)
				company := time.NewTimer(0)
				before := time.Now()
				if !l.await(t.Context(), company, sent) {
					t.Fatal("it gave up")
				}
				if got := time.Since(before); got != tc.waits {
					t.Errorf("it waited %s, want %s", got, tc.waits)
				}
			})
		})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	l := &link{book: newBook(10, 1<<20, false)}
	if l.await(ended, time.NewTimer(0), time.Now()) {
		t.Error("it went on when it was to end")
	}
}
