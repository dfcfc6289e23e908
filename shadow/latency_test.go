package shadow

import (
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// A relay tells of a client event only when the vendor had its time to refuse
// it. That wait is not a candidate's latency.
func TestLatencyLeavesOutWhatTheRelayWaited(t *testing.T) {
	s := newScene(true)
	s.subscribe(0, proxy.LegVendor, "1.1", 1)
	ev := s.event(10, "a")
	s.vendor(10.010, "1.1", "a")
	s.offer(proxy.Record{Kind: proxy.KindPublished, At: s.at(10.200), Leg: proxy.LegVendor, Event: ev})
	s.offer(proxy.Record{Kind: proxy.KindMirrored, At: s.at(10.202), Leg: testBackend, Event: ev, Text: "OK"})
	s.backend(10.230, ev)
	s.close(60)

	var sum Latency
	for _, p := range s.state.snapshot(testApp, time.Time{}, s.state.nanos(s.at(60))).Pairs {
		if p.Candidate == testBackend {
			for i := range p.Cells {
				sum.Add(p.Cells[i].Latency)
			}
		}
	}
	if sum.Candidate == nil || sum.Candidate.TotalCount() != 1 {
		t.Fatal("the candidate's latency was not taken")
	}
	if got := time.Duration(sum.Candidate.Max()) * time.Microsecond; got < 29*time.Millisecond || got > 31*time.Millisecond {
		t.Errorf("the candidate's latency is %v, want 30ms", got)
	}
	if got, ok := sum.PairedDelta(0.99); !ok || got < 19*time.Millisecond || got > 21*time.Millisecond {
		t.Errorf("against the reference it is %v, want 20ms", got)
	}
}
