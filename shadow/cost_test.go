package shadow

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// BenchmarkCompare measures the whole of one event: published, delivered by
// the engine, answered and delivered by a backend.
func BenchmarkCompare(b *testing.B) {
	for _, rate := range []float64{0, 1e-2} {
		b.Run(fmt.Sprintf("faults=%g", rate), func(b *testing.B) {
			p := plan{channels: 50, events: 2000, every: 20 * time.Millisecond, ids: true, rates: faults{rate, rate, rate, rate}}
			records, in := p.traffic(time.Now())
			b.ReportAllocs()
			for b.Loop() {
				run(b, Config{}, false, records)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(int64(b.N)*in.events), "ns/event")
		})
	}
}

// BenchmarkOffer measures what a record costs the one who offers it.
func BenchmarkOffer(b *testing.B) {
	q := newQueue(1 << 16)
	r := proxy.Record{Kind: proxy.KindDelivered}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		q.offer(&r)
		if n%1024 == 0 {
			q.take()
		}
	}
}

// TestOpenComparisonsFitInMemory holds a million comparisons open: published,
// and delivered by the reference, each.
func TestOpenComparisonsFitInMemory(t *testing.T) {
	const comparisons, bound = 1_000_000, 512 << 20
	before := heap()
	s := newState(Config{OpenWindow: 4_000_000, ChannelWindow: 200_000}.withDefaults(), testApps(false))
	start := time.Now()
	for c := range 10 {
		topic := proxy.Topic{App: testApp, Channel: protocol.ChannelName(fmt.Sprint("room-", c))}
		for i := range comparisons / 10 {
			at := start.Add(time.Duration(i) * time.Microsecond)
			ev := &proxy.Event{ID: proxy.EventID{Node: uint64(c), Seq: uint64(i)}, Topic: topic, Name: "message", Data: []byte("a payload"), At: at}
			s.observe(&proxy.Record{Kind: proxy.KindPublished, At: at, Leg: proxy.LegEngine, Topic: topic, Event: ev})
			s.observe(&proxy.Record{Kind: proxy.KindDelivered, At: at, Leg: proxy.LegEngine, Topic: topic, Event: ev, Count: 1})
		}
	}
	s.sweep(s.nanos(start.Add(5 * time.Second)))
	used := heap() - before
	if s.open != 2*comparisons {
		t.Errorf("%d events and arrivals are open, want %d", s.open, 2*comparisons)
	}
	if used > bound {
		t.Errorf("%d comparisons take %d MiB, want at most %d", comparisons, used>>20, bound>>20)
	}
	t.Logf("%d comparisons take %d MiB", comparisons, used>>20)
	runtime.KeepAlive(s)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
