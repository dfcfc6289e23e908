package engine

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// schedule holds values until they fall due. It replaces a timer per value:
// one goroutine waits for the earliest. A value cannot be taken back; whoever
// it is handed to looks whether it still matters. Its length is bounded by
// its users: each keeps at most one entry per channel or connection.
type schedule[T any] struct {
	wake chan struct{} // capacity 1: the earliest time has changed

	mu    sync.Mutex
	queue dueHeap[T]
}

func newSchedule[T any]() *schedule[T] { return &schedule[T]{wake: make(chan struct{}, 1)} }

// add files a value under the time at which it falls due.
func (s *schedule[T]) add(at time.Time, value T) {
	s.mu.Lock()
	heap.Push(&s.queue, due[T]{at, value})
	earliest := s.queue[0].at.Equal(at)
	s.mu.Unlock()
	if earliest {
		select {
		case s.wake <- struct{}{}:
		default: // it is about to look anyway
		}
	}
}

// len returns how many values wait.
func (s *schedule[T]) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// run hands each value to fire once it is due, until ctx ends.
func (s *schedule[T]) run(ctx context.Context, fire func(T)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := time.Hour
		for {
			value, wait, ok := s.pop(time.Now())
			if !ok {
				if wait > 0 {
					next = wait
				}
				break
			}
			fire(value)
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// pop returns the earliest value if it is due, else how long it has to wait;
// 0 if there is none.
func (s *schedule[T]) pop(now time.Time) (value T, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return value, 0, false
	}
	if wait := s.queue[0].at.Sub(now); wait > 0 {
		return value, wait, false
	}
	return heap.Pop(&s.queue).(due[T]).value, 0, true
}

type due[T any] struct {
	at    time.Time
	value T
}

// dueHeap implements heap.Interface, earliest first.
type dueHeap[T any] []due[T]

func (h dueHeap[T]) Len() int           { return len(h) }
func (h dueHeap[T]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap[T]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dueHeap[T]) Push(x any) { *h = append(*h, x.(due[T])) }

// Pop implements heap.Interface.
func (h *dueHeap[T]) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = due[T]{}
	*h = (*h)[:last]
	return x
}
