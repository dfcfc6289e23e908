package shadow

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// presenceScene has the vendor as reference and the engine as candidate.
func presenceScene() *scene {
	s := newScene(true)
	s.topic.Channel = "presence-room-1"
	return s
}

// member lets a user come or go on a leg: at the vendor, as a relayed client.
func (s *scene) member(at float64, leg proxy.Leg, user string, joined bool) {
	if leg == proxy.LegVendor {
		kind := proxy.KindSubscribed
		if s.seats++; !joined {
			kind = proxy.KindUnsubscribed
			s.seats -= 2
		}
		s.offer(proxy.Record{Kind: kind, At: s.at(at), Leg: leg, UserID: user, Socket: protocol.SocketID(user), Count: s.seats})
		return
	}
	kind := proxy.KindMemberAdded
	if !joined {
		kind = proxy.KindMemberRemoved
	}
	s.offer(proxy.Record{Kind: kind, At: s.at(at), Leg: leg, UserID: user})
}

// both lets a user come or go on both legs, on the engine a little later.
func (s *scene) both(at float64, user string, joined bool) {
	s.member(at, proxy.LegVendor, user, joined)
	s.member(at+0.1, proxy.LegEngine, user, joined)
}

func (s *scene) presence() Presence {
	return total(s.state, proxy.LegVendor, proxy.LegEngine).Presence
}

func TestPresenceIsComparedOverTime(t *testing.T) {
	type faultCounts struct{ Ghosts, MissedJoins, MissedLeaves, EarlyLeaves, Episodes, Unknown int64 }
	tests := map[string]struct {
		play    func(s *scene)
		want    faultCounts
		longest float64 // seconds
	}{
		"the same on both, a little later on one": {
			play: func(s *scene) { s.both(10, "ann", true); s.both(20, "bob", true); s.both(30, "ann", false) },
		},
		"a ghost": {
			play: func(s *scene) { s.both(10, "ann", true); s.member(20, proxy.LegEngine, "gus", true) },
			want: faultCounts{Ghosts: 1, Episodes: 1}, longest: 80,
		},
		"a leave that was missed": {
			play: func(s *scene) {
				s.both(10, "ann", true)
				s.both(11, "bob", true)
				s.member(20, proxy.LegVendor, "bob", false)
				s.member(50, proxy.LegEngine, "bob", false)
			},
			want: faultCounts{MissedLeaves: 1, Episodes: 1}, longest: 30,
		},
		"a join that was missed": {
			play: func(s *scene) { s.both(10, "ann", true); s.member(20, proxy.LegVendor, "bob", true) },
			want: faultCounts{MissedJoins: 1, Episodes: 1}, longest: 80,
		},
		"a leave too early": {
			play: func(s *scene) { s.both(10, "ann", true); s.member(20, proxy.LegEngine, "ann", false) },
			want: faultCounts{EarlyLeaves: 1, Episodes: 1}, longest: 80,
		},
		"late, but within the grace": {
			play: func(s *scene) {
				s.both(10, "ann", true)
				s.member(20, proxy.LegVendor, "bob", true)
				s.member(24, proxy.LegEngine, "bob", true)
			},
		},
		"a member who comes to the vendor past the gateway": {
			play: func(s *scene) {
				s.both(10, "ann", true)
				s.offer(proxy.Record{Kind: proxy.KindMemberAdded, At: s.at(20), Leg: proxy.LegVendor, UserID: "bob"})
			},
		},
		"a user with two tabs, who closes one": {
			play: func(s *scene) {
				s.both(10, "ann", true)
				s.member(11, proxy.LegVendor, "ann", true)
				s.member(20, proxy.LegVendor, "ann", false)
			},
		},
		"a gap: what came after it is not known": {
			play: func(s *scene) {
				s.both(10, "ann", true)
				s.offer(proxy.Record{Kind: proxy.KindGap, Leg: proxy.LegEngine, From: s.at(15), At: s.at(18)})
				s.member(20, proxy.LegVendor, "bob", true)
			},
			want: faultCounts{Unknown: 1},
		},
		"known again once everybody left": {
			play: func(s *scene) {
				s.both(10, "ann", true)
				s.offer(proxy.Record{Kind: proxy.KindGap, Leg: proxy.LegEngine, From: s.at(15), At: s.at(18)})
				s.both(20, "ann", false)
				s.offer(proxy.Record{Kind: proxy.KindUnsubscribed, At: s.at(20.2), Leg: proxy.LegEngine})
				s.both(30, "bob", true)
				s.member(40, proxy.LegVendor, "cat", true)
			},
			want: faultCounts{Unknown: 1, MissedJoins: 1, Episodes: 1}, longest: 60,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := presenceScene()
			tc.play(s)
			for at := 51.0; at < 100; at++ {
				s.sweep(at)
			}
			s.close(100)
			p := s.presence()
			got := faultCounts{p.Ghosts, p.MissedJoins, p.MissedLeaves, p.EarlyLeaves, p.Episodes, p.Unknown}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if math.Abs(p.Longest-tc.longest) > 0.2 {
				t.Errorf("longest episode %.1f s, want %.1f s", p.Longest, tc.longest)
			}
		})
	}
}

