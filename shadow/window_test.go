package shadow

import (
	"fmt"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// scene offers hand-written records to a state, with times in seconds from
// its start.
type scene struct {
	state *state
	start time.Time
	topic proxy.Topic
	seq   uint64
	seats int // relayed sockets on the channel
}

func newScene(relayed bool) *scene {
	return &scene{
		state: newState(Config{}.withDefaults(), testApps(relayed)), start: time.Now(),
		topic: proxy.Topic{App: testApp, Channel: "room-1"},
	}
}

func (s *scene) at(seconds float64) time.Time {
	return s.start.Add(time.Duration(seconds * float64(time.Second)))
}

func (s *scene) offer(r proxy.Record) {
	if r.Topic.App == "" {
		r.Topic = s.topic
	}
	s.state.observe(&r)
}

func (s *scene) event(at float64, data string) *proxy.Event {
	s.seq++
	return &proxy.Event{ID: proxy.EventID{Node: 1, Seq: s.seq}, Topic: s.topic, Name: "message", Data: []byte(data), At: s.at(at)}
}

// publish offers a publish, what the engine made of it for one subscriber, and
// the backend's answer.
func (s *scene) publish(at float64, data, answer string) *proxy.Event {
	ev := s.event(at, data)
	s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
	s.offer(proxy.Record{Kind: proxy.KindDelivered, At: ev.At, Leg: proxy.LegEngine, Event: ev, Count: 1})
	if answer != "" {
		s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: answer})
	}
	return ev
}

func (s *scene) backend(at float64, ev *proxy.Event) {
	s.offer(proxy.Record{Kind: proxy.KindDelivered, At: s.at(at), Leg: testBackend, Event: ev})
}

func (s *scene) vendor(at float64, socket protocol.SocketID, data string) {
	ev := &proxy.Event{Topic: s.topic, Name: "message", Data: []byte(data)}
	s.offer(proxy.Record{Kind: proxy.KindDelivered, At: s.at(at), Leg: proxy.LegVendor, Socket: socket, Event: ev})
}

func (s *scene) subscribe(at float64, leg proxy.Leg, socket protocol.SocketID, count int) {
	s.offer(proxy.Record{Kind: proxy.KindSubscribed, At: s.at(at), Leg: leg, Socket: socket, Count: count})
}

func (s *scene) sweep(at float64) { s.state.sweep(s.state.nanos(s.at(at))) }

func (s *scene) close(at float64) { s.state.closeAll(s.state.nanos(s.at(at)), true) }

// slowly has a backend take three seconds for each of some events, lose one of
// them, and be out of sight after the last.
func (s *scene) slowly(events, lost int) {
	for i := range events {
		at := 10 + float64(i)/100
		if ev := s.publish(at, fmt.Sprint("event ", i), "OK"); i != lost {
			s.backend(at+3, ev)
		}
	}
	s.offer(proxy.Record{Kind: proxy.KindGap, Leg: testBackend, From: s.at(13.5), At: s.at(15)})
}

