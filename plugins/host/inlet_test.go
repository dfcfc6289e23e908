package host

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

func inletFor(d translators.Description, policy BreakerPolicy) *inlet {
	app := proxy.Defaults()
	app.Limits.EventBytes = 8
	s := Settings{
		Gateway: "me", Breaker: policy, Out: dropRecords{},
		Apps: func(string) (*proxy.App, bool) { return &app, true },
	}.withDefaults()
	l := &link{
		settings: s, leg: "x", book: newBook(100, 1<<20, true),
		binding: Binding{App: "app", Backend: proxy.Backend{Name: "x", Role: proxy.RoleBridge, Channels: []string{"room*", "p*"}, Sample: 1}},
	}
	l.rules.Store(&l.binding.Backend)
	l.book.demand = true
	l.book.open(true, 100)
	for _, c := range []protocol.ChannelName{"room", "private-room", "presence-room"} {
		l.book.occupy(c, true, epoch)
	}
	l.inlet = newInlet(l, newBreaker(s.Breaker, zerolog.Nop()))
	l.inlet.meet(d)
	return l.inlet
}

type dropRecords struct{}

func (dropRecords) Offer(proxy.Record) bool { return true }

var native = translators.Description{Echo: translators.EchoNative}

func TestInletTakesOnlyWhatClientsMayHave(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*translators.Envelope)
		want   string // why it is withheld
		detail string
	}{
		"an event of a native publisher":      {func(*translators.Envelope) {}, "", ""},
		"an event of another gateway":         {func(e *translators.Envelope) { e.Origin, e.Hops = "other", 1 }, "", ""},
		"an event of this gateway":            {func(e *translators.Envelope) { e.Origin = "me" }, withheldEcho, ""},
		"a channel without subscribers here":  {func(e *translators.Envelope) { e.Channel = "room2" }, withheldChannel, "did not ask"},
		"a channel of no rule of the backend": {func(e *translators.Envelope) { e.Channel = "other" }, withheldChannel, "did not ask"},
		"a probe":                             {func(e *translators.Envelope) { e.Kind = translators.KindProbe }, withheldKind, ""},
		"an arrival":                          {func(e *translators.Envelope) { e.Kind = translators.KindPresenceJoin }, withheldKind, ""},
		"an event that has come far": {
			func(e *translators.Envelope) { e.Origin, e.Hops = "other", 4 }, withheldHops, "4 gateways have passed it on, and the most is 4",
		},
		"more data than the app allows": {
			func(e *translators.Envelope) { e.Data = []byte("123456789") }, withheldInvalid, "9 bytes of data, and limits.event_bytes is 8",
		},
		"data that no frame can hold": {func(e *translators.Envelope) { e.Data = []byte{0xff} }, withheldInvalid, "not UTF-8"},
		"a reserved name":             {func(e *translators.Envelope) { e.Event = "pusher:error" }, withheldInvalid, "reserved"},
		"a name that is too long":     {func(e *translators.Envelope) { e.Event = strings.Repeat("x", 201) }, withheldInvalid, "at most 200"},
	} {
		t.Run(name, func(t *testing.T) {
			in := inletFor(native, BreakerPolicy{})
			e := translators.Envelope{Channel: "room", Event: "news", Data: []byte("1")}
			test.change(&e)
			in.take(e, epoch)
			var s Status
			in.fill(&s, epoch)
			if test.want == "" {
				if len(in.queue) != 1 || len(s.Bridge.Withheld) != 0 {
					t.Fatalf("it is withheld: %v", s.Bridge.Withheld)
				}
				return
			}
			if len(in.queue) != 0 || s.Bridge.Withheld[test.want] != 1 {
				t.Errorf("withheld %v with %d taken, want one as %s", s.Bridge.Withheld, len(in.queue), test.want)
			}
			if !strings.Contains(s.Bridge.LastWithheld, test.detail) {
				t.Errorf("last withheld %q, want %q in it", s.Bridge.LastWithheld, test.detail)
			}
		})
	}
}

