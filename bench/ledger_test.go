package bench

import (
	"strings"
	"testing"
)

// counts is what a ledger says at the end.
type counts struct {
	delivered, duplicated, disordered, unknown uint64
	lost                                       int64
}

func countsOf(l *ledger) counts {
	return counts{l.delivered, l.duplicated, l.disordered, l.unknown, l.lost()}
}

func TestLedger(t *testing.T) {
	// Two receivers, two lanes. Messages 1, 3, 5 are lane 0's, 2, 4, 6 lane 1's.
	for name, tc := range map[string]struct {
		first, second []uint32 // arrivals
		want          counts
	}{
		"everything in order": {
			[]uint32{1, 2, 3, 4, 5, 6}, []uint32{1, 2, 3, 4, 5, 6}, counts{delivered: 12},
		},
		"lanes interleave as they like": {
			[]uint32{1, 3, 5, 2, 4, 6}, []uint32{2, 4, 6, 1, 3, 5}, counts{delivered: 12},
		},
		"one lost at the end": {
			[]uint32{1, 2, 3, 4, 5}, []uint32{1, 2, 3, 4, 5, 6}, counts{delivered: 11, lost: 1},
		},
		"one lost in the middle": {
			[]uint32{1, 2, 4, 5, 6}, []uint32{1, 2, 3, 4, 5, 6}, counts{delivered: 11, lost: 1},
		},
		"one delivered twice": {
			[]uint32{1, 2, 3, 3, 4, 5, 6}, []uint32{1, 2, 3, 4, 5, 6}, counts{delivered: 12, duplicated: 1},
		},
		"an old one delivered again": {
			[]uint32{1, 2, 3, 4, 5, 6, 1}, []uint32{1, 2, 3, 4, 5, 6}, counts{delivered: 12, duplicated: 1},
		},
		"two swapped": {
			[]uint32{3, 2, 1, 4, 5, 6}, []uint32{1, 2, 3, 4, 5, 6}, counts{delivered: 12, disordered: 1},
		},
		"a loss is not hidden by a duplicate": {
			[]uint32{1, 1, 2, 4, 5, 6}, []uint32{1, 2, 3, 4, 5, 6}, counts{delivered: 11, duplicated: 1, lost: 1},
		},
		"one that was never sent": {
			[]uint32{1, 2, 3, 4, 5, 6, 7}, []uint32{1, 2, 3, 4, 5, 6}, counts{delivered: 12, unknown: 1},
		},
		"nothing at all": {nil, nil, counts{lost: 12}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(2, 2, false)
			for i := range 6 {
				l.issue(i%2, 2, 0)
			}
			for receiver, arrivals := range [][]uint32{tc.first, tc.second} {
				for _, number := range arrivals {
					l.observe(receiver, appendPayload(nil, number, 20), 0)
				}
			}
			if got := countsOf(l); got != tc.want {
				t.Errorf("counts = %+v, want %+v", got, tc.want)
			}
			perfect := tc.want == counts{delivered: 12}
			if err := l.verify(); (err == nil) != perfect {
				t.Errorf("verify = %v with counts %+v", err, tc.want)
			}
			if done := l.outstanding == 0; done != (tc.want.lost == 0) {
				t.Errorf("outstanding = %d with %d lost", l.outstanding, tc.want.lost)
			}
		})
	}
}

func TestLedgerOfPrivateLanes(t *testing.T) {
	l := newLedger(2, 4, true) // lanes 1 and 3 are receiver 1's
	for lane := range 4 {
		l.issue(lane, 1, 0)
	}
	for _, arrival := range []struct{ receiver, number int }{{0, 1}, {1, 2}, {0, 3}, {0, 4}} {
		l.observe(arrival.receiver, appendPayload(nil, uint32(arrival.number), MinPayload), 0)
	}
	if got, want := countsOf(l), (counts{delivered: 3, unknown: 1, lost: 1}); got != want {
		t.Errorf("counts = %+v, want %+v: lane 3 came to the wrong receiver", got, want)
	}
}

func TestObserveFindsEveryPayload(t *testing.T) {
	payload := func(number uint32) string { return string(appendPayload(nil, number, 16)) }
	for name, tc := range map[string]struct {
		text string
		want int
	}{
		"one":                              {`{"data":"` + payload(1) + `"}`, 1},
		"two joined, as Centrifugo does":   {`{"d":"` + payload(1) + "\"}\n{\"d\":\"" + payload(2) + `"}`, 2},
		"at another place than the last":   {`{"data":"` + payload(1) + `"}` + strings.Repeat(" ", 40) + payload(2), 2},
		"none":                             {`{"event":"pusher:pong"}`, 0},
		"a marker with nothing behind it":  {`{"data":"~#"}`, 0},
		"a marker whose number is cut off": {`{"data":"~#0000`, 0},
		"a marker without a number":        {`{"data":"~#not-hex!"}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(1, 1, false)
			l.issue(0, 1, 0)
			l.issue(0, 1, 0)
			if got := l.observe(0, []byte(tc.text), 0); got != tc.want {
				t.Errorf("observe(%q) = %d, want %d", tc.text, got, tc.want)
			}
		})
	}
}

func TestLatencyIsRecordedOnlyWhileMeasuring(t *testing.T) {
	l := newLedger(1, 1, false)
	first, second := l.issue(0, 1, 0), l.issue(0, 1, 1_000_000)
	l.observe(0, appendPayload(nil, first, 16), 9_000_000)
	l.measuring = true
	l.observe(0, appendPayload(nil, second, 16), 3_500_000)
	if got := quantiles(l.latency); got == nil || l.measured != 1 || got.Max/10 != 250 {
		t.Errorf("measured %d, latency %+v, want one delivery of 2500 µs", l.measured, got)
	}
}

func BenchmarkObserve(b *testing.B) {
	l := newLedger(1000, 8, false)
	l.measuring = true
	text := append([]byte(`{"event":"bench","channel":"fanout","data":"`), appendPayload(nil, l.issue(0, 1000, 0), 128)...)
	receiver := 0
	b.ReportAllocs()
	for b.Loop() {
		l.last[receiver*8] = 0
		l.observe(receiver, text, 1_000_000)
		receiver = (receiver + 1) % 1000
	}
}
