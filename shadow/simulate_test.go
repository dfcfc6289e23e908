package shadow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// plan is a run of made-up traffic with known faults. The injector below
// knows nothing of the comparator.
type plan struct {
	seed      uint64
	channels  int
	events    int           // per channel
	every     time.Duration // between the events of a channel
	identical float64       // share of events that repeat one of two payloads
	ids       bool          // the candidate carries event ids
	sockets   int           // relayed sockets per channel; 0: the engine is the reference
	churn     bool          // sockets come and go
	bursts    bool
	rates     faults
}

type faults struct{ drop, dup, reorder, corrupt float64 }

// injected are the numbers of faults put in.
type injected struct{ events, drop, dup, reorder, corrupt int64 }

const (
	testApp     = "app-id"
	testBackend = proxy.Leg("nats")
)

func testApps(relayed bool) func(string) (*proxy.App, bool) {
	app := proxy.Defaults()
	app.ID = testApp
	app.Backends = []proxy.Backend{{Name: string(testBackend), Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1}}
	if relayed {
		app.Upstream = &proxy.Upstream{}
		app.Stage = proxy.StageShadow
	}
	return func(id string) (*proxy.App, bool) { return &app, id == testApp }
}

// script collects records to be offered in order of time.
type script struct {
	rng     *rand.Rand
	records []*proxy.Record
	seq     uint64
	start   time.Time
}

func (s *script) add(r proxy.Record) { s.records = append(s.records, &r) }

// traffic writes a plan's records.
func (p plan) traffic(start time.Time) ([]*proxy.Record, injected) {
	s := &script{rng: rand.New(rand.NewPCG(p.seed, 1)), start: start}
	var in injected
	for c := range p.channels {
		p.channel(s, proxy.Topic{App: testApp, Channel: protocol.ChannelName(fmt.Sprintf("room-%d", c))}, &in)
	}
	slices.SortStableFunc(s.records, func(a, b *proxy.Record) int { return a.At.Compare(b.At) })
	return s.records, in
}

func (p plan) reference() proxy.Leg {
	if p.sockets > 0 {
		return proxy.LegVendor
	}
	return proxy.LegEngine
}

func (p plan) channel(s *script, topic proxy.Topic, in *injected) {
	s.subscribe(p, topic)
	at := s.start.Add(5*time.Second + time.Duration(s.rng.Int64N(int64(p.every)+1)))
	events := make([]*proxy.Event, p.events)
	for i := range events {
		s.seq++
		data := fmt.Sprintf(`{"n":%d,"of":%q}`, s.seq, topic.Channel)
		if s.rng.Float64() < p.identical {
			data = fmt.Sprintf(`{"beat":%d}`, s.rng.IntN(2))
		}
		events[i] = &proxy.Event{
			ID: proxy.EventID{Node: 7, Seq: s.seq}, Topic: topic, Name: "message", Data: []byte(data), At: at,
		}
		s.add(proxy.Record{Kind: proxy.KindPublished, At: at, Leg: p.reference(), Topic: topic, Event: events[i]})
		if !p.bursts || s.rng.IntN(10) == 0 {
			at = at.Add(p.every)
		} else {
			at = at.Add(10 * time.Microsecond)
		}
	}
	in.events += int64(len(events))
	s.reference(p, topic, events)
	s.candidate(p, topic, events, in)
}

func (s *script) subscribe(p plan, topic proxy.Topic) {
	there := max(1, p.sockets)
	if p.churn {
		there = 1
	}
	for i := range there {
		s.add(proxy.Record{Kind: proxy.KindSubscribed, At: s.start, Leg: p.reference(), Topic: topic, Socket: socket(i), Count: i + 1})
		if p.sockets > 0 {
			s.add(proxy.Record{Kind: proxy.KindSubscribed, At: s.start.Add(time.Millisecond), Leg: proxy.LegEngine, Topic: topic, Socket: socket(i), Count: i + 1})
		}
	}
}

func socket(i int) protocol.SocketID { return protocol.SocketID(fmt.Sprintf("1.%d", i)) }

