package shadow

import (
	"fmt"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// vendorTold offers a webhook of the vendor.
func (s *scene) vendorTold(at float64, kind proxy.WebhookType, user string) {
	s.offer(proxy.Record{Kind: proxy.KindWebhook, At: s.at(at), Leg: proxy.LegVendor, Action: string(kind), UserID: user})
}

// come and go have a relayed client and its double arrive and leave, alone on
// the channel as user.
func (s *scene) come(at float64, user string) {
	s.both(at, user, true)
	s.offer(proxy.Record{Kind: proxy.KindOccupied, At: s.at(at + 0.1), Leg: proxy.LegEngine})
}

func (s *scene) leave(at float64, user string) {
	s.both(at, user, false)
	s.offer(proxy.Record{Kind: proxy.KindVacated, At: s.at(at + 0.1), Leg: proxy.LegEngine})
}

// say offers a client event that a relayed client sent, and its double.
func (s *scene) say(at float64, data string, double bool) *proxy.Event {
	ev := s.event(at, data)
	ev.Name, ev.UserID, ev.Publisher = "client-typing", "ann", proxy.ByClient
	s.offer(proxy.Record{Kind: proxy.KindPublished, At: s.at(at + 0.2), Leg: proxy.LegVendor, UserID: "ann", Event: ev})
	if double {
		s.offer(proxy.Record{
			Kind: proxy.KindWebhook, At: s.at(at + 0.2), Leg: proxy.LegEngine, UserID: "ann", Event: ev, Action: string(proxy.WebhookClientEvent),
		})
	}
	return ev
}

func TestWebhooksOfBothLegsAreCompared(t *testing.T) {
	const (
		occupied, vacated = proxy.WebhookChannelOccupied, proxy.WebhookChannelVacated
		added, removed    = proxy.WebhookMemberAdded, proxy.WebhookMemberRemoved
	)
	tests := map[string]struct {
		play func(s *scene)
		want Webhooks
	}{
		"both tell of a visit": {
			play: func(s *scene) {
				s.come(10, "ann")
				s.vendorTold(10.3, occupied, "")
				s.vendorTold(10.3, added, "ann")
				s.leave(20, "ann")
				s.vendorTold(23.4, vacated, "")
				s.vendorTold(23.4, removed, "ann")
			},
			want: Webhooks{Matched: 4},
		},
		"the vendor's come before what the relayed client is told": {
			play: func(s *scene) {
				s.vendorTold(9.9, occupied, "")
				s.vendorTold(9.9, added, "ann")
				s.come(10, "ann")
			},
			want: Webhooks{Matched: 2},
		},
		"an absence too short to be told": {
			play: func(s *scene) {
				s.come(10, "ann")
				s.vendorTold(10.3, occupied, "")
				s.vendorTold(10.3, added, "ann")
				s.leave(20, "ann")
				s.come(22, "ann")
			},
			want: Webhooks{Matched: 2},
		},
		"an absence of about the delay: a flap of the engine": {
			play: func(s *scene) {
				s.come(10, "ann")
				s.vendorTold(10.3, occupied, "")
				s.vendorTold(10.3, added, "ann")
				s.leave(20, "ann")
				s.come(23.05, "ann")
			},
			want: Webhooks{Matched: 2, Flaps: 2},
		},
		"an absence of about the delay: a flap of the vendor": {
			play: func(s *scene) {
				s.come(10, "ann")
				s.vendorTold(10.3, occupied, "")
				s.vendorTold(10.3, added, "ann")
				s.leave(20, "ann")
				s.come(22.95, "ann")
				s.vendorTold(23.2, vacated, "")
				s.vendorTold(23.2, occupied, "")
				s.vendorTold(23.2, removed, "ann")
				s.vendorTold(23.2, added, "ann")
			},
			want: Webhooks{Matched: 2, Flaps: 2},
		},
		"the engine misses an arrival that a relayed client made": {
			play: func(s *scene) {
				s.member(10, proxy.LegVendor, "ann", true)
				s.vendorTold(10.3, occupied, "")
				s.vendorTold(10.3, added, "ann")
			},
			want: Webhooks{Missing: 2},
		},
		"somebody who is not relayed comes and goes": {
			play: func(s *scene) {
				s.vendorTold(10, occupied, "")
				s.vendorTold(10, added, "eve")
				s.vendorTold(30, removed, "eve")
				s.vendorTold(30, vacated, "")
			},
			want: Webhooks{Unknown: 4, Foreign: 1},
		},
		"somebody who is not relayed stays when the relayed client goes": {
			play: func(s *scene) {
				s.vendorTold(5, occupied, "")
				s.vendorTold(5, added, "eve")
				s.vendorTold(5, removed, "joe")
				s.come(40, "ann")
				s.vendorTold(40.3, added, "ann")
				s.leave(60, "ann")
				s.vendorTold(63.4, removed, "ann")
			},
			want: Webhooks{Matched: 2, Unknown: 3 + 2, Foreign: 1},
		},
		"the engine tells that a member left who is there": {
			play: func(s *scene) {
				s.vendorTold(1, removed, "joe")
				s.come(10, "ann")
				s.vendorTold(10.3, occupied, "")
				s.vendorTold(10.3, added, "ann")
				s.member(20, proxy.LegEngine, "ann", false)
			},
			want: Webhooks{Matched: 2, Extra: 1, Unknown: 1},
		},
		"the engine tells of a ghost": {
			play: func(s *scene) {
				s.come(10, "ann")
				s.vendorTold(10.3, occupied, "")
				s.vendorTold(10.3, added, "ann")
				s.member(20, proxy.LegEngine, "gus", true)
			},
			want: Webhooks{Matched: 2, Extra: 1},
		},
		"none of the vendor's come in here": {
			play: func(s *scene) { s.come(10, "ann"); s.leave(20, "ann") },
			want: Webhooks{Unknown: 4},
		},
		"client events, one of which the engine does not tell of, and one the vendor does not": {
			play: func(s *scene) {
				s.come(10, "ann")
				for i, data := range []string{"a", "a", "b", "c"} {
					at := 20 + float64(i)
					ev := s.say(at, data, data != "b")
					if data != "c" {
						s.offer(proxy.Record{
							Kind: proxy.KindWebhook, At: s.at(at + 1), Leg: proxy.LegVendor, UserID: "ann", Event: ev, Action: string(proxy.WebhookClientEvent),
						})
					}
				}
			},
			want: Webhooks{Matched: 2, Missing: 1, Extra: 1, Unknown: 2},
		},
		"the vendor sends again what nobody took": {
			play: func(s *scene) {
				s.come(10, "ann")
				for _, at := range []float64{10.3, 11.5, 20} {
					for range 2 { // both in the same body
						s.offer(proxy.Record{
							Kind: proxy.KindWebhook, At: s.at(at), From: s.at(10.2), Leg: proxy.LegVendor, Action: string(occupied),
						})
					}
					s.offer(proxy.Record{
						Kind: proxy.KindWebhook, At: s.at(at), From: s.at(10.2), Leg: proxy.LegVendor, Action: string(added), UserID: "ann",
					})
				}
			},
			want: Webhooks{Matched: 2, Missing: 1},
		},
		"a gap of the vendor": {
			play: func(s *scene) {
				s.come(10, "ann")
				s.vendorTold(10.3, occupied, "")
				s.offer(proxy.Record{Kind: proxy.KindGap, Leg: proxy.LegVendor, From: s.at(10), At: s.at(12)})
			},
			want: Webhooks{Matched: 1, Unknown: 1},
		},
		"cache misses": {
			play: func(s *scene) {
				miss := func(at float64, legs ...proxy.Leg) {
					for _, leg := range legs {
						s.offer(proxy.Record{Kind: proxy.KindCacheMiss, At: s.at(at), Leg: leg})
					}
				}
				miss(2, proxy.LegVendor, proxy.LegEngine)
				s.vendorTold(2.2, proxy.WebhookCacheMiss, "")
				miss(10, proxy.LegVendor)
				s.vendorTold(10.2, proxy.WebhookCacheMiss, "")
				miss(50, proxy.LegEngine)
			},
			want: Webhooks{Matched: 1, Missing: 1, Unknown: 1},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := presenceScene()
			test.play(s)
			for at := 1.0; at < 100; at++ {
				s.sweep(at)
			}
			got := total(s.state, proxy.LegVendor, proxy.LegEngine).Webhooks
			got.Delay, got.LongestDelay = 0, 0
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestWebhookDelayIsOfTheCandidate(t *testing.T) {
	s := presenceScene()
	s.come(10, "ann")
	s.vendorTold(10.6, proxy.WebhookMemberAdded, "ann")
	s.vendorTold(9.9, proxy.WebhookChannelOccupied, "")
	got := total(s.state, proxy.LegVendor, proxy.LegEngine).Webhooks
	if got.Matched != 2 || got.Delay < -0.31 || got.Delay > -0.29 || got.LongestDelay < 0.19 || got.LongestDelay > 0.21 {
		t.Errorf("half a second earlier and 0.2 s later than the vendor: got %+v", got)
	}
	if told := total(s.state, proxy.LegVendor, "").Webhooks.Told; told != 2 {
		t.Errorf("%d webhooks came in, want 2", told)
	}
}

// TestTooManyWebhooksAreUnknown has more channels than are remembered: what is
// not is nobody's fault.
func TestTooManyWebhooksAreUnknown(t *testing.T) {
	s := newScene(true)
	const limit, channels = 50, 60
	s.state.application(testApp).hooks.limit = limit
	for i := range channels {
		s.topic.Channel = protocol.ChannelName(fmt.Sprint("room-", i))
		s.subscribe(10, proxy.LegVendor, "1.1", 1)
		s.offer(proxy.Record{Kind: proxy.KindOccupied, At: s.at(10.1), Leg: proxy.LegEngine})
		if i != 7 {
			s.vendorTold(10.2, proxy.WebhookChannelOccupied, "")
		}
	}
	for _, at := range []float64{20, 41, 50} {
		s.sweep(at)
	}
	got := total(s.state, proxy.LegVendor, proxy.LegEngine).Webhooks
	if got.Matched < limit-1 || got.Matched == channels || got.Missing+got.Extra != 0 {
		t.Errorf("of %d channels: %+v", channels, got)
	}
}
