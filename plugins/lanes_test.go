package plugins

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/translators"
)

// script is a session that answers as told and remembers what it was given.
type script struct {
	mu     sync.Mutex
	calls  [][]uint64 // sequence numbers of each call
	answer func(ctx context.Context, batch []translators.Envelope) []translators.Result
}

func (s *script) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	s.mu.Lock()
	var seqs []uint64
	for _, e := range batch {
		seqs = append(seqs, e.Seq)
	}
	s.calls = append(s.calls, seqs)
	s.mu.Unlock()
	return s.answer(ctx, batch)
}

func (*script) Close(context.Context) error { return nil }

func each(code func(translators.Envelope) translators.Code) func(context.Context, []translators.Envelope) []translators.Result {
	return func(_ context.Context, batch []translators.Envelope) []translators.Result {
		results := make([]translators.Result, len(batch))
		for i, e := range batch {
			results[i].Code = code(e)
		}
		return results
	}
}

// answers collects results by sequence number.
type answers struct {
	mu    sync.Mutex
	codes map[uint64]translators.Code
	order []uint64
}

func (a *answers) task(e translators.Envelope) task {
	return task{item: e, done: func(r translators.Result) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, twice := a.codes[e.Seq]; twice {
			panic(fmt.Sprintf("item %d was answered twice", e.Seq))
		}
		a.codes[e.Seq] = r.Code
		a.order = append(a.order, e.Seq)
	}}
}

