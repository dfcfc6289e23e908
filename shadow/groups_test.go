package shadow

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// TestLargestGroupsAreFound counts a skewed stream in several summaries that
// are merged, and holds the result against the truth.
func TestLargestGroupsAreFound(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 1))
		zipf := rand.NewZipf(rng, 1.2, 1, 2000)
		truth := make(map[string]int64)
		var merged Groups
		const parts, each = 6, 4_000
		for range parts {
			part := make(Groups)
			for range each {
				name := fmt.Sprint(zipf.Uint64())
				truth[name]++
				part.of(name).Events++
			}
			merged.merge(part)
		}
		if len(merged) != maxGroups {
			t.Fatalf("%d groups, want %d", len(merged), maxGroups)
		}
		for name, n := range truth {
			g := merged[name]
			switch {
			case g == nil && n > parts*each/maxGroups:
				t.Errorf("seed %d: %s with %d of %d events is not among the largest", seed, name, n, parts*each)
			case g != nil && (g.Events < n || g.Events-g.Error > n):
				t.Errorf("seed %d: %s has %d events, of which %d may be too many; in truth %d", seed, name, g.Events, g.Error, n)
			}
		}
	}
}

func groupsOf(s *state, reference, candidate proxy.Leg, dimension string) map[string]Group {
	out := make(map[string]Group)
	for k, e := range s.ledger.cells {
		if by, ok := GroupedBy(k.Key); ok && by == dimension && k.Pair.Reference == reference && k.Pair.Candidate == candidate {
			for _, g := range e.counts.Groups.Largest() {
				out[g.Name] = g.Group
			}
		}
	}
	return out
}

func TestFindingsAreBrokenDownByPublisher(t *testing.T) {
	s := newScene(false)
	for i := range 10 {
		ev := s.event(10+float64(i), fmt.Sprint(i))
		if ev.By = "key ruby"; i%2 == 0 {
			ev.By = "key php"
		}
		s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
		s.offer(proxy.Record{Kind: proxy.KindDelivered, At: ev.At, Leg: proxy.LegEngine, Event: ev, Count: 1})
		s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: "OK"})
		if i != 4 {
			s.backend(10.1+float64(i), ev)
		}
		if i == 7 {
			s.backend(10.2+float64(i), ev)
		}
	}
	s.close(60)
	got := groupsOf(s.state, proxy.LegEngine, testBackend, ByPublisher)
	if want := (Group{Events: 5, Missing: 1}); got["key php"] != want {
		t.Errorf("php: got %+v, want %+v", got["key php"], want)
	}
	if want := (Group{Events: 5, Duplicate: 1}); got["key ruby"] != want {
		t.Errorf("ruby: got %+v, want %+v", got["key ruby"], want)
	}
}

func TestDeliveriesAreBrokenDownByLibrary(t *testing.T) {
	s := newScene(true)
	for _, id := range []string{"1.1", "1.2"} {
		library := map[string]string{"1.1": "js", "1.2": "swift"}[id]
		socket := protocol.SocketID(id)
		s.offer(proxy.Record{Kind: proxy.KindConnected, At: s.at(0), Leg: proxy.LegVendor, Socket: socket, Client: &proxy.Client{Library: library, Version: "1"}})
		s.subscribe(1, proxy.LegVendor, socket, 1)
		s.subscribe(1, proxy.LegEngine, socket, 1)
	}
	for i := range 4 {
		ev := s.event(10+float64(i), fmt.Sprint(i))
		s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegVendor, Event: ev})
		for _, id := range []string{"1.1", "1.2"} {
			seen := &proxy.Event{Topic: s.topic, Name: ev.Name, Data: ev.Data}
			s.offer(proxy.Record{Kind: proxy.KindDelivered, At: s.at(10.02 + float64(i)), Leg: proxy.LegVendor, Socket: protocol.SocketID(id), Event: seen})
			if id == "1.2" && i == 2 {
				continue
			}
			s.offer(proxy.Record{Kind: proxy.KindDelivered, At: s.at(10.03 + float64(i)), Leg: proxy.LegEngine, Socket: protocol.SocketID(id), Event: seen, Count: 1})
		}
	}
	s.close(60)
	got := groupsOf(s.state, proxy.LegVendor, proxy.LegEngine, ByLibrary)
	if want := (Group{Events: 4}); got["js 1"] != want {
		t.Errorf("js: got %+v, want %+v", got["js 1"], want)
	}
	if c := total(s.state, proxy.LegVendor, proxy.LegEngine); c.Expected != 4 || c.Missing != 1 {
		t.Errorf("an event that one of two doubles was not given: %+v", c)
	}
	if want := (Group{Events: 4, Missing: 1}); got["swift 1"] != want {
		t.Errorf("swift: got %+v, want %+v", got["swift 1"], want)
	}
}
