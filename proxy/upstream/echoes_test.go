package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

func TestEchoesAreCounted(t *testing.T) {
	var e echoes
	start := time.Unix(0, 0)
	event := func(channel, name, data string) *proxy.Event {
		return &proxy.Event{Topic: proxy.Topic{App: "1", Channel: protocol.ChannelName(channel)}, Name: name, Data: []byte(data)}
	}
	e.expect(event("c", "e", "1"), start)
	e.expect(event("c", "e", "1"), start)
	e.expect(event("c", "e", "late"), start)
	steps := []struct {
		channel protocol.ChannelName
		name    string
		data    string
		after   time.Duration
		want    bool
	}{
		{"c", "e", "2", 0, false},
		{"d", "e", "1", 0, false},
		{"c", "f", "1", 0, false},
		{"c", "e", "1", time.Second, true},
		{"c", "e", "1", time.Second, true},
		{"c", "e", "1", time.Second, false}, // the third is somebody else's
		{"c", "e", "late", echoFor + time.Second, false},
	}
	for i, s := range steps {
		if got := e.take(s.channel, s.name, []byte(s.data), start.Add(s.after)); got != s.want {
			t.Errorf("step %d: take(%s, %s, %s) = %v, want %v", i, s.channel, s.name, s.data, got, s.want)
		}
	}
}

func TestCaughtUpWaitsForWhatWasThereBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(10)
		var events [3]proxy.Record
		for i := range events {
			topic := proxy.Topic{App: "1"}
			events[i] = proxy.Record{Kind: proxy.KindPublished, Leg: proxy.LegEngine, Topic: topic, Event: &proxy.Event{Topic: topic}}
		}
		f.Offer(events[0])
		f.Offer(events[1])
		done := make(chan time.Time, 1)
		start := time.Now()
		go func() {
			f.caughtUp("1")
			done <- time.Now()
		}()
		synctest.Wait()
		f.Offer(events[2]) // one more comes, which it need not wait for
		time.Sleep(100 * time.Millisecond)
		f.settle(events[0])
		f.settle(events[2]) // and overtakes the second
		synctest.Wait()
		if len(done) != 0 {
			t.Error("it went on with an event before it that is not settled")
		}
		time.Sleep(100 * time.Millisecond)
		f.settle(events[1])
		if waited := (<-done).Sub(start); waited != 200*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		f.Offer(events[0])
		start = time.Now()
		f.caughtUp("1") // it is never settled
		if waited := time.Since(start); waited != longestWait {
			t.Errorf("waited %v for what does not come, want %v", waited, longestWait)
		}
		start = time.Now()
		f.caughtUp("another app")
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v for another app", waited)
		}
	})
}

func TestFeedTakesOnlyWhatIsTheEngines(t *testing.T) {
	f := NewFeed(1)
	own := proxy.Record{Kind: proxy.KindPublished, Leg: proxy.LegEngine, Topic: proxy.Topic{App: "1"}, Event: &proxy.Event{Origin: proxy.LegEngine}}
	back := own
	back.Event = &proxy.Event{Origin: proxy.LegVendor}
	relayed := own
	relayed.Leg = proxy.LegVendor
	for _, r := range []proxy.Record{back, relayed} {
		if !f.Offer(r) || len(f.records) != 0 {
			t.Errorf("it took %+v", r)
		}
	}
	another := own
	another.Event = &proxy.Event{Origin: proxy.LegEngine}
	if !f.Offer(own) || f.Offer(another) {
		t.Error("it has room for one")
	}
	if n := f.unsettled("1"); n != 1 {
		t.Errorf("%d unsettled, want 1: what was dropped is settled", n)
	}
}
