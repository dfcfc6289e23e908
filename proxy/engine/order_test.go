package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Every subscriber sees the events of a channel in one order, each once, and
// the watchers are shown the same order.
func TestOneOrderForEverybody(t *testing.T) {
	n := run(t, nodeSettings{kinds: proxy.KindsOf(proxy.KindPublished, proxy.KindDelivered)})
	const publishers, events, subscribers = 8, 200, 5
	var subs []*client
	for range subscribers {
		c := n.dial()
		c.subscribe("c", "")
		c.take()
		subs = append(subs, c)
	}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range events {
				n.publish("c", "e", fmt.Sprintf("%d/%d", p, i))
			}
		})
	}
	wg.Wait()
	for _, c := range subs {
		eventually(t, "every event is there", func() bool { return c.count() >= publishers*events })
	}
	first := subs[0].take()
	for _, c := range subs[1:] {
		if got := c.take(); !slices.Equal(got, first) {
			t.Fatal("two subscribers saw different orders")
		}
	}
	checkPerPublisher(t, n, first)
	for _, kind := range []proxy.Kind{proxy.KindPublished, proxy.KindDelivered} {
		eventually(t, "every record is there", func() bool { return len(eventData(n, kind)) == publishers*events })
		for i, data := range eventData(n, kind) {
			if f := parse(t, first[i]); string(f.Data) != strconv.Quote(data) {
				t.Fatalf("%v record %d is of %s, the subscribers' of %s", kind, i, data, f.Data)
			}
		}
	}
}

func checkPerPublisher(t *testing.T, n *node, frames []string) {
	t.Helper()
	next := map[string]int{}
	for _, text := range frames {
		var data string
		data, _ = strconv.Unquote(string(parse(t, text).Data))
		publisher, number, _ := strings.Cut(data, "/")
		if got, _ := strconv.Atoi(number); got != next[publisher] {
			t.Fatalf("publisher %s: event %d where %d was due", publisher, got, next[publisher])
		}
		next[publisher]++
	}
}

func eventData(n *node, kind proxy.Kind) []string {
	var data []string
	for _, r := range n.tap.all() {
		if r.Kind == kind {
			data = append(data, string(r.Event.Data))
		}
	}
	return data
}

// Whoever joins a cache channel gets the kept event and then every later one:
// none twice, none missing, whenever the join falls.
func TestKeptEventAndLiveOnesAreOneSequence(t *testing.T) {
	n := run(t, nodeSettings{})
	events := 0
	joined := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for open := true; open; events++ {
			select {
			case <-joined:
				open = false // one more, which everybody gets live
			default:
			}
			n.publish("cache-a", "e", strconv.Itoa(events))
		}
	})
	subs := make([]*client, 500)
	for i := range subs {
		subs[i] = n.dial()
		subs[i].subscribe("cache-a", "")
		if i > 10 {
			subs[i-10].unsubscribe("cache-a") // so that publishing stays quick
		}
	}
	close(joined)
	wg.Wait()
	last := fmt.Sprintf(`"data":"%d"}`, events-1)
	for i, c := range subs {
		if i > len(subs)-10 {
			eventually(t, "the last event is there", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return strings.HasSuffix(c.frames[len(c.frames)-1], last)
			})
		}
		checkSequence(t, i, c.take())
	}
}

func checkSequence(t *testing.T, subscriber int, frames []string) {
	t.Helper()
	if !succeeded(frames) {
		t.Fatalf("subscriber %d: first frame %s", subscriber, frames[0])
	}
	next := -1
	for i, text := range frames[1:] {
		f := parse(t, text)
		if f.Event == "pusher:cache_miss" && i == 0 {
			next = 0
			continue
		}
		got, err := strconv.Atoi(strings.Trim(string(f.Data), `"`))
		if err != nil || next >= 0 && got != next {
			t.Fatalf("subscriber %d: %s where event %d was due", subscriber, text, next)
		}
		next = got + 1
	}
}

// view is what a client knows of a presence channel, kept up as pusher-js
// does: from the confirmation, then by additions and removals.
type view struct {
	me      string
	members map[string]bool
}