func TestWhatBecomesOfAnEvent(t *testing.T) {
	tests := map[string]struct {
		relayed bool
		play    func(s *scene)
		want    foretold
	}{
		"delivered by both legs": {
			play: func(s *scene) { s.backend(10.1, s.publish(10, "a", "OK")) },
			want: foretold{Expected: 1, Matched: 1},
		},
		"the backend answers before the publish is told": {
			play: func(s *scene) {
				ev := s.event(10, "a")
				s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: "OK"})
				s.backend(10, ev)
				s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
				s.offer(proxy.Record{Kind: proxy.KindDelivered, At: ev.At, Leg: proxy.LegEngine, Event: ev, Count: 1})
			},
			want: foretold{Expected: 1, Matched: 1},
		},
		"taken by the backend and not delivered": {
			play: func(s *scene) { s.publish(10, "a", "OK") },
			want: foretold{Expected: 1, Missing: 1},
		},
		"throttled by the backend: refused, not lost": {
			play: func(s *scene) { s.publish(10, "a", "THROTTLED") },
			want: foretold{},
		},
		"not known to have reached the backend: unknown": {
			play: func(s *scene) {
				s.backend(9, s.publish(9, "a", "OK"))
				s.publish(10, "b", "")
			},
			want: foretold{Expected: 1, Matched: 1, Unknown: 1},
		},
		"a gap of the backend on every channel covers it: unknown": {
			play: func(s *scene) {
				s.publish(10, "a", "OK")
				s.offer(proxy.Record{
					Kind: proxy.KindGap, Topic: proxy.Topic{App: testApp}, Leg: testBackend, From: s.at(9), At: s.at(15),
				})
			},
			want: foretold{Unknown: 1},
		},
		"lost long before a gap, as what came behind it shows: missing, however slow the backend is": {
			play: func(s *scene) { s.slowly(12, 2) },
			want: foretold{Expected: 12, Matched: 11, Missing: 1},
		},
		"on its way, perhaps, when the gap of a slow backend began: unknown": {
			play: func(s *scene) { s.slowly(12, 8) },
			want: foretold{Expected: 11, Matched: 11, Unknown: 1},
		},
		"a gap that ended before does not excuse": {
			play: func(s *scene) {
				s.offer(proxy.Record{Kind: proxy.KindGap, Leg: testBackend, From: s.at(1), At: s.at(5)})
				s.publish(10, "a", "OK")
			},
			want: foretold{Expected: 1, Missing: 1},
		},
		"sent again after a restart of the plugin: not a duplicate": {
			play: func(s *scene) {
				ev := s.publish(10, "a", "OK")
				s.backend(10.1, ev)
				s.offer(proxy.Record{Kind: proxy.KindGap, Leg: testBackend, From: s.at(10.2), At: s.at(12)})
				s.backend(12.1, ev)
			},
			want: foretold{Expected: 1, Matched: 1, Unknown: 1},
		},
		"repeated after its comparison was closed": {
			play: func(s *scene) {
				ev := s.publish(10, "a", "OK")
				s.backend(10.1, ev)
				for at := 11.0; at < 20; at++ {
					s.sweep(at)
				}
				s.backend(20, ev)
				s.sweep(51)
			},
			want: foretold{Expected: 1, Matched: 1, Duplicate: 1},
		},
		"later than the window: missing, and nothing else": {
			play: func(s *scene) {
				ev := s.publish(10, "a", "OK")
				for at := 11.0; at < 45; at++ {
					s.sweep(at)
				}
				s.backend(45, ev)
				for at := 46.0; at < 90; at++ {
					s.sweep(at)
				}
			},
			want: foretold{Expected: 1, Missing: 1},
		},
		"re-encoded on the way: payload differs": {
			play: func(s *scene) {
				ev := s.publish(10, `{"a": 1}`, "OK")
				again := *ev
				again.Data = []byte(`{"a":1}`)
				s.backend(10.1, &again)
			},
			want: foretold{Expected: 1, PayloadDiffers: 1},
		},
		"came from the candidate: not compared with it": {
			play: func(s *scene) {
				ev := s.event(10, "a")
				ev.Origin = testBackend
				s.backend(10, ev)
				s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
				s.offer(proxy.Record{Kind: proxy.KindDelivered, At: ev.At, Leg: proxy.LegEngine, Event: ev, Count: 1})
			},
			want: foretold{},
		},
		"delivered by the candidate only, with subscribers there": {
			play: func(s *scene) {
				s.subscribe(0, proxy.LegEngine, "1.1", 2)
				s.backend(10, s.event(10, "never published"))
			},
			want: foretold{Extra: 1},
		},
		"delivered by the candidate only, with a subscriber there who was not to get it": {
			play: func(s *scene) {
				s.subscribe(0, proxy.LegEngine, "1.1", 1)
				s.backend(10, s.event(10, "never published"))
				alone := s.event(11, "of a client elsewhere")
				alone.Except = "1.1"
				s.backend(11, alone)
			},
			want: foretold{Extra: 1},
		},
		"with a damaged id: nobody's id": {
			play: func(s *scene) {
				again := *s.publish(10, "a", "OK")
				again.ID.Node++
				s.backend(10.1, &again)
			},
			want: foretold{Expected: 1, Matched: 1},
		},
		"with a damaged id: that of the next": {
			play: func(s *scene) {
				first, next := *s.publish(10, "a", "OK"), s.publish(10.1, "b", "OK")
				first.ID = next.ID
				s.backend(10.2, &first)
				s.backend(10.3, next)
			},
			want: foretold{Expected: 2, Matched: 2},
		},
		"altered into what the next one is, but with its own id": {
			play: func(s *scene) {
				first, next := *s.publish(10, "a", "OK"), s.publish(10.1, "b", "OK")
				first.Data = next.Data
				s.backend(10.2, &first)
				s.backend(10.3, next)
			},
			want: foretold{Expected: 2, Matched: 1, PayloadDiffers: 1},
		},
		"with damaged ids one after the other: each that of the next": {
			play: func(s *scene) {
				first, second, third := s.publish(10, "a", "OK"), s.publish(10.1, "b", "OK"), s.publish(10.2, "c", "OK")
				a, b := *first, *second
				a.ID, b.ID = second.ID, third.ID
				s.backend(10.3, &a)
				s.backend(10.4, &b)
				s.backend(10.5, third)
			},
			want: foretold{Expected: 3, Matched: 3},
		},
		"damaged beyond recognition, with neither id nor name": {
			play: func(s *scene) {
				s.backend(10.1, s.publish(10, "a", "OK"))
				ev := s.publish(11, "b", "OK")
				s.backend(11.1, &proxy.Event{Topic: ev.Topic, Data: []byte("{\"eve\x00")})
				s.backend(12.1, s.publish(12, "c", "OK"))
			},
			want: foretold{Expected: 3, Matched: 2, PayloadDiffers: 1},
		},
		"nobody was subscribed at the engine: compared with what was published": {
			play: func(s *scene) {
				ev := s.event(10, "a")
				s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
				s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: "OK"})
				s.backend(10, ev)
			},
			want: foretold{Expected: 1, Matched: 1},
		},
		"lost by the reference": {
			relayed: true,
			play: func(s *scene) {
				s.subscribe(0, proxy.LegVendor, "1.1", 1)
				ev := s.event(10, "a")
				s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegVendor, Event: ev})
				s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: "OK"})
				s.backend(10, ev)
			},
			want: foretold{Expected: 1, Matched: 1, RefMissing: 1},
		},
		"published beside the gateway, and so never handed to the backend": {
			relayed: true,
			play: func(s *scene) {
				s.subscribe(0, proxy.LegVendor, "1.1", 1)
				s.vendor(10, "1.1", "a")
			},
			want: foretold{},
		},
		"published beside the gateway and on the backend too": {
			relayed: true,
			play: func(s *scene) {
				s.subscribe(0, proxy.LegVendor, "1.1", 1)
				s.vendor(10, "1.1", "a")
				ev := s.event(10, "a")
				ev.ID = proxy.EventID{}
				s.backend(10.1, ev)
			},
			want: foretold{Expected: 1, Matched: 1},
		},
		"two publishes race and each leg has its own order: the candidate is not blamed": {
			play: func(s *scene) {
				a, b := s.event(10, "a"), s.event(10.0001, "b")
				for _, ev := range []*proxy.Event{a, b} {
					s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
					s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: "OK"})
				}
				for _, ev := range []*proxy.Event{b, a} {
					s.offer(proxy.Record{Kind: proxy.KindDelivered, At: s.at(10.1), Leg: proxy.LegEngine, Event: ev, Count: 1})
				}
				s.backend(10.2, a)
				s.backend(10.3, b)
			},
			want: foretold{Expected: 2, Matched: 2, RefReordered: 1},
		},
		"the backend follows the order in which it was given them: no fault": {
			play: func(s *scene) {
				a, b := s.event(10, "a"), s.event(10.0001, "b")
				for _, ev := range []*proxy.Event{a, b} {
					s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
					s.offer(proxy.Record{Kind: proxy.KindDelivered, At: s.at(10.1), Leg: proxy.LegEngine, Event: ev, Count: 1})
				}
				for i, ev := range []*proxy.Event{b, a} {
					s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: "OK", Count: i + 1})
					s.backend(10.2, ev)
				}
			},
			want: foretold{Expected: 2, Matched: 2, RefReordered: 0},
		},
		"given in one order and delivered in the other, which happens to be the engine's": {
			play: func(s *scene) {
				a, b := s.event(10, "a"), s.event(10.0001, "b")
				for i, ev := range []*proxy.Event{a, b} {
					s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
					s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: "OK", Count: i + 1})
				}
				for _, ev := range []*proxy.Event{b, a} {
					s.offer(proxy.Record{Kind: proxy.KindDelivered, At: s.at(10.1), Leg: proxy.LegEngine, Event: ev, Count: 1})
					s.backend(10.2, ev)
				}
			},
			want: foretold{Expected: 2, Matched: 2, Reordered: 1},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newScene(tc.relayed)
			tc.play(s)
			s.close(100)
			reference := proxy.LegEngine
			if tc.relayed {
				reference = proxy.LegVendor
			}
			if got := found(total(s.state, reference, testBackend)); got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestCopiesThatRaceToTheDoublesAreNoFaultOfTheEngine(t *testing.T) {
	for name, tc := range map[string]struct {
		senders [2]protocol.SocketID // none: a server
		want    int64
	}{
		"a client and a server": {[2]protocol.SocketID{"1.1", ""}, 0},
		"two clients":           {[2]protocol.SocketID{"1.1", "1.2"}, 0},
		"one client":            {[2]protocol.SocketID{"1.1", "1.1"}, 1},
		"one server":            {[2]protocol.SocketID{"", ""}, 1},
	} {
		s := newScene(true)
		s.subscribe(0, proxy.LegVendor, "1.9", 1)
		s.subscribe(0, proxy.LegEngine, "1.9", 1)
		var events [2]*proxy.Event
		for i, socket := range tc.senders {
			ev := s.event(10+float64(i)/1000, string(rune('a'+i)))
			if ev.Socket = socket; socket != "" {
				ev.Publisher = proxy.ByClient
			}
			events[i] = ev
			s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegVendor, Event: ev})
			s.vendor(10.1+float64(i)/1000, "1.9", string(ev.Data))
		}
		for i := range 2 {
			s.offer(proxy.Record{Kind: proxy.KindDelivered, At: s.at(10.2), Leg: proxy.LegEngine, Socket: "1.9", Event: events[1-i], Count: 1})
		}
		s.close(100)
		if got := total(s.state, proxy.LegVendor, proxy.LegEngine); got.Reordered != tc.want || got.Matched != 2 {
			t.Errorf("%s: %d reordered of %d matched, want %d of 2", name, got.Reordered, got.Matched, tc.want)
		}
	}
}