// reference delivers every event, in order, to every socket that is there.
func (s *script) reference(p plan, topic proxy.Topic, events []*proxy.Event) {
	if p.sockets == 0 {
		for _, ev := range events {
			s.add(proxy.Record{Kind: proxy.KindDelivered, At: ev.At.Add(100 * time.Microsecond), Leg: proxy.LegEngine, Topic: topic, Event: ev, Count: 1})
		}
		return
	}
	for i := range p.sockets {
		from, to := 0, len(events)
		if p.churn && i > 0 { // the first one stays
			from = s.rng.IntN(len(events))
			to = from + s.rng.IntN(len(events)-from)
			s.churn(topic, socket(i+100), events[from].At.Add(-5*time.Microsecond), events[to].At.Add(25*time.Millisecond))
		}
		id := socket(i)
		if p.churn && i > 0 {
			id = socket(i + 100)
		}
		for _, ev := range events[from:to] {
			seen := &proxy.Event{Topic: topic, Name: ev.Name, Data: slices.Clone(ev.Data)}
			lag := 20*time.Millisecond + time.Duration(i)*time.Microsecond
			s.add(proxy.Record{Kind: proxy.KindDelivered, At: ev.At.Add(lag), Leg: proxy.LegVendor, Topic: topic, Socket: id, Event: seen})
			s.add(proxy.Record{Kind: proxy.KindDelivered, At: ev.At.Add(200 * time.Microsecond), Leg: proxy.LegEngine, Topic: topic, Socket: id, Event: seen, Count: 1})
		}
	}
}

func (s *script) churn(topic proxy.Topic, id protocol.SocketID, from, to time.Time) {
	for _, leg := range []proxy.Leg{proxy.LegVendor, proxy.LegEngine} {
		s.add(proxy.Record{Kind: proxy.KindSubscribed, At: from, Leg: leg, Topic: topic, Socket: id, Count: 2})
		s.add(proxy.Record{Kind: proxy.KindUnsubscribed, At: to, Leg: leg, Topic: topic, Socket: id, Count: 1})
	}
}