func (v *view) apply(t *testing.T, text string) {
	t.Helper()
	f := parse(t, text)
	var change struct {
		UserID string `json:"user_id"`
	}
	switch f.Event {
	case "pusher_internal:subscription_succeeded":
		var data struct {
			Presence struct {
				Count int
				IDs   []string
				Hash  map[string]any
			}
		}
		f.data(t, &data)
		p := data.Presence
		if p.Count != len(p.IDs) || p.Count != len(p.Hash) {
			t.Fatalf("count, ids and hash differ: %s", text)
		}
		v.members = map[string]bool{}
		for _, id := range p.IDs {
			v.members[id] = true
		}
		if !v.members[v.me] {
			t.Fatalf("%s is not in its own confirmation: %s", v.me, text)
		}
	case "pusher_internal:member_added":
		f.data(t, &change)
		if v.members == nil || v.members[change.UserID] || change.UserID == v.me {
			t.Fatalf("%s, who knows %v, is told of %s", v.me, v.members, text)
		}
		v.members[change.UserID] = true
	case "pusher_internal:member_removed":
		f.data(t, &change)
		if !v.members[change.UserID] || change.UserID == v.me {
			t.Fatalf("%s, who knows %v, is told of %s", v.me, v.members, text)
		}
		delete(v.members, change.UserID)
	default:
		t.Fatalf("unexpected frame %s", text)
	}
}

