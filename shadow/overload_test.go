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

// overload is healthy traffic that is more than the comparator can hold.
type overload struct {
	plan
	queue int           // records that fit between two looks; 0: all
	lag   time.Duration // how much later the backend delivers
}

// observe shows a state the records that fit in the queue, and tells it of the
// others as a comparator does.
func (o overload) observe(c Config) *state {
	records, _ := o.traffic(time.Now())
	for _, r := range records {
		if r.Leg == testBackend && r.Kind == proxy.KindDelivered {
			r.At = r.At.Add(o.lag)
		}
	}
	slices.SortStableFunc(records, func(a, b *proxy.Record) int { return a.At.Compare(b.At) })
	s, rng := newState(c.withDefaults(), testApps(o.sockets > 0)), rand.New(rand.NewPCG(o.seed, 2))
	q := newQueue(len(records))
	look := func() {
		batch, lost := q.take()
		for key, span := range lost {
			s.gap(key, "", span)
		}
		for i := range batch {
			s.observe(&batch[i])
		}
	}
	next := s.nanos(records[0].At) + int64(time.Second)
	for i, r := range records {
		if at := s.nanos(r.At); at >= next {
			look()
			s.sweep(at)
			next = at + int64(time.Second)
		}
		if o.queue > 0 && i%1000 == 0 { // now and then it is slow
			if q.capacity = len(records); rng.IntN(4) == 0 {
				q.capacity = o.queue
			}
		}
		q.offer(r)
		if i%(o.queue+500) == 0 {
			look()
		}
	}
	look()
	s.closeAll(next+int64(time.Second), true)
	return s
}

// TestOverloadAccusesNobody gives the comparator more than fits in its queue
// and its windows. What it could not see is unknown, and nothing else.
func TestOverloadAccusesNobody(t *testing.T) {
	for name, o := range map[string]overload{
		"queue too small":                         {queue: 100},
		"queue too small, ids":                    {queue: 100, plan: plan{ids: true}},
		"queue too small, identical":              {queue: 100, plan: plan{identical: 0.5}},
		"queue too small, relayed":                {queue: 100, plan: plan{sockets: 2}},
		"window too small":                        {lag: 3 * time.Second},
		"window too small, ids":                   {lag: 3 * time.Second, plan: plan{ids: true}},
		"window too small, identical, relayed":    {lag: 3 * time.Second, plan: plan{identical: 0.5, sockets: 2}},
		"both too small, ids":                     {lag: 3 * time.Second, queue: 100, plan: plan{ids: true}},
		"both too small, bursts":                  {lag: time.Second, queue: 300, plan: plan{bursts: true}},
		"both too small, ids, identical, relayed": {lag: 3 * time.Second, queue: 200, plan: plan{ids: true, identical: 0.3, sockets: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				o := o
				o.seed, o.channels, o.events, o.every = seed, 2, 3000, 3*time.Millisecond
				c := Config{}
				if o.lag > 0 {
					c.ChannelWindow = 300
				}
				s := o.observe(c)
				for _, pair := range s.ledger.pairs() {
					sum := total(s, pair.Reference, pair.Candidate)
					got := found(sum)
					want := foretold{Expected: got.Expected, Matched: got.Expected, Unknown: got.Unknown}
					if got != want {
						t.Errorf("seed %d, %s: %+v, want nothing but matched and unknown", seed, pair.Candidate, got)
					}
				}
			}
		})
	}
}

// TestManyChannelsAreBounded has a few events on each of very many channels.
func TestManyChannelsAreBounded(t *testing.T) {
	const channels, bound = 5000, 1000
	s, start := newState(Config{OpenWindow: bound}.withDefaults(), testApps(false)), time.Now()
	events := make([]*proxy.Event, channels)
	for c := range events {
		topic := proxy.Topic{App: testApp, Channel: protocol.ChannelName(fmt.Sprint("room-", c))}
		ev := &proxy.Event{ID: proxy.EventID{Node: 1, Seq: uint64(c + 1)}, Topic: topic, Name: "message", Data: []byte("x"), At: start}
		events[c] = ev
		s.observe(&proxy.Record{Kind: proxy.KindPublished, At: start, Leg: proxy.LegEngine, Topic: topic, Event: ev})
		s.observe(&proxy.Record{Kind: proxy.KindDelivered, At: start, Leg: proxy.LegEngine, Topic: topic, Event: ev, Count: 1})
		s.observe(&proxy.Record{Kind: proxy.KindMirrored, At: start, Leg: testBackend, Topic: topic, Event: ev, Text: "OK"})
	}
	now := s.nanos(start.Add(time.Second))
	if s.sweep(now); s.open > bound {
		t.Errorf("%d events and arrivals are open, want at most %d", s.open, bound)
	}
	for _, ev := range events {
		s.observe(&proxy.Record{Kind: proxy.KindDelivered, At: start.Add(2 * time.Second), Leg: testBackend, Topic: ev.Topic, Event: ev})
	}
	s.closeAll(s.nanos(start.Add(10*time.Second)), true)
	got := found(total(s, proxy.LegEngine, testBackend))
	if want := (foretold{Expected: got.Expected, Matched: got.Expected, Unknown: channels - got.Expected}); got != want {
		t.Errorf("got %+v, want the rest unknown: %+v", got, want)
	}
	if s.apps[testApp].overflow == 0 {
		t.Error("nothing says that memory ran short")
	}
}

// BenchmarkOverload has a backend deliver later than the window can wait.
func BenchmarkOverload(b *testing.B) {
	for _, events := range []int{20_000, 80_000} {
		b.Run(fmt.Sprint(events), func(b *testing.B) {
			o := overload{plan: plan{channels: 1, events: events, every: 100 * time.Microsecond, ids: true}, lag: 5 * time.Second}
			for b.Loop() {
				o.observe(Config{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
		})
	}
}