// candidate delivers the events with faults, each on an event of its own.
func (s *script) candidate(p plan, topic proxy.Topic, events []*proxy.Event, in *injected) {
	at := time.Time{}
	deliver := func(ev *proxy.Event, data []byte) {
		at = later(at.Add(time.Microsecond), ev.At.Add(2*time.Millisecond+time.Duration(s.rng.IntN(1000))*time.Microsecond))
		seen := &proxy.Event{Topic: topic, Name: ev.Name, Data: data}
		if p.ids {
			seen.ID = ev.ID
		}
		s.add(proxy.Record{Kind: proxy.KindDelivered, At: at, Leg: testBackend, Topic: topic, Event: seen})
	}
	for i := 0; i < len(events); i++ {
		ev := events[i]
		s.add(proxy.Record{Kind: proxy.KindMirrored, At: ev.At.Add(time.Millisecond), Leg: testBackend, Topic: topic, Event: ev, Text: "OK", Count: int(ev.ID.Seq)})
		switch x, r := s.rng.Float64(), p.rates; {
		case x < r.drop:
			in.drop++
		case x < r.drop+r.dup:
			in.dup++
			deliver(ev, ev.Data)
			deliver(ev, ev.Data)
		case x < r.drop+r.dup+r.corrupt:
			in.corrupt++
			deliver(ev, append(slices.Clone(ev.Data), fmt.Sprint(i)...))
		case x < r.drop+r.dup+r.corrupt+r.reorder && i+1 < len(events):
			in.reorder++
			next := events[i+1]
			s.add(proxy.Record{Kind: proxy.KindMirrored, At: next.At.Add(time.Millisecond), Leg: testBackend, Topic: topic, Event: next, Text: "OK", Count: int(next.ID.Seq)})
			deliver(next, next.Data)
			deliver(ev, ev.Data)
			i++
		default:
			deliver(ev, ev.Data)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// run feeds records to a state in their own time and closes it.
func run(t testing.TB, c Config, relayed bool, records []*proxy.Record) *state {
	t.Helper()
	s := newState(c.withDefaults(), testApps(relayed))
	next := s.nanos(records[0].At) + int64(time.Second)
	for i := range records {
		at := s.nanos(records[i].At)
		for ; next <= at; next += int64(time.Second) {
			s.sweep(next)
		}
		s.observe(records[i])
	}
	s.closeAll(next+int64(time.Second), true)
	if s.open != 0 || s.bodies != 0 {
		t.Errorf("after closing, %d events and arrivals and %d bytes are still held", s.open, s.bodies)
	}
	return s
}

// total sums a pair's counts.
func total(s *state, reference, candidate proxy.Leg) Counts {
	var sum Counts
	for k, e := range s.ledger.cells {
		if k.Pair.Reference == reference && k.Pair.Candidate == candidate {
			sum.Add(&e.counts)
		}
	}
	return sum
}

// tally is the part of Counts that the injector foretells.
type foretold struct{ Expected, Matched, Missing, Duplicate, Reordered, PayloadDiffers, Unknown, Extra, RefMissing, RefDuplicate, RefReordered int64 }

func (in injected) foretell() foretold {
	return foretold{
		Expected: in.events, Matched: in.events - in.drop - in.corrupt, Missing: in.drop, Duplicate: in.dup,
		Reordered: in.reorder, PayloadDiffers: in.corrupt,
	}
}

func found(c Counts) foretold {
	return foretold{
		c.Expected, c.Matched, c.Missing, c.Duplicate, c.Reordered, c.PayloadDiffers, c.Unknown, c.Extra,
		c.ReferenceMissing, c.ReferenceDuplicate, c.ReferenceReordered,
	}
}

func (p plan) check(t *testing.T) {
	t.Helper()
	records, in := p.traffic(time.Now())
	s := run(t, Config{}, p.sockets > 0, records)
	if got, want := found(total(s, p.reference(), testBackend)), in.foretell(); got != want {
		t.Errorf("%+v\n got %+v\nwant %+v", p, got, want)
	}
	if p.sockets == 0 {
		return
	}
	if got, want := found(total(s, p.reference(), proxy.LegEngine)), (injected{events: in.events}).foretell(); got != want {
		t.Errorf("%+v, the engine:\n got %+v\nwant %+v", p, got, want)
	}
}

// TestNoDifferenceIsFoundWhereThereIsNone runs more than a million deliveries
// of an engine beside itself.
func TestNoDifferenceIsFoundWhereThereIsNone(t *testing.T) {
	deliveries := int64(0)
	for seed := uint64(0); deliveries < 1_000_000; seed++ {
		p := plan{
			seed: 1000 + seed, channels: 10, events: 1500, every: 10 * time.Millisecond, sockets: 3,
			identical: float64(seed%4) / 4, churn: seed%2 == 0, bursts: seed%3 == 0,
		}
		records, in := p.traffic(time.Now())
		s := run(t, Config{}, true, records)
		for _, candidate := range []proxy.Leg{proxy.LegEngine, testBackend} {
			if got, want := found(total(s, proxy.LegVendor, candidate)), in.foretell(); got != want {
				t.Errorf("%+v, %s:\n got %+v\nwant %+v", p, candidate, got, want)
			}
		}
		for i := range records {
			if records[i].Kind == proxy.KindDelivered {
				deliveries++
			}
		}
	}
	t.Logf("%d deliveries compared", deliveries)
}

// TestRareFaultsAreNamedAndCounted looks for a few faults in very many events.
func TestRareFaultsAreNamedAndCounted(t *testing.T) {
	for rate, events := range map[float64]int{1e-4: 5000, 1e-5: 20_000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			p := plan{seed: 3, channels: 12, events: events, every: 20 * time.Millisecond, identical: 0.1, ids: true, rates: faults{rate, rate, rate, rate}}
			if _, in := p.traffic(time.Now()); in.drop == 0 || in.dup == 0 || in.reorder == 0 || in.corrupt == 0 {
				t.Fatalf("the plan has no fault of some kind: %+v", in)
			}
			p.check(t)
		})
	}
}

func TestEveryInjectedFaultIsNamedAndCounted(t *testing.T) {
	all := func(rate float64) faults { return faults{rate, rate, rate, rate} }
	plans := map[string]plan{
		"no faults, engine":                      {sockets: 0, ids: true},
		"no faults, relayed, without ids":        {sockets: 3},
		"no faults, identical payloads":          {sockets: 2, identical: 0.9},
		"no faults, bursts of identical":         {sockets: 2, identical: 1, bursts: true},
		"no faults, sockets come and go":         {sockets: 4, churn: true},
		"no faults, come and go, identical":      {sockets: 4, churn: true, identical: 0.5},
		"1e-3 with ids":                          {ids: true, rates: all(1e-3)},
		"1e-3 without ids":                       {rates: all(1e-3)},
		"1e-1 with ids":                          {ids: true, rates: all(1e-1)},
		"1e-1 without ids":                       {rates: all(1e-1)},
		"1e-1 without ids, relayed":              {sockets: 3, rates: all(1e-1)},
		"1e-1 in bursts":                         {sockets: 1, bursts: true, rates: all(1e-1)},
		"1e-2, sockets come and go":              {sockets: 4, churn: true, rates: all(1e-2)},
		"1e-1 with ids, identical payloads":      {ids: true, identical: 0.5, rates: all(1e-1)},
		"drops among identical, without ids":     {identical: 0.5, rates: faults{drop: 1e-2}},
		"repeats among identical, without ids":   {identical: 0.5, rates: faults{dup: 1e-2}},
		"drops only, every event the same":       {identical: 1, rates: faults{drop: 1e-1}},
		"a dozen channels, relayed, 1e-2, no id": {channels: 12, sockets: 2, rates: all(1e-2)},
	}
	for name, p := range plans {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				p := p
				p.seed = seed
				p.channels, p.events, p.every = max(2, p.channels), 1000, 20*time.Millisecond
				p.check(t)
			}
		})
	}
}
