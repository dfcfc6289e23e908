package report

import (
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/shadow"
)

// within puts a small part into a clean week of 480 000 events per candidate:
// too small to show in all of them.
func within(part func(p *shadow.Pair)) shadow.Evidence {
	ev := clean()
	part(&ev.Pairs[0])
	return ev
}

func cellOf(typ, pattern, event string, c shadow.Counts) shadow.Cell {
	return shadow.Cell{Key: shadow.Key{Type: typ, Pattern: pattern, Event: event}, Start: start, Span: time.Minute, Counts: c}
}

func groups(by string, g shadow.Groups) shadow.Cell {
	return cellOf("*", "*", "pusher:by "+by, shadow.Counts{Groups: g})
}

func TestASmallPartThatFailsDoesNotHideInALargeOne(t *testing.T) {
	tests := map[string]struct {
		part func(p *shadow.Pair)
		gate string // that fails; empty: none
		says string
	}{
		"nothing wrong": {part: func(*shadow.Pair) {}},
		"one client library loses everything": {
			part: func(p *shadow.Pair) {
				p.Cells[0].Counts.Missing, p.Cells[0].Counts.Matched = 20, 1980
				p.Cells = append(p.Cells, groups("client library", shadow.Groups{
					"js 8.4": {Events: 479_980}, "swift 10.1": {Events: 20, Missing: 20},
				}))
			},
			gate: "loss", says: `20 of 20 events for clients with "swift 10.1" lost`,
		},
		"one publisher's events are all repeated": {
			part: func(p *shadow.Pair) {
				p.Cells[0].Counts.Duplicate = 20
				p.Cells = append(p.Cells, groups("publisher", shadow.Groups{
					"app-key pusher-http-go": {Events: 479_980}, "app-key pusher-http-ruby": {Events: 20, Duplicate: 20},
				}))
			},
			gate: "duplicate", says: `from publisher "app-key pusher-http-ruby" delivered more than once`,
		},
		"the same losses, spread evenly over libraries": {
			part: func(p *shadow.Pair) {
				p.Cells[0].Counts.Missing, p.Cells[0].Counts.Matched = 20, 1980
				p.Cells = append(p.Cells, groups("client library", shadow.Groups{
					"js 8.4": {Events: 240_000, Missing: 10}, "swift 10.1": {Events: 240_000, Missing: 10},
				}))
			},
		},
		"a rare event on a busy pattern is lost": {
			part: func(p *shadow.Pair) {
				p.Cells = append(p.Cells, cellOf("public", "ticker-{int}", "halted", shadow.Counts{Expected: 12, Missing: 12}))
			},
			gate: "loss", says: `12 of 12 events named "halted" lost`,
		},
		"a rare pattern is refused": {
			part: func(p *shadow.Pair) {
				p.Cells = append(p.Cells, cellOf("public", "map-{int}", "tile", shadow.Counts{Expected: 1, Matched: 1, Rejected: map[string]int64{"REJECTED_SIZE": 20}}))
			},
			gate: "rejected", says: "20 events were refused",
		},
		"the members of a quiet pattern differ": {
			part: func(p *shadow.Pair) {
				p.Cells = append(p.Cells,
					cellOf("presence", "presence-room-{int}", "pusher:presence", shadow.Counts{Presence: shadow.Presence{Seconds: 1e6}}),
					cellOf("presence", "presence-vip-{int}", "pusher:presence", shadow.Counts{Presence: shadow.Presence{Seconds: 600, Divergence: 120, Episodes: 20, Longest: 7}}),
				)
			},
			gate: "presence", says: "20.0 % of the members of these channels differ",
		},
		"members who were seen for an instant only": {
			part: func(p *shadow.Pair) {
				p.Cells = append(p.Cells,
					cellOf("presence", "presence-room-{int}", "pusher:presence", shadow.Counts{Presence: shadow.Presence{Seconds: 1e6}}),
					cellOf("presence", "presence-vip-{int}", "pusher:presence", shadow.Counts{Presence: shadow.Presence{Seconds: 0.2, Divergence: 0.1}}),
				)
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := build(within(tc.part))
			if tc.gate == "" {
				if len(r.Verdict.Reasons) > 0 {
					t.Errorf("fails: %+v, want no gate to fail", r.Verdict.Reasons)
				}
				return
			}
			if len(r.Verdict.Reasons) != 1 || r.Verdict.Reasons[0].Gate != tc.gate || !strings.Contains(r.Verdict.Reasons[0].Text, tc.says) {
				t.Errorf("fails: %+v, want the gate %s only, saying %q", r.Verdict.Reasons, tc.gate, tc.says)
			}
			if err := Verify(r); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClientsWhoBypassTheGatewayAreMeasured(t *testing.T) {
	told := func(matched, foreign int64) func(p *shadow.Pair) {
		return func(p *shadow.Pair) {
			p.Candidate = "engine"
			p.Cells = append(p.Cells, cellOf("presence", "presence-room-{int}", "pusher:webhook member_added", shadow.Counts{
				Webhooks: shadow.Webhooks{Told: matched + foreign, Matched: matched, Unknown: foreign, Foreign: foreign},
			}))
		}
	}
	tests := map[string]struct {
		matched, foreign int64
		nodes            []string
		share            float64 // -1: not known
		fails            bool
	}{
		"all come through":                                {matched: 400, share: 1},
		"one in five does not":                            {matched: 320, foreign: 80, share: 0.8, fails: true},
		"one of three, which may be luck":                 {matched: 2, foreign: 1, share: 2.0 / 3},
		"nothing was told":                                {share: -1},
		"a node that does not know whom the others relay": {matched: 1, foreign: 99, nodes: []string{"a", "b"}, share: -1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			ev := within(told(tc.matched, tc.foreign))
			ev.Nodes = tc.nodes
			r := build(ev)
			share := -1.0
			if r.Coverage.Clients != nil {
				share = *r.Coverage.Clients
			}
			fails := false
			for _, x := range r.Verdict.Reasons {
				fails = fails || x.Gate == "clients"
			}
			if share != tc.share || fails != tc.fails {
				t.Errorf("share %v, gate fails: %t, want %v, %t", share, fails, tc.share, tc.fails)
			}
		})
	}
}
