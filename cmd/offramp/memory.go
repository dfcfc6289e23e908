package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// idleEvery is how long must pass with less than idleBytes allocated.
	idleEvery = 500 * time.Millisecond
	idleBytes = 512 << 10
	// worthBytes is what a collection must promise to free, and worthShare
	// which part of the heap that must be.
	worthBytes = 4 << 20
	worthShare = 0.2
	// stormClients is how many connections must have come or gone for their
	// remains to be worth collecting. Nothing else tells of garbage that was
	// not allocated lately.
	stormClients = 1000
)

// releaser gives memory back to the system when nothing happens. Left alone,
// the runtime collects when as much again has been allocated, which after a
// storm of clients may be never, and then returns what is free over many
// minutes. A gateway's memory is mostly that of clients who do nothing.
type releaser struct {
	connections func() int // that are open now

	heap            heap
	fewest, highest int // connections, since memory was last given back
}

// run releases memory until ctx ends.
func (r *releaser) run(ctx context.Context) error {
	ticker := time.NewTicker(idleEvery)
	defer ticker.Stop()
	r.start(readHeap(), r.connections())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if r.due(readHeap(), r.connections()) {
				debug.FreeOSMemory()
				r.start(readHeap(), r.connections())
			}
		}
	}
}

func (r *releaser) start(h heap, connections int) {
	r.heap, r.fewest, r.highest = h, connections, connections
}

// due reports whether it is time to give memory back.
func (r *releaser) due(h heap, connections int) bool {
	r.fewest, r.highest = min(r.fewest, connections), max(r.highest, connections)
	idle := h.allocated-r.heap.allocated < idleBytes
	r.heap = h
	return idle && (h.worthReleasing() || r.highest-r.fewest >= stormClients)
}

// heap is what the runtime says of its heap, in bytes.
type heap struct {
	allocated uint64 // since the start
	objects   uint64 // reachable or not
	live      uint64 // reachable at the last collection
	free      uint64 // not used, and not given back
}

func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	return heap{
		allocated: samples[0].Value.Uint64(), objects: samples[1].Value.Uint64(),
		live: samples[2].Value.Uint64(), free: samples[3].Value.Uint64(),
	}
}

// worthReleasing reports whether a collection would free enough.
func (h heap) worthReleasing() bool {
	spare := h.free
	if h.objects > h.live {
		spare += h.objects - h.live
	}
	return spare >= worthBytes && float64(spare) >= worthShare*float64(h.objects+h.free)
}
