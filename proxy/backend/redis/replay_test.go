package redis

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// wire is a way to a server that can be cut.
type wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newWire(t *testing.T, s *server) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, to: s.address()}
	var done sync.WaitGroup
	done.Go(func() { w.serve(&done) })
	t.Cleanup(func() {
		_ = listener.Close()
		w.set(true)
		done.Wait()
	})
	return w
}

func (w *wire) at() Server {
	return Server{URL: proxy.NewSecret("redis://" + w.listener.Addr().String() + "/0")}
}

func (w *wire) serve(done *sync.WaitGroup) {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, near, far)
		if w.cut {
			_, _ = near.Close(), far.Close()
		}
		w.mu.Unlock()
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			done.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_, _ = way[0].Close(), way[1].Close()
			})
		}
	}
}

// set cuts the wire, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.conns = nil
	}
}

// numbered publishes events with data 1, 2, ... on some channels.
type numbered struct {
	t        *testing.T
	node     *testNode
	channels []proxy.Topic
	seq      uint64
}

func (n *numbered) publish(count int) {
	n.t.Helper()
	for range count {
		n.seq++
		ev := &proxy.Event{
			ID: proxy.EventID{Node: n.node.Broker.node, Seq: n.seq}, Topic: n.channels[n.seq%uint64(len(n.channels))], Name: "e", At: time.Now(),
			Data: []byte(fmt.Sprint(n.seq)), Except: "1.2",
		}
		if err := n.node.Broker.Publish(n.t.Context(), ev); err != nil {
			n.t.Fatalf("event %d: %v", n.seq, err)
		}
	}
}

// arrive checks that the next events are those up to the last one, each once,
// in the order of their channel.
func (n *numbered) arrive(after uint64, events <-chan *proxy.Event) {
	n.t.Helper()
	last := map[proxy.Topic]uint64{}
	for range n.seq - after {
		select {
		case ev := <-events:
			if ev.ID.Seq <= max(last[ev.Topic], after) || ev.Topic != n.channels[ev.ID.Seq%uint64(len(n.channels))] {
				n.t.Fatalf("event %d of %s comes after %d", ev.ID.Seq, ev.Topic, max(last[ev.Topic], after))
			}
			if string(ev.Data) != fmt.Sprint(ev.ID.Seq) || ev.Except != "1.2" {
				n.t.Fatalf("event %d comes as %q but for %s", ev.ID.Seq, ev.Data, ev.Except)
			}
			last[ev.Topic] = ev.ID.Seq
		case <-time.After(30 * time.Second):
			n.t.Fatalf("the last events do not come; %v were the last that did", last)
		}
	}
}

func topicsOf(count int) (list []proxy.Topic) {
	for i := range count {
		list = append(list, proxy.Topic{App: "app", Channel: protocol.ChannelName(fmt.Sprint("c", i))})
	}
	return append(list, proxy.Topic{App: "app", Channel: "cache-c"})
}

