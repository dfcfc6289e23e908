package report

import (
	"math/rand/v2"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow"

	"github.com/HdrHistogram/hdrhistogram-go"
)

var start = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// made is made-up evidence: traffic on four patterns over some minutes.
type made struct {
	minutes int
	perCell int64
	faults  func(pattern string, minute int) shadow.Counts // added to what matched
}

func (m made) evidence() shadow.Evidence {
	rng := rand.New(rand.NewPCG(1, 2))
	ev := shadow.Evidence{
		App: "app-id", From: start, To: start.Add(time.Duration(m.minutes) * time.Minute), Stage: proxy.StageShadow,
		Coverage: shadow.Coverage{Delivered: 1000, Published: 998},
		Health:   shadow.Health{Records: 48_000, Gaps: 1, Lag: 3 * time.Millisecond},
	}
	pair := shadow.Pair{Reference: proxy.LegVendor, Candidate: "nats"}
	for minute := range m.minutes {
		for _, key := range []shadow.Key{
			{Type: "presence", Pattern: "presence-room-{int}", Event: "message"},
			{Type: "private", Pattern: "private-user-{uuid}", Event: "notice"},
			{Type: "public", Pattern: "ticker-{int}", Event: "price"},
			{Type: "public", Pattern: "other", Event: "other"},
		} {
			pair.Cells = append(pair.Cells, m.cell(rng, key, minute))
		}
	}
	ev.Pairs = []shadow.Pair{pair}
	return ev
}

func (m made) cell(rng *rand.Rand, key shadow.Key, minute int) shadow.Cell {
	c := shadow.Cell{Key: key, Start: start.Add(time.Duration(minute) * time.Minute), Span: time.Minute}
	if m.faults != nil {
		c.Counts = m.faults(key.Pattern, minute)
	}
	n := &c.Counts
	n.Expected = m.perCell
	n.Matched = m.perCell - n.Missing - n.PayloadDiffers
	e, x := float64(n.Expected), float64(n.Missing)
	n.Clusters = shadow.Clusters{Number: 1, N2: e * e, X2: x * x, NX: e * x, X4: x * x * x * x}
	if minute == 0 {
		c.Latency = latencies(rng)
	}
	return c
}

func latencies(rng *rand.Rand) *shadow.Latency {
	l := &shadow.Latency{
		Reference: hdrhistogram.New(1, 600_000_000, 2), Candidate: hdrhistogram.New(1, 600_000_000, 2),
		Slower: hdrhistogram.New(1, 600_000_000, 2), Faster: hdrhistogram.New(1, 600_000_000, 2),
	}
	for range 2000 {
		ref := int64(20_000 + rng.ExpFloat64()*15_000)
		cand := int64(1_500 + rng.ExpFloat64()*2_000)
		_ = l.Reference.RecordValue(ref)
		_ = l.Candidate.RecordValue(cand)
		if cand > ref {
			_ = l.Slower.RecordValue(cand - ref)
		} else {
			_ = l.Faster.RecordValue(ref - cand)
		}
	}
	return l
}

// faulty is evidence with every kind of finding.
func faulty() shadow.Evidence {
	ev := made{minutes: 40, perCell: 500, faults: func(pattern string, minute int) shadow.Counts {
		switch {
		case pattern == "ticker-{int}" && minute%5 == 0:
			return shadow.Counts{Missing: 4, Duplicate: 2}
		case pattern == "presence-room-{int}" && minute > 20 && minute < 28:
			return shadow.Counts{
				Missing: 1, Affected: 17, Reordered: 3, PayloadDiffers: 1, MaxDisplacement: 2,
				Signatures: map[string]int64{"sent_at": 1},
			}
		case pattern == "private-user-{uuid}" && minute == 33:
			return shadow.Counts{Unknown: 120, Rejected: map[string]int64{"THROTTLED": 7, "REJECTED_SIZE": 1}}
		}
		return shadow.Counts{}
	}}.evidence()
	pair := &ev.Pairs[0]
	for minute := range 40 {
		p := shadow.Presence{Seconds: 60}
		if minute > 10 && minute < 14 {
			p = shadow.Presence{Seconds: 60, Divergence: 12, Episodes: 1, Longest: 21, Ghosts: 1, MissedLeaves: 2}
		}
		pair.Cells = append(pair.Cells, shadow.Cell{
			Key:   shadow.Key{Type: "presence", Pattern: "presence-room-{int}", Event: "pusher:presence"},
			Start: start.Add(time.Duration(minute) * time.Minute), Span: time.Minute, Counts: shadow.Counts{Presence: p},
		})
	}
	pair.Cells = append(pair.Cells, shadow.Cell{
		Key:   shadow.Key{Type: "private", Pattern: "private-user-{uuid}", Event: "pusher:decide subscribe"},
		Start: start, Span: time.Minute,
		Counts: shadow.Counts{Decisions: map[string]int64{"allow | allow": 812, "deny 4009 | deny 4009": 3, "allow | deny 4009": 2}},
	})
	pair.Cells = append(pair.Cells, shadow.Cell{
		Key:   shadow.Key{Type: "presence", Pattern: "presence-room-{int}", Event: "pusher:webhook member_removed"},
		Start: start, Span: time.Minute,
		Counts: shadow.Counts{Webhooks: shadow.Webhooks{Told: 210, Matched: 188, Missing: 9, Extra: 3, Flaps: 1, Unknown: 13, Delay: 19, LongestDelay: 1.5}},
	}, shadow.Cell{
		Key:   shadow.Key{Type: "presence", Pattern: "js 8.4", Event: "pusher:frame pusher_internal:subscription_succeeded"},
		Start: start, Span: time.Hour,
		Counts: shadow.Counts{Structures: map[string]int64{
			"vendor | {channel,data:json{presence}}": 80, "engine | {channel,data:{presence}}": 80,
		}},
	})
	ev.Coverage.Webhooks = 210
	ev.Exhibits = []shadow.Exhibit{
		{
			Finding: "missing", Reference: "vendor", Candidate: "nats", Channel: "ticker-7", Pattern: "ticker-{int}", Event: "price",
			ID: "00000000000000070000000000000010", At: start,
			Before: &shadow.Frame{At: start.Add(31 * time.Millisecond), Bytes: 42, Digest: "9f86d081884c7d65", Shape: "{price:number,symbol:string}"},
		},
		{
			Finding: "payload_differs", Reference: "vendor", Candidate: "nats", Channel: "presence-room-12", Pattern: "presence-room-{int}",
			Event: "message", At: start.Add(22 * time.Minute),
			Before: &shadow.Frame{At: start, Bytes: 42, Digest: "9f86d081884c7d65", Shape: "{body:string,from:string}"},
			After:  &shadow.Frame{At: start, Bytes: 43, Digest: "60303ae22b998861"},
		},
	}
	return ev
}

// clean is a week without a fault.
func clean() shadow.Evidence { return stretch(made{minutes: 60, perCell: 2000}.evidence()) }

// stretch spreads an hour of evidence over a week and two hours.
func stretch(ev shadow.Evidence) shadow.Evidence {
	for i := range ev.Pairs[0].Cells {
		c := &ev.Pairs[0].Cells[i]
		c.Start = start.Add(c.Start.Sub(start) * 170)
	}
	ev.To = start.Add(170 * time.Hour)
	return ev
}

// short is a few minutes without a fault.
func short() shadow.Evidence { return made{minutes: 3, perCell: 100}.evidence() }
