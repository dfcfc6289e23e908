package backendtest

import (
	"context"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

var topic = proxy.Topic{App: "app", Channel: "private-a"}

func event(node, seq uint64) *proxy.Event {
	return &proxy.Event{
		ID: proxy.EventID{Node: node + 1, Seq: seq}, Topic: topic, Name: "e", Data: []byte(strconv.FormatUint(seq, 10)), At: time.Now(),
	}
}

// publishAll publishes events numbered 1 to count from each node at once.
func publishAll(receivers []receiver, count int) {
	var wg sync.WaitGroup
	for node, r := range receivers {
		wg.Go(func() {
			for seq := range count {
				r.publish(event(uint64(node), uint64(seq+1)))
			}
		})
	}
	wg.Wait()
}

// oneOrder: all subscribed nodes deliver a topic's events in one order, which
// is for each publisher the order in which it published.
func oneOrder(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	for _, r := range receivers {
		r.subscribe(topic)
	}
	const count = 300
	publishAll(receivers, count)
	var first []proxy.EventID
	for i, r := range receivers {
		last := map[uint64]uint64{}
		for n := range count * len(nodes) {
			id := r.next().ID
			if id.Seq != last[id.Node]+1 {
				t.Fatalf("node %d delivers %d after %d of publisher %d", i, id.Seq, last[id.Node], id.Node)
			}
			last[id.Node] = id.Seq
			if i == 0 {
				first = append(first, id)
			} else if id != first[n] {
				t.Fatalf("node %d delivers %v as number %d, node 0 %v", i, id, n, first[n])
			}
		}
	}
}

// once: no event is delivered twice. A last event on every node shows that
// nothing is on its way any more.
func once(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	for _, r := range receivers {
		r.subscribe(topic)
	}
	const count = 50
	publishAll(receivers, count)
	receivers[0].publish(event(99, 1))
	for i, r := range receivers {
		seen := map[proxy.EventID]bool{}
		for {
			id := r.next().ID
			if seen[id] {
				t.Errorf("node %d delivers %v twice", i, id)
			}
			if seen[id] = true; id == event(99, 1).ID {
				break
			}
		}
		if want := count*len(nodes) + 1; len(seen) != want {
			t.Errorf("node %d delivers %d events, want %d", i, len(seen), want)
		}
	}
}

// fields: an event arrives as it was published.
func fields(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	sent := &proxy.Event{
		ID: proxy.EventID{Node: 1<<63 + 5, Seq: 7}, Topic: topic, Name: `App\Events\ä`, Data: []byte("{\"a\":\"\u2028\x00\"}"),
		Except: "1.2", UserID: "user", Socket: "3.4", Publisher: proxy.ByClient, Origin: proxy.LegVendor, At: time.Now(),
	}
	for _, r := range receivers {
		r.subscribe(topic)
	}
	receivers[0].publish(sent)
	for i, r := range receivers {
		got := *r.next()
		if !got.At.Equal(sent.At) && got.At.Sub(sent.At).Abs() > time.Millisecond {
			t.Errorf("node %d: At = %v, want %v", i, got.At, sent.At)
		}
		got.At = sent.At
		if !reflect.DeepEqual(got, *sent) {
			t.Errorf("node %d delivers %+v, want %+v", i, got, *sent)
		}
	}
}

// publisherSees: what watches a node sees all that is published there.
func publisherSees(t *testing.T, nodes []Node) {
	r := receive(t, nodes)[0]
	r.publish(event(0, 1))
	if got := r.next().ID; got != event(0, 1).ID {
		t.Errorf("delivered %v", got)
	}
}

// unsubscribed: a node without interest gets no events of others.
func unsubscribed(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	for _, r := range receivers {
		r.subscribe(topic)
	}
	receivers[0].publish(event(0, 1))
	for _, r := range receivers {
		r.next()
		r.unsubscribe(topic)
	}
	for _, r := range receivers[1:] {
		r.subscribe(proxy.Topic{App: "app", Channel: "last"})
	}
	receivers[0].publish(event(0, 2))
	last := event(0, 3)
	last.Topic.Channel = "last"
	receivers[0].publish(last)
	for i, r := range receivers[1:] {
		if got := r.next(); got.ID != last.ID {
			t.Errorf("node %d delivers %v after it unsubscribed", i+1, got.ID)
		}
	}
	for _, r := range receivers {
		r.subscribe(topic)
	}
	receivers[0].publish(event(0, 4))
	for _, r := range receivers[1:] {
		if got := r.next(); got.ID != event(0, 4).ID {
			t.Errorf("delivered %v after subscribing once more", got.ID)
		}
	}
}

// topicsApart: apps with channels of one name, and names that look alike.
func topicsApart(t *testing.T, nodes []Node) {
	receivers := receive(t, nodes)
	topics := []proxy.Topic{
		{App: "app", Channel: "a"}, {App: "other", Channel: "a"}, {App: "app", Channel: "a,b"}, {App: "app,a", Channel: "b"},
		{App: "app", Channel: "#server-to-user-a"}, {App: "app", Channel: "A"},
	}
	last := receivers[len(receivers)-1]
	for _, topic := range topics {
		last.subscribe(topic)
	}
	for i, topic := range topics {
		ev := event(0, uint64(i+1))
		ev.Topic = topic
		receivers[0].publish(ev)
	}
	got := map[proxy.Topic]int{}
	for range topics {
		ev := last.next()
		got[ev.Topic]++
		if want := topics[ev.ID.Seq-1]; ev.Topic != want {
			t.Errorf("event on %v arrives on %v", want, ev.Topic)
		}
	}
	if len(got) != len(topics) {
		t.Errorf("events on %d topics, want %d", len(got), len(topics))
	}
}

// endedContext: Publish on a broker that does not run yet gives up with its
// caller.
func endedContext(t *testing.T, nodes []Node) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := nodes[0].Broker.Publish(ctx, event(0, 1)); err == nil {
		t.Error("Publish = nil, want an error")
	}
	receive(t, nodes)
}

func socket(n int) protocol.SocketID { return protocol.SocketID("1." + strconv.Itoa(n)) }