func TestRefusalsAreCountedByTheirCode(t *testing.T) {
	s := newScene(false)
	s.publish(10, "a", "THROTTLED")
	s.publish(11, "b", "THROTTLED")
	s.publish(12, "c", "REJECTED_SIZE")
	s.close(100)
	got := total(s.state, proxy.LegEngine, testBackend).Rejected
	if got["THROTTLED"] != 2 || got["REJECTED_SIZE"] != 1 {
		t.Errorf("Rejected = %v, want THROTTLED 2 and REJECTED_SIZE 1", got)
	}
}

func TestReencodedPayloadIsToldFromAnAlteredOne(t *testing.T) {
	s := newScene(false)
	for i, after := range []string{`{"b":[1,2],"a":1.0}`, `{"a":1,"b":[2,1]}`} {
		ev := s.publish(float64(10+i), `{"a":1,"b":[1,2]}`, "OK")
		again := *ev
		again.Data = []byte(after)
		s.backend(float64(10+i)+0.1, &again)
	}
	s.close(100)
	if got := total(s.state, proxy.LegEngine, testBackend); got.PayloadDiffers != 2 || got.SameJSON != 1 {
		t.Errorf("PayloadDiffers, SameJSON = %d, %d, want 2, 1", got.PayloadDiffers, got.SameJSON)
	}
}