func TestInletPublishesAs(t *testing.T) {
	for name, test := range map[string]struct {
		in   translators.Envelope
		want proxy.Event
	}{
		"a server's event, without a user": {
			translators.Envelope{Channel: "room", Event: "news", UserID: "ann"},
			proxy.Event{Name: "news"},
		},
		"a nameless event under a name": {
			translators.Envelope{Channel: "room"},
			proxy.Event{Name: "message"},
		},
		"a client's event with its member": {
			translators.Envelope{Channel: "presence-room", Event: "client-x", UserID: "ann", Kind: translators.KindClientEvent},
			proxy.Event{Name: "client-x", Publisher: proxy.ByClient, UserID: "ann"},
		},
		"a client's event without one where there are no members": {
			translators.Envelope{Channel: "private-room", Event: "client-x", UserID: "ann", Kind: translators.KindClientEvent},
			proxy.Event{Name: "client-x", Publisher: proxy.ByClient},
		},
		"a client's event on a public channel as a server's": {
			translators.Envelope{Channel: "room", Event: "client-x", Kind: translators.KindClientEvent},
			proxy.Event{Name: "client-x"},
		},
		"an event of another gateway with its trace": {
			translators.Envelope{Channel: "room", Event: "news", Origin: "a, b", Hops: 2, Except: "1.2"},
			proxy.Event{Name: "news", Via: "a__b;hops=2", Except: "1.2"},
		},
		"an exclusion that is none": {
			translators.Envelope{Channel: "room", Event: "news", Except: "nobody"},
			proxy.Event{Name: "news"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := inletFor(native, BreakerPolicy{})
			in.take(test.in, epoch)
			if len(in.queue) != 1 {
				t.Fatal("it is withheld")
			}
			got := <-in.queue
			if got.Origin != "x" || got.Topic != (proxy.Topic{App: "app", Channel: test.in.Channel}) {
				t.Errorf("published on %s from %s", got.Topic, got.Origin)
			}
			if got.Name != test.want.Name || got.Publisher != test.want.Publisher || got.UserID != test.want.UserID ||
				got.Via != test.want.Via || got.Except != test.want.Except {
				t.Errorf("published as %+v, want %+v", *got, test.want)
			}
		})
	}
}

func TestInletKnowsEchoesByTheirContent(t *testing.T) {
	for name, test := range map[string]struct {
		description translators.Description
		guesses     bool
	}{
		"a backend without echo control":                          {translators.Description{Echo: translators.EchoNone}, true},
		"a backend that tags, but whose messages carry no origin": {translators.Description{Echo: translators.EchoTagged}, true},
		"a backend that tags": {translators.Description{Echo: translators.EchoTagged, Features: map[translators.Feature]translators.Fidelity{
			translators.FeatureIdentity: {Level: translators.Exact},
		}}, false},
		"a backend that sends no echo": {native, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := inletFor(test.description, BreakerPolicy{})
			ev := &proxy.Event{Topic: proxy.Topic{App: "app", Channel: "room"}, Name: "news", Data: []byte("1")}
			in.handed([]item{{event: ev, seq: 0}})
			for range 2 { // ours, and an equal one of somebody else
				in.take(translators.Envelope{Channel: "room", Event: "news", Data: []byte("1")}, epoch)
			}
			want := 2
			if test.guesses {
				want = 1
			}
			if len(in.queue) != want {
				t.Errorf("%d of 2 were taken, want %d", len(in.queue), want)
			}
		})
	}
}

// repeat returns how often something is true until it is not, and is not any
// more then.
func repeat(n int, holds func() bool) (times int) {
	ended := false
	for range n {
		switch held := holds(); {
		case held && ended:
			return -1
		case held:
			times++
		default:
			ended = true
		}
	}
	return times
}