// However joins and leaves interleave, nobody is told of a member twice, and
// in the end every client knows who is there.
func TestPresenceViewsAgree(t *testing.T) {
	n := run(t, nodeSettings{kinds: proxy.AllKinds})
	const users, sockets, rounds = 8, 2, 40
	var wg sync.WaitGroup
	var mu sync.Mutex
	stay := map[*client]string{}
	for u := range users {
		for range sockets {
			wg.Go(func() {
				me := fmt.Sprintf("u%d", u)
				for range rounds {
					c := n.dial()
					c.subscribe("presence-a", `{"user_id":"`+me+`"}`)
					if rand.IntN(2) == 0 {
						c.unsubscribe("presence-a")
						c.subscribe("presence-a", `{"user_id":"`+me+`"}`)
					}
					c.conn.Close(1000, "")
				}
				c := n.dial()
				c.subscribe("presence-a", `{"user_id":"`+me+`"}`)
				mu.Lock()
				stay[c] = me
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	for c, me := range stay {
		v := view{me: me}
		eventually(t, "everybody is known", func() bool {
			for _, text := range c.take() {
				v.apply(t, text)
			}
			return len(v.members) == users
		})
	}
	checkRecords(t, n.tap.all())
	if got, _ := n.Users(t.Context(), n.topic("presence-a")); len(got) != users {
		t.Errorf("Users = %v, want %d", got, users)
	}
}

// checkRecords replays the records of presence-a: a channel is occupied only
// when vacant, a member removed only when there, and so on.
func checkRecords(t *testing.T, records []proxy.Record) {
	t.Helper()
	occupied, count := false, 0
	members := map[string]bool{}
	for i, r := range records {
		if r.Topic.Channel != "presence-a" {
			continue
		}
		bad := false
		switch r.Kind {
		case proxy.KindOccupied:
			bad = occupied || count != 0
			occupied = true
		case proxy.KindVacated:
			bad = !occupied || count != 0 || len(members) != 0
			occupied = false
		case proxy.KindSubscribed:
			count++
			bad = !occupied || r.Count != count
		case proxy.KindUnsubscribed:
			count--
			bad = !occupied || r.Count != count
		case proxy.KindMemberAdded:
			bad = members[r.UserID]
			members[r.UserID] = true
		case proxy.KindMemberRemoved:
			bad = !members[r.UserID]
			delete(members, r.UserID)
		}
		if bad {
			t.Fatalf("record %d, %v of %q with count %d, does not follow: occupied %t, count %d, members %v",
				i, r.Kind, r.UserID, r.Count, occupied, count, members)
		}
	}
}

// Nothing is left of a channel, a user or a count that nobody holds any more.
func TestNothingIsLeftOver(t *testing.T) {
	broker := &countingBroker{subscribed: map[proxy.Topic]int{}}
	n := run(t, nodeSettings{
		app:    func(a *proxy.App) { a.SubscriptionCounting = true },
		broker: func(b proxy.Broker) proxy.Broker { broker.Broker = b; return broker },
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				c := n.dial()
				c.signin(fmt.Sprintf(`{"id":"u%d","watchlist":["u%d","u%d"]}`, i, (i+1)%8, (i+2)%8))
				for _, name := range []string{"c", "private-a", "presence-a", "cache-a", fmt.Sprintf("only-%d-%d", i, j)} {
					c.subscribe(name, fmt.Sprintf(`{"user_id":"u%d"}`, i))
				}
				c.subscribe(fmt.Sprintf("#server-to-user-u%d", i), "")
				c.send(`{"event":"client-x","channel":"private-a","data":{}}`)
				c.conn.Close(1000, "")
			}
		})
	}
	wg.Wait()
	n.tenant(testApp).each(func(ch *channel) { t.Errorf("channel %s is left over, held %d times", ch.name, ch.holds) })
	if got := n.Stats(testApp); got.Connections != 0 || got.Channels != 0 || got.Subscriptions != 0 {
		t.Errorf("Stats = %+v, want nothing open", got)
	}
	for topic, count := range broker.subscribed {
		if count != 0 {
			t.Errorf("%s is subscribed at the broker %d times", topic, count)
		}
	}
	if len(broker.wrong) > 0 {
		t.Errorf("subscribed twice, or unsubscribed without: %v", broker.wrong)
	}
	for _, name := range []string{"presence-a", "#user-u0"} {
		if got, _ := n.presence.Members(t.Context(), n.topic(name)); len(got) != 0 {
			t.Errorf("members of %s: %v", name, got)
		}
	}
}

// countingBroker watches that each topic is subscribed once at a time.
type countingBroker struct {
	proxy.Broker
	mu         sync.Mutex
	subscribed map[proxy.Topic]int
	wrong      []proxy.Topic
}

func (b *countingBroker) count(t proxy.Topic, change int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribed[t] += change
	if n := b.subscribed[t]; n < 0 || n > 1 {
		b.wrong = append(b.wrong, t)
	}
}

func (b *countingBroker) Subscribe(ctx context.Context, t proxy.Topic) error {
	b.count(t, 1)
	return b.Broker.Subscribe(ctx, t)
}

func (b *countingBroker) Unsubscribe(ctx context.Context, t proxy.Topic) error {
	b.count(t, -1)
	return b.Broker.Unsubscribe(ctx, t)
}

func TestRecordsOfALife(t *testing.T) {
	n := run(t, nodeSettings{kinds: proxy.AllKinds, app: func(a *proxy.App) { a.SubscriptionCounting = true }})
	c := n.dial()
	c.subscribe("presence-cache-a", `{"user_id":"7"}`)
	c.subscribe("c", "")
	c.subscribe("private-a", `nonsense`) // counts in the signature all the same
	c.send(`{"event":"client-x","channel":"private-a","data":{}}`)
	c.subscribe("c", "")
	c.signin(`{"id":"u"}`)
	c.subscribe("#server-to-user-u", "")
	c.unsubscribe("presence-cache-a")
	c.conn.Close(1001, "going away")
	var got []string
	for _, r := range n.tap.all() {
		if r.Kind == proxy.KindDelivered {
			continue // its time is the flusher's
		}
		line := fmt.Sprintf("%v channel=%q user=%q count=%d code=%d action=%q text=%q", r.Kind, r.Topic.Channel, r.UserID, r.Count, r.Code, r.Action, r.Text)
		got = append(got, line)
		if r.At.IsZero() || r.Leg != proxy.LegEngine || r.Topic.App != testApp {
			t.Errorf("%s: At %v, Leg %q, App %q", line, r.At, r.Leg, r.Topic.App)
		}
	}
	golden(t, "records.golden", strings.Join(got, "\n")+"\n")
}

// The frames' bytes are the protocol package's; here it is only shown that a
// subscriber of several channels gets each in order with an excluded sender.
func TestExceptIsSkippedOnEveryChannel(t *testing.T) {
	n := run(t, nodeSettings{kinds: proxy.KindsOf(proxy.KindDelivered)})
	a, b := n.dial(), n.dial()
	for _, c := range []*client{a, b} {
		c.subscribe("c1", "")
		c.subscribe("c2", "")
		c.take()
	}
	p := Publication{Channels: []protocol.ChannelName{"c1", "c2"}, Name: "e", Data: []byte("1"), Except: a.conn.SocketID()}
	if err := n.Publish(t.Context(), n.app.Load(), p); err != nil {
		t.Fatal(err)
	}
	p = Publication{Channels: []protocol.ChannelName{"c1"}, Name: "e", Data: []byte("2"), Except: "145814.20211781"}
	if err := n.Publish(t.Context(), n.app.Load(), p); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is delivered", func() bool { return b.count() == 3 && a.count() == 1 && len(n.tap.all()) == 3 })
	if got, want := a.take()[0], `{"event":"e","channel":"c1","data":"2"}`; got != want {
		t.Errorf("the excluded socket got %s, want only %s", got, want)
	}
	receivers := 0
	for _, r := range n.tap.all() {
		receivers += r.Count
	}
	if got := n.Stats(testApp); receivers != 4 || got.Deliveries != 4 || got.ServerEvents != 3 {
		t.Errorf("receivers recorded %d, Stats %+v; want 4 deliveries of 3 events", receivers, got)
	}
}
