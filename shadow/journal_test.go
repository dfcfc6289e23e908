package shadow

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
)

func openJournal(t *testing.T) *Journal {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "offramp.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	j, err := NewJournal(db)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestEvidenceSurvivesARestart(t *testing.T) {
	j := openJournal(t)
	records, _ := plan{seed: 3, channels: 3, events: 400, every: 20 * time.Millisecond, ids: true, rates: faults{0.01, 0.01, 0.01, 0.01}}.traffic(time.Now())
	before := run(t, Config{}, false, records)
	c, err := before.changes(before.start.Add(time.Minute), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.store(c); err != nil {
		t.Fatal(err)
	}

	again, err := New(Settings{Apps: testApps(false), Journal: j, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	now := before.nanos(before.start.Add(time.Minute))
	want, got := before.snapshot(testApp, time.Time{}, now), again.state.snapshot(testApp, time.Time{}, now)
	if !reflect.DeepEqual(sumOf(got), sumOf(want)) {
		t.Errorf("after a restart:\n got %+v\nwant %+v", sumOf(got), sumOf(want))
	}
	if got.From != want.From || got.To != want.To || got.Coverage != want.Coverage || len(got.Exhibits) != len(want.Exhibits) {
		t.Errorf("after a restart: %v to %v, %+v, %d exhibits; want %v to %v, %+v, %d",
			got.From, got.To, got.Coverage, len(got.Exhibits), want.From, want.To, want.Coverage, len(want.Exhibits))
	}
	for _, q := range []float64{0.5, 0.99} {
		if g, w := latencyOf(got, q), latencyOf(want, q); g != w {
			t.Errorf("after a restart: latency quantile %g is %v, want %v", q, g, w)
		}
	}

	// What comes after the restart is added to what was there.
	more, _ := plan{seed: 4, channels: 3, events: 100, every: 20 * time.Millisecond, ids: true}.traffic(before.start)
	for i := range more {
		again.state.observe(more[i])
	}
	again.state.closeAll(now, true)
	if sum := sumOf(again.state.snapshot(testApp, time.Time{}, now)); sum.Expected != 3*400+3*100 {
		t.Errorf("after more traffic: Expected = %d, want %d", sum.Expected, 3*500)
	}
}

func sumOf(ev Evidence) Counts {
	var sum Counts
	for _, p := range ev.Pairs {
		for i := range p.Cells {
			sum.Add(&p.Cells[i].Counts)
		}
	}
	return sum
}

func latencyOf(ev Evidence, q float64) time.Duration {
	var sum Latency
	for _, p := range ev.Pairs {
		for i := range p.Cells {
			sum.Add(p.Cells[i].Latency)
		}
	}
	return micros(sum.Candidate.ValueAtQuantile(100 * q))
}

func TestOldCellsBecomeHoursAndThenGo(t *testing.T) {
	s := newState(Config{Keep: 48 * time.Hour}.withDefaults(), testApps(false))
	pair, key := pairKey{App: testApp, Reference: proxy.LegEngine, Candidate: testBackend}, Key{Type: "public", Pattern: "room-{int}", Event: "message"}
	began := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	for m := range 120 {
		e, _ := s.ledger.entries(pair, key, began.Add(time.Duration(m)*time.Minute).UnixNano())
		e.counts.Expected++
	}
	spans := func() (minutes, hours, expected int64) {
		for k, e := range s.ledger.cells {
			expected += e.counts.Expected
			if k.Span == hour {
				hours++
			} else {
				minutes++
			}
		}
		return minutes, hours, expected
	}
	roll := func(after time.Duration) []cellKey {
		t.Helper()
		gone, err := s.ledger.roll(began.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return gone
	}
	roll(3 * time.Hour)
	if m, _, n := spans(); m != 120 || n != 120 {
		t.Errorf("after three hours: %d minutes with %d events, want 120 with 120", m, n)
	}
	roll(12 * time.Hour)
	if m, h, n := spans(); m != 0 || h != 2 || n != 120 {
		t.Errorf("after twelve hours: %d minutes and %d hours with %d events, want 0, 2, 120", m, h, n)
	}
	if gone := roll(60 * time.Hour); len(gone) != 2 || len(s.ledger.cells) != 0 {
		t.Errorf("beyond Keep: %d cells went and %d stay, want 2 and none", len(gone), len(s.ledger.cells))
	}
}

func TestOldLatenciesArePackedAndJoinedToDays(t *testing.T) {
	s := newState(Config{}.withDefaults(), testApps(false))
	pair, key := pairKey{App: testApp, Reference: proxy.LegEngine, Candidate: testBackend}, Key{Type: "public", Pattern: "room-{int}", Event: "message"}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for h := range 72 {
		_, times := s.ledger.entries(pair, key, began.Add(time.Duration(h)*time.Hour).UnixNano())
		times.latency.candidate(time.Duration(h+1) * time.Millisecond)
	}
	now := began.Add(73 * time.Hour)
	for range 2 { // days are packed by the next call
		if _, err := s.ledger.roll(now); err != nil {
			t.Fatal(err)
		}
	}
	days, loose := 0, 0
	for k, e := range s.ledger.cells {
		if k.Span == day {
			days++
		}
		if e.latency != nil {
			loose++
		}
	}
	if days != 2 || loose > 4 {
		t.Errorf("%d days and %d cells with histograms in memory, want 2 and at most 4", days, loose)
	}
	ev := s.snapshot(testApp, time.Time{}, s.nanos(now))
	var sum Latency
	for i := range ev.Pairs[0].Cells {
		sum.Add(ev.Pairs[0].Cells[i].Latency)
	}
	if n, longest := sum.Candidate.TotalCount(), micros(sum.Candidate.Max()).Round(time.Millisecond); n != 72 || longest != 72*time.Millisecond {
		t.Errorf("%d latencies, the longest %v, want 72 and 72ms", n, longest)
	}
	// A late one still finds its place.
	_, times := s.ledger.entries(pair, key, began.Add(50*time.Hour).UnixNano())
	times.latency.candidate(time.Millisecond)
	if n := times.latency.Candidate.TotalCount(); n != 2 {
		t.Errorf("the hour of a late latency holds %d, want 2", n)
	}
}