func TestAlteredNamesAreTold(t *testing.T) {
	s := newScene(false)
	ev := s.publish(10, `{"a":1}`, "OK")
	named := *ev
	named.Name = "massage"
	s.backend(10.1, &named)
	s.close(60)
	c := total(s.state, proxy.LegEngine, testBackend)
	if c.PayloadDiffers != 1 || c.SameJSON != 0 || c.Signatures[otherName] != 1 {
		t.Errorf("an event with another name is counted as %+v", c)
	}
}

func TestSnapshotCountsWhatIsOpenAndCorrectsItself(t *testing.T) {
	s := newScene(false)
	ev := s.publish(10, "a", "OK")
	missing := func(at float64) Counts {
		ledger := s.state.snapshot(testApp, time.Time{}, s.state.nanos(s.at(at)))
		var sum Counts
		for _, p := range ledger.Pairs {
			for i := range p.Cells {
				sum.Add(&p.Cells[i].Counts)
			}
		}
		return sum
	}
	if got := missing(11); got.Expected != 0 {
		t.Errorf("a second after the publish: %+v, want nothing counted yet", got)
	}
	if got := missing(15); got.Missing != 1 {
		t.Errorf("five seconds after the publish: Missing = %d, want 1", got.Missing)
	}
	s.backend(16, ev)
	if got := missing(20); got.Missing != 0 || got.Matched != 1 {
		t.Errorf("after it arrived: %+v, want it matched", got)
	}
	if got := total(s.state, proxy.LegEngine, testBackend); got.Expected != 0 {
		t.Errorf("snapshots changed the cells: %+v", got)
	}
}