func TestEchoes(t *testing.T) {
	items := func(seqs ...uint64) (list []item) {
		for _, seq := range seqs {
			list = append(list, item{event: event("a", 0), seq: seq})
		}
		return list
	}
	take := func(e *echoes, at time.Duration) bool { return e.take("a", "", nil, after(at)) }
	for name, test := range map[string]func(e *echoes) bool{
		"one echo is taken for each event": func(e *echoes) bool {
			e.expect(items(1, 2))
			return repeat(4, func() bool { return take(e, 0) }) == 2
		},
		"an item that is handed over again is one echo": func(e *echoes) bool {
			e.expect(items(1))
			e.expect(items(1))
			return take(e, 0) && !take(e, 0)
		},
		"what the backend refused does not come back": func(e *echoes) bool {
			e.expect(items(1))
			e.settle(1, false, epoch)
			return !take(e, 0)
		},
		"an echo is waited for while there is no answer": func(e *echoes) bool {
			e.expect(items(1))
			return take(e, time.Hour)
		},
		"an echo is waited for after the answer, but not for long": func(e *echoes) bool {
			e.expect(items(1, 2))
			e.settle(1, true, epoch)
			e.settle(2, true, epoch)
			return take(e, echoFor) && !take(e, echoFor+1)
		},
		"another channel's event is no echo": func(e *echoes) bool {
			e.expect(items(1))
			return !e.take("b", "", nil, epoch) && take(e, 0)
		},
		"the oldest is forgotten when there are too many": func(e *echoes) bool {
			e.expect([]item{{event: event("b", 0), seq: 0}})
			for seq := range uint64(maxEchoes) {
				e.expect(items(seq + 1))
			}
			return !e.take("b", "", nil, epoch) && take(e, 0) && len(e.bySeq) == maxEchoes-1
		},
		"answers in another order leave no rest": func(e *echoes) bool {
			for seq := range uint64(5 * maxEchoes) {
				e.expect(items(seq))
				if seq > 0 { // the first one stays without an answer
					e.settle(seq, false, epoch)
				}
			}
			return len(e.order) <= 2*maxEchoes+1 && len(e.bySeq) == 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			if !test(newEchoes()) {
				t.Error("it does not hold")
			}
		})
	}
}

func TestBreaker(t *testing.T) {
	policy := Settings{Breaker: BreakerPolicy{Circles: 3, Strays: 2}}.withDefaults().Breaker
	ev := event("a", 0)
	arrive := func(b *breaker, at time.Duration) bool { return b.arrive("a", "", nil, after(at)) }
	for name, test := range map[string]func(b *breaker) bool{
		"the same content may come as often as it likes, if it is not passed on": func(b *breaker) bool {
			for range 1000 {
				if !arrive(b, 0) {
					return false
				}
			}
			return true
		},
		"content that was passed on opens it when it comes back too often": func(b *breaker) bool {
			b.onward(ev, epoch)
			return repeat(6, func() bool { return arrive(b, 0) }) == 3
		},
		"other content of the channel does not come in either, that of other channels does": func(b *breaker) bool {
			b.onward(ev, epoch)
			for range 4 {
				arrive(b, 0)
			}
			return !b.arrive("a", "", []byte("other"), epoch) && b.arrive("b", "", nil, epoch)
		},
		"slow repeats do not open it": func(b *breaker) bool {
			for i := range 20 {
				b.onward(ev, after(time.Duration(i)*15*time.Second))
				if !arrive(b, time.Duration(i)*15*time.Second) {
					return false
				}
			}
			return true
		},
		"it closes after the pause": func(b *breaker) bool {
			b.onward(ev, epoch)
			for range 4 {
				arrive(b, 0)
			}
			return !arrive(b, policy.Pause-1) && arrive(b, policy.Pause)
		},
		"it closes when it is reset": func(b *breaker) bool {
			b.onward(ev, epoch)
			for range 4 {
				arrive(b, 0)
			}
			b.reset()
			open, openings := b.state(epoch)
			return arrive(b, 0) && len(open) == 0 && openings == 1
		},
		"events that come from too far open it": func(b *breaker) bool {
			for range 3 {
				b.stray("a", epoch)
			}
			open, openings := b.state(epoch)
			return !arrive(b, 0) && open["a"].Equal(after(policy.Pause)) && openings == 1
		},
		"with too many channels it opens for all": func(b *breaker) bool {
			for n := range maxOpen + 1 {
				for range 3 {
					b.stray(protocol.ChannelName(strings.Repeat("x", n+1)), epoch)
				}
			}
			open, _ := b.state(epoch)
			return !arrive(b, 0) && len(open) == maxOpen+1
		},
	} {
		t.Run(name, func(t *testing.T) {
			if !test(newBreaker(policy, zerolog.Nop())) {
				t.Error("it does not hold")
			}
		})
	}
}