func TestLanes(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, a *answers){
		"what failed for now is tried again, in order, before anything later": func(t *testing.T, a *answers) {
			failures := 3
			s := &script{}
			s.answer = func(ctx context.Context, batch []translators.Envelope) []translators.Result {
				if failures > 0 {
					failures--
					results := each(func(translators.Envelope) translators.Code { return translators.CodeOK })(ctx, batch[:1])
					return append(results, translators.RefuseAll(len(batch)-1, translators.CodeTransient, errors.New("away"))...)
				}
				return each(func(translators.Envelope) translators.Code { return translators.CodeOK })(ctx, batch)
			}
			l := newLanes(s)
			for seq := range uint64(10) {
				l.put(a.task(translators.Envelope{Seq: seq}))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			l.drain(context.Background())
			for i, seq := range a.order {
				if uint64(i) != seq {
					t.Fatalf("answers came in the order %v", a.order)
				}
			}
			if len(a.order) != 10 {
				t.Errorf("%d answers, want 10", len(a.order))
			}
		},
		"an item that stays refused is given up at its deadline": func(t *testing.T, a *answers) {
			s := &script{answer: each(func(translators.Envelope) translators.Code { return translators.CodeTransient })}
			l := newLanes(s)
			start := time.Now()
			l.put(a.task(translators.Envelope{Seq: 1, Deadline: start.Add(5 * time.Second)}))
			for a.code(1) == 0 && time.Since(start) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			if a.code(1) != translators.CodeExpired || time.Since(start) > 6*time.Second {
				t.Errorf("answer %s after %s, want EXPIRED after 5s", a.code(1), time.Since(start))
			}
			l.drain(context.Background())
		},
		"an item whose deadline has passed is not tried": func(t *testing.T, a *answers) {
			s := &script{answer: each(func(translators.Envelope) translators.Code { return translators.CodeOK })}
			l := newLanes(s)
			l.put(a.task(translators.Envelope{Seq: 1, Deadline: time.Now()}))
			synctest.Wait()
			if a.code(1) != translators.CodeExpired || len(s.calls) != 0 {
				t.Errorf("answer %s after %d calls, want EXPIRED after none", a.code(1), len(s.calls))
			}
			l.drain(context.Background())
		},
		"one lane's trouble does not hold up another": func(t *testing.T, a *answers) {
			s := &script{answer: each(func(e translators.Envelope) translators.Code {
				if e.Lane == 1 {
					return translators.CodeTransient
				}
				return translators.CodeOK
			})}
			l := newLanes(s)
			l.put(a.task(translators.Envelope{Seq: 1, Lane: 1}))
			l.put(a.task(translators.Envelope{Seq: 2, Lane: 2}))
			synctest.Wait()
			if a.code(1) != 0 || a.code(2) != translators.CodeOK {
				t.Errorf("answers %s and %s, want none and OK", a.code(1), a.code(2))
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if left := l.drain(ctx); left != 1 {
				t.Errorf("%d items left, want the 1 that fails", left)
			}
		},
		"too few results are the translator's mistake": func(t *testing.T, a *answers) {
			s := &script{answer: func(context.Context, []translators.Envelope) []translators.Result { return nil }}
			l := newLanes(s)
			l.put(a.task(translators.Envelope{Seq: 1}))
			synctest.Wait()
			if a.code(1) != translators.CodeFatal {
				t.Errorf("answer %s, want FATAL", a.code(1))
			}
			l.drain(context.Background())
		},
		"a result without a code is too": func(t *testing.T, a *answers) {
			s := &script{answer: each(func(translators.Envelope) translators.Code { return 0 })}
			l := newLanes(s)
			l.put(a.task(translators.Envelope{Seq: 1}))
			synctest.Wait()
			if a.code(1) != translators.CodeFatal {
				t.Errorf("answer %s, want FATAL", a.code(1))
			}
			l.drain(context.Background())
		},
		"more than the credit is refused": func(t *testing.T, a *answers) {
			s := &script{answer: func(ctx context.Context, batch []translators.Envelope) []translators.Result {
				<-ctx.Done()
				return translators.RefuseAll(len(batch), translators.CodeTransient, ctx.Err())
			}}
			l := newLanes(s)
			for seq := range uint64(creditWindow) {
				if !l.put(a.task(translators.Envelope{Seq: seq})) {
					t.Fatalf("item %d of %d was refused", seq, creditWindow)
				}
			}
			if l.put(a.task(translators.Envelope{Seq: creditWindow})) {
				t.Error("an item beyond the credit was taken")
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			l.drain(ctx)
		},
		"draining answers what is under way and takes nothing more": func(t *testing.T, a *answers) {
			s := &script{answer: func(_ context.Context, batch []translators.Envelope) []translators.Result {
				time.Sleep(time.Second)
				return each(func(translators.Envelope) translators.Code { return translators.CodeOK })(nil, batch)
			}}
			l := newLanes(s)
			for seq := range uint64(100) {
				l.put(a.task(translators.Envelope{Seq: seq}))
			}
			if left := l.drain(context.Background()); left != 0 || len(a.order) != 100 {
				t.Errorf("%d left and %d answered, want 0 and 100", left, len(a.order))
			}
			l.put(a.task(translators.Envelope{Seq: 100}))
			if a.code(100) != translators.CodeTransient || l.credit() != 0 {
				t.Errorf("answer %s with credit %d after the drain, want TRANSIENT with 0", a.code(100), l.credit())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, &answers{codes: map[uint64]translators.Code{}}) })
		})
	}
}

func (a *answers) code(seq uint64) translators.Code {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.codes[seq]
}

func TestLanesWaitAsLongAsAThrottlingBackendAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{codes: map[uint64]translators.Code{}}
		start, again := time.Now(), time.Duration(0)
		s := &script{answer: func(_ context.Context, batch []translators.Envelope) []translators.Result {
			if again == 0 {
				again = time.Since(start) + 1
				return []translators.Result{{Code: translators.CodeTransient, RetryAfter: 3 * time.Second}}
			}
			again = time.Since(start)
			return []translators.Result{translators.OK()}
		}}
		l := newLanes(s)
		l.put(a.task(translators.Envelope{Seq: 1}))
		time.Sleep(time.Minute)
		synctest.Wait()
		if again < 3*time.Second {
			t.Errorf("tried again after %s, want 3s", again)
		}
		l.drain(context.Background())
	})
}