func TestFullWindowMakesUnknownNotMissing(t *testing.T) {
	s := newScene(false)
	s.state.config.ChannelWindow = 100
	for i := range 150 {
		s.publish(10+float64(i)/1000, "a", "OK")
	}
	got := total(s.state, proxy.LegEngine, testBackend)
	if got.Missing != 0 || got.Unknown == 0 {
		t.Errorf("Missing, Unknown = %d, %d, want 0 and some", got.Missing, got.Unknown)
	}
	if s.state.apps[testApp].overflow == 0 {
		t.Error("the overflow was not counted")
	}
}

func TestCellsAreBoundedHoweverManyNamesThereAre(t *testing.T) {
	s := newScene(false)
	s.state.config.Patterns = 5
	for c := range 40 {
		s.topic.Channel = protocol.ChannelName("room-" + string(rune('A'+c)))
		for e := range 40 {
			ev := s.event(10, "x")
			ev.Name = "event-" + string(rune('A'+e))
			s.offer(proxy.Record{Kind: proxy.KindPublished, At: ev.At, Leg: proxy.LegEngine, Event: ev})
			s.offer(proxy.Record{Kind: proxy.KindDelivered, At: ev.At, Leg: proxy.LegEngine, Event: ev, Count: 1})
			s.offer(proxy.Record{Kind: proxy.KindMirrored, At: ev.At, Leg: testBackend, Event: ev, Text: "OK"})
			s.backend(10, ev)
		}
	}
	s.close(100)
	keys := make(map[Key]bool)
	for k := range s.state.ledger.cells {
		keys[k.Key] = true
	}
	if len(keys) > 2*5+6 {
		t.Errorf("%d keys, want at most 16: ten combinations, and the rest of six patterns", len(keys))
	}
	if got := total(s.state, proxy.LegEngine, testBackend).Matched; got != 1600 {
		t.Errorf("Matched = %d, want 1600: what has no cell of its own is counted under another", got)
	}
}

func TestOnlyShadowsAreCompared(t *testing.T) {
	app := &proxy.App{ID: testApp, Stage: proxy.StageExited}
	for _, role := range []proxy.Role{proxy.RoleMirror, proxy.RoleShadow, proxy.RoleBridge} {
		app.Backends = append(app.Backends, proxy.Backend{Name: string(role), Role: role, Channels: []string{"*"}, Sample: 1})
	}
	legs := legsOf(app, "room")
	if len(legs) != 2 || legs[0] != proxy.LegEngine || legs[1] != "shadow" {
		t.Errorf("legs %v, want the engine and the shadow", legs)
	}
}