// What others publish while a node is cut off comes to it afterwards, once,
// in order with what comes then, and with what else it needs to be delivered.
func TestWhatWasPublishedMeanwhileIsReplayed(t *testing.T) {
	s := startServer(t)
	w := newWire(t, s)
	a, b := startNode(t, s, 1, DefaultLease), startNodeAt(t, w.at(), 2, DefaultLease)
	a.running(t)
	events := b.running(t)
	n := &numbered{t: t, node: a, channels: topicsOf(40)}
	for _, topic := range n.channels {
		if err := b.Broker.Subscribe(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		before := n.seq
		n.publish(50)
		w.set(true)
		n.publish(replayPage*20 - 50*round)
		eventually(t, "the node knows", func() bool { return b.Broker.Healthy() != nil })
		if err := b.Broker.Publish(t.Context(), &proxy.Event{ID: proxy.EventID{Node: 2, Seq: 1}, Topic: room}); err == nil {
			t.Error("a node that is cut off accepts an event")
		}
		w.set(false)
		n.publish(200)
		eventually(t, "the node is back", func() bool { return b.Broker.Healthy() == nil })
		n.publish(50)
		n.arrive(before, events)
	}
	if b.Broker.replayed.Load() == 0 || b.missedApps() != 0 {
		t.Errorf("%d were replayed, %d apps missed some", b.Broker.replayed.Load(), b.missedApps())
	}
}

// cutLinks cuts the connections on which events come, and no others, and waits
// until nodes have new ones.
func cutLinks(t *testing.T, servers []*server, nodes ...*testNode) {
	t.Helper()
	present := func(n *testNode) *link {
		n.Broker.mu.Lock()
		defer n.Broker.mu.Unlock()
		return n.Broker.link
	}
	old := make(map[*testNode]*link)
	for _, n := range nodes {
		old[n] = present(n)
	}
	for _, s := range servers {
		if err := s.client().Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
	}
	for n, l := range old {
		eventually(t, "the node has another link", func() bool { return present(n) != nil && present(n) != l })
	}
}

// replayed cuts links on any form of Redis while all nodes publish.
func replayed(t *testing.T, at Server, servers ...*server) {
	t.Helper()
	nodes := []*testNode{startNodeAt(t, at, 1, DefaultLease), startNodeAt(t, at, 2, DefaultLease), startNodeAt(t, at, 3, DefaultLease)}
	var events []<-chan *proxy.Event
	channels := topicsOf(8)
	for _, n := range nodes {
		ch := make(chan *proxy.Event, 1<<16)
		n.runInto(t, ch)
		events = append(events, ch)
		for _, topic := range channels {
			if err := n.Broker.Subscribe(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	accepted := make([]map[proxy.EventID]proxy.Topic, len(nodes))
	for i, n := range nodes {
		accepted[i] = make(map[proxy.EventID]proxy.Topic)
		publishing.Go(func() {
			for seq := uint64(1); ctx.Err() == nil; seq++ {
				ev := &proxy.Event{ID: proxy.EventID{Node: uint64(i + 1), Seq: seq}, Topic: channels[seq%uint64(len(channels))], Name: "e", At: time.Now()}
				if n.Broker.Publish(context.Background(), ev) == nil {
					accepted[i][ev.ID] = ev.Topic
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	for range 5 {
		cutLinks(t, servers, nodes...)
	}
	cancel()
	publishing.Wait()
	for _, topic := range channels { // what comes last
		eventually(t, "a last event is accepted", func() bool {
			return nodes[0].Broker.Publish(context.Background(), &proxy.Event{ID: proxy.EventID{Node: 9, Seq: 1}, Topic: topic, Name: "last", At: time.Now()}) == nil
		})
	}
	var orders []map[proxy.Topic][]proxy.EventID
	for i, ch := range events {
		got, order := map[proxy.EventID]bool{}, map[proxy.Topic][]proxy.EventID{}
		for last := 0; last < len(channels); {
			select {
			case ev := <-ch:
				if ev.Name == "last" {
					last++
					continue
				}
				if got[ev.ID] {
					t.Errorf("node %d has %v twice", i+1, ev.ID)
				}
				got[ev.ID] = true
				order[ev.Topic] = append(order[ev.Topic], ev.ID)
			case <-time.After(30 * time.Second):
				t.Fatalf("node %d does not get the last events", i+1)
			}
		}
		for from, list := range accepted {
			for id := range list {
				if !got[id] {
					t.Errorf("node %d lacks %v of node %d", i+1, id, from+1)
				}
			}
		}
		orders = append(orders, order)
	}
	for i := 1; i < len(orders); i++ {
		for topic, want := range orders[0] {
			if got := orders[i][topic]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s has another order on node %d", topic, i+1)
			}
		}
	}
}

func TestReplay(t *testing.T) {
	s := startServer(t)
	replayed(t, s.at(), s)
}

func TestReplayOnCluster(t *testing.T) {
	masters := startMasters(t)
	replayed(t, clusterOf(masters), masters...)
}

func TestReplayOnSentinel(t *testing.T) {
	s := startSentinel(t)
	replayed(t, s.at(), s.master)
}

// With the rights that the documentation names, and no others.
func TestReplayOnTLSWithLeastRights(t *testing.T) {
	ca := newAuthority(t)
	s := startTLSServer(t, append(ca.serverArgs(t), "--aclfile", aclFile(t))...)
	at := ca.at(s)
	n := startNodeAt(t, at, 1, DefaultLease)
	events := n.running(t)
	other := startNodeAt(t, at, 2, DefaultLease)
	other.running(t)
	p := &numbered{t: t, node: other, channels: topicsOf(1)}
	for _, topic := range p.channels {
		if err := n.Broker.Subscribe(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	p.publish(5)
	n.Broker.relink()
	p.publish(5)
	eventually(t, "the node is back", func() bool { return n.Broker.Healthy() == nil })
	p.publish(5)
	p.arrive(0, events)
}

// A log is cut at some size. A node that would need what was cut off says so,
// once, and its app's clients are sent away; one that would not does not.
func TestMoreIsPublishedThanIsHeld(t *testing.T) {
	s := startServer(t)
	w := newWire(t, s)
	a, b := startNode(t, s, 1, DefaultLease), startNodeAt(t, w.at(), 2, DefaultLease)
	a.running(t)
	events := b.running(t)
	topic := proxy.Topic{App: "app", Channel: "big"}
	n := &numbered{t: t, node: a, channels: []proxy.Topic{topic}}
	other := proxy.Topic{App: "other", Channel: "small"}
	for _, topic := range []proxy.Topic{topic, other} {
		if err := b.Broker.Subscribe(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	n.publish(1)
	n.arrive(0, events)
	fill := func(bytes int) {
		for seq := range bytes / (100 << 10) {
			ev := &proxy.Event{ID: proxy.EventID{Node: 1, Seq: uint64(1000 + seq)}, Topic: topic, Name: "e", Data: []byte(strings.Repeat("x", 100<<10)), At: time.Now()}
			if err := a.Broker.Publish(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, round := range []struct {
		bytes, want int
	}{{heldBytes / 2, 0}, {5 * heldBytes, 1}, {heldBytes / 2, 1}} {
		w.set(true)
		eventually(t, "the node knows", func() bool { return b.Broker.Healthy() != nil })
		fill(round.bytes)
		w.set(false)
		eventually(t, "the node is back", func() bool { return b.Broker.Healthy() == nil })
		eventually(t, "it has said what it has missed", func() bool { return b.missedApps() >= round.want })
		if got := b.missedApps(); got != round.want {
			t.Fatalf("after %d bytes: apps missed some %d times, want %d", round.bytes, got, round.want)
		}
	}
	size, err := s.client().MemoryUsage(t.Context(), logOf(a.Broker.keys.bucketOf(topic)), 0).Result()
	if err != nil || size > 3*heldBytes {
		t.Errorf("the log has %d bytes, %v; want %d at most", size, err, 3*heldBytes)
	}
}

// Redis dies with its log, and with what was accepted while a node was cut off:
// the nodes that have published it do so once more.
func TestWhatDiesWithRedisIsPublishedAgain(t *testing.T) {
	s := startServer(t)
	w := newWire(t, s)
	a, b, c := startNode(t, s, 1, DefaultLease), startNodeAt(t, w.at(), 2, DefaultLease), startNode(t, s, 3, DefaultLease)
	events := []<-chan *proxy.Event{a.running(t), b.running(t), c.running(t)}
	n := &numbered{t: t, node: a, channels: topicsOf(1)[:1]}
	for _, node := range []*testNode{b, c} {
		if err := node.Broker.Subscribe(t.Context(), n.channels[0]); err != nil {
			t.Fatal(err)
		}
	}
	n.publish(10)
	w.set(true)
	n.publish(5)
	s.kill()
	eventually(t, "all know", func() bool {
		return a.Broker.Healthy() != nil && b.Broker.Healthy() != nil && c.Broker.Healthy() != nil
	})
	s.start()
	w.set(false)
	eventually(t, "all are back", func() bool {
		return a.Broker.Healthy() == nil && b.Broker.Healthy() == nil && c.Broker.Healthy() == nil
	})
	n.publish(10)
	for _, ch := range events {
		n.arrive(0, ch)
	}
}

// What was published before a node had subscribed is not for it.
func TestReplayBeginsWithTheSubscription(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, DefaultLease), startNode(t, s, 2, DefaultLease)
	a.running(t)
	events := b.running(t)
	n := &numbered{t: t, node: a, channels: []proxy.Topic{{App: "app", Channel: "c"}}}
	n.publish(3)
	// Redis's clock goes on by more than what is lost in asking for it.
	began := time.Now()
	eventually(t, "time passes", func() bool { return time.Since(began) > 50*time.Millisecond })
	if err := b.Broker.Subscribe(t.Context(), n.channels[0]); err != nil {
		t.Fatal(err)
	}
	cutLinks(t, []*server{s}, a, b)
	n.publish(1)
	n.arrive(3, events)
}

// What is in a log is checked like what comes by pub/sub.
func TestLogsAreChecked(t *testing.T) {
	s := startServer(t)
	w := newWire(t, s)
	b := startNodeAt(t, w.at(), 2, DefaultLease)
	events := b.running(t)
	if err := b.Broker.Subscribe(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	w.set(true)
	eventually(t, "the node knows", func() bool { return b.Broker.Healthy() != nil })
	log, c := logOf(b.Broker.keys.bucketOf(room)), s.client()
	good := &proxy.Event{ID: proxy.EventID{Node: 1, Seq: 1}, Topic: room, Name: "e", At: time.Now()}
	elsewhere := *good
	elsewhere.Topic.App = "other"
	for _, values := range [][]string{
		{"h", "x", "d", ""}, {"what", "ever"}, {"t", "x"}, {"h", string(appendHead(nil, &elsewhere)), "d", ""}, {"h", string(appendHead(nil, good)), "d", ""},
	} {
		if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: log, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.set(false)
	select {
	case ev := <-events:
		if ev.ID != good.ID {
			t.Errorf("got %v, want %v", ev.ID, good.ID)
		}
	case <-time.After(30 * time.Second):
		t.Error("the one good event does not arrive")
	}
	if got := b.Broker.refused.Load(); got != 4 {
		t.Errorf("%d were refused, want 4", got)
	}
}

func FuzzReplayEntry(f *testing.F) {
	f.Add("1764000000000-1", "h", string(appendHead(nil, sample())), "d", "x")
	f.Add("1764000000000-1", "t", "1764000000000-0", "", "")
	f.Add("1-1", "h", "", "d", "")
	f.Fuzz(func(t *testing.T, id, k1, v1, k2, v2 string) {
		b := newBroker(Settings{Node: 7}, client{})
		r := &reading{bucket: b.keys.bucketOf(sample().Topic)}
		err := b.replayEntry(r, redis.XMessage{ID: id, Values: map[string]any{k1: v1, k2: v2}}, func(ev *proxy.Event) {
			t.Errorf("%v is delivered, and nothing was subscribed", ev)
		})
		if at, ok := parsePlace(id); err == nil && (!ok || r.from != at) {
			t.Errorf("entry %q is taken, and the node stands at %v", id, r.from)
		}
	})
}
