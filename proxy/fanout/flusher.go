package fanout

import (
	"context"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Flusher flushes groups. It keeps one goroutine per processor; each group
// always falls to the same one, which keeps its frames in order.
type Flusher struct {
	workers   []*worker
	delivered func(value any, receivers int, at time.Time)
}

// worker is one flushing goroutine and the list of groups that wait for it.
type worker struct {
	wake chan struct{} // capacity 1: the list is not empty

	mu     sync.Mutex
	groups []*Group // at most one entry per group, so bounded by their number
}

// NewFlusher returns a flusher. delivered, if not nil, is called for each
// marked frame after it was handed to its group's members; it must not block.
func NewFlusher(delivered func(value any, receivers int, at time.Time)) *Flusher {
	f := &Flusher{delivered: delivered, workers: make([]*worker, runtime.GOMAXPROCS(0))}
	for i := range f.workers {
		f.workers[i] = &worker{wake: make(chan struct{}, 1)}
	}
	return f
}

// Run flushes until ctx ends, and returns when all its goroutines have.
// What is still pending then is flushed first.
func (f *Flusher) Run(ctx context.Context) error {
	var l *look // several processors need none: one of them is idle, or all have enough to do
	if len(f.workers) == 1 {
		l = newLook()
		defer l.close()
	}
	var wg sync.WaitGroup
	for _, w := range f.workers {
		wg.Go(func() { w.run(ctx, l, f.delivered) })
	}
	wg.Wait()
	return nil
}

func (f *Flusher) enqueue(g *Group) {
	w := f.workers[0]
	if len(f.workers) > 1 {
		w = f.workers[int(uintptr(unsafe.Pointer(g))>>6)%len(f.workers)]
	}
	w.mu.Lock()
	w.groups = append(w.groups, g)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it is awake, and will find the group on its list
	}
}

func (w *worker) run(ctx context.Context, l *look, delivered func(any, int, time.Time)) {
	var pause func()
	if l != nil {
		pause = func() {
			l.around()
			runtime.Gosched()
		}
	}
	var spare []*Group
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			w.drain(spare, nil, delivered)
			return
		}
		// Publishers whose requests have arrived come first: what they append
		// goes out in the same writes.
		l.around()
		runtime.Gosched()
		spare = w.drain(spare, pause, delivered)
	}
}

// drain flushes every group on the list once and returns the list's memory.
func (w *worker) drain(spare []*Group, pause func(), delivered func(any, int, time.Time)) []*Group {
	w.mu.Lock()
	groups := w.groups
	w.groups = spare[:0]
	w.mu.Unlock()
	for i, g := range groups {
		if walk := g.walk(); walk != nil {
			walk.run(pause, delivered)
		}
		groups[i] = nil
	}
	return groups[:0]
}