func TestPresenceDivergenceIsWeightedByTime(t *testing.T) {
	s := presenceScene()
	s.both(0, "ann", true)
	for at := 1.0; at < 100; at++ {
		if at == 50 {
			s.member(at, proxy.LegVendor, "bob", true) // from here on one of two members differs
		}
		s.sweep(at)
	}
	s.close(100)
	p := s.presence()
	if mean := p.Divergence / p.Seconds; math.Abs(mean-0.25) > 0.01 {
		t.Errorf("mean divergence %.3f over %.0f s, want 0.25: half of the members half of the time", mean, p.Seconds)
	}
}

func TestPresenceFaultsAreCountedExactly(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 9))
		s := presenceScene()
		var want Presence
		at := 1.0
		s.both(at, "always", true)
		for i := range 300 {
			at += 20
			user := fmt.Sprint("user-", i)
			switch rng.IntN(10) {
			case 0:
				want.Ghosts++
				s.member(at, proxy.LegEngine, user, true)
				s.member(at+15, proxy.LegEngine, user, false)
			case 1:
				want.MissedJoins++
				s.member(at, proxy.LegVendor, user, true)
				s.member(at+15, proxy.LegVendor, user, false)
			case 2:
				want.MissedLeaves++
				s.both(at, user, true)
				s.member(at+5, proxy.LegVendor, user, false)
				s.member(at+15, proxy.LegEngine, user, false)
			case 3:
				want.EarlyLeaves++
				s.both(at, user, true)
				s.member(at+5, proxy.LegEngine, user, false)
				s.member(at+15, proxy.LegVendor, user, false)
			default:
				s.both(at, user, true)
				s.both(at+5, user, false)
			}
			s.sweep(at + 19)
		}
		s.close(at + 60)
		want.Episodes = want.Ghosts + want.MissedJoins + want.MissedLeaves + want.EarlyLeaves
		got := s.presence()
		got.Seconds, got.Divergence, got.Longest = 0, 0, 0
		if got != want {
			t.Errorf("seed %d: got %+v, want %+v", seed, got, want)
		}
	}
}

func TestDecisionsOfBothLegsMakeATable(t *testing.T) {
	s := newScene(true)
	s.topic.Channel = "private-order-7"
	decide := func(leg proxy.Leg, kind proxy.Kind, n int, code int) {
		s.offer(proxy.Record{Kind: kind, At: s.at(10), Leg: leg, Socket: socket(n), Code: code, Action: "subscribe"})
	}
	for i := range 20 {
		decide(proxy.LegEngine, proxy.KindAllowed, i, 0)
		decide(proxy.LegVendor, proxy.KindAllowed, i, 0)
	}
	decide(proxy.LegVendor, proxy.KindRefused, 100, 4009)
	decide(proxy.LegEngine, proxy.KindRefused, 100, 4009)
	decide(proxy.LegVendor, proxy.KindAllowed, 101, 0)
	decide(proxy.LegEngine, proxy.KindRefused, 101, 4009)
	decide(proxy.LegEngine, proxy.KindRefused, 102, 4009) // the vendor was never asked
	got := total(s.state, proxy.LegVendor, proxy.LegEngine).Decisions
	want := map[string]int64{"allow | allow": 20, "deny 4009 | deny 4009": 1, "allow | deny 4009": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("decisions %v, want %v", got, want)
	}
	s.sweep(10 + 2*30 + 1)
	if n := len(s.state.apps[testApp].questions); n != 0 {
		t.Errorf("%d questions are still held after two windows", n)
	}
}
