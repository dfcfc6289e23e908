package host_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// side is a gateway around a host: its clients see every event that is
// published, and so do its bridges.
type side struct {
	host *host.Host
	node uint64
	seq  atomic.Uint64

	mu   sync.Mutex
	seen []*proxy.Event
}

// newSide runs a host for an app with those bridges, whose channels have
// subscribers.
func newSide(t *testing.T, name string, bridges []proxy.Backend, channels ...string) *side {
	t.Helper()
	s := &side{node: uint64(len(name)) + uint64(name[0])}
	settings := settingsFor(t, &records{}, proxy.Backend{})
	settings.Bindings = nil
	for _, b := range bridges {
		settings.Bindings = append(settings.Bindings, host.Binding{App: "app", Backend: b})
	}
	settings.Gateway = name
	settings.Publish = s.publish
	settings.Channels = func(context.Context, string) ([]protocol.ChannelName, error) {
		return []protocol.ChannelName{"hall"}, nil
	}
	settings.Breaker = host.BreakerPolicy{Circles: 20, Pause: 2 * time.Second}
	app := proxy.Defaults()
	settings.Apps = func(string) (*proxy.App, bool) { return &app, true }
	s.host, _ = start(t, settings)
	for _, c := range channels {
		s.host.Offer(proxy.Record{Kind: proxy.KindSubscribed, Topic: topic(c), Leg: proxy.LegEngine})
	}
	waitFor(t, "the channels of "+name+" to be observed", func() bool {
		for _, status := range s.host.Status() {
			if status.Channels != len(channels) {
				return false
			}
		}
		return true
	})
	return s
}

func topic(channel string) proxy.Topic {
	return proxy.Topic{App: "app", Channel: protocol.ChannelName(channel)}
}

// publish is what an engine does with an event.
func (s *side) publish(_ context.Context, ev *proxy.Event) error {
	published := *ev
	published.ID, published.At = proxy.EventID{Node: s.node, Seq: s.seq.Add(1)}, time.Now()
	s.mu.Lock()
	s.seen = append(s.seen, &published)
	s.mu.Unlock()
	s.host.Offer(proxy.Record{Kind: proxy.KindPublished, At: published.At, Leg: proxy.LegEngine, Topic: published.Topic, Event: &published})
	return nil
}

// say publishes what a client or server of this side says.
func (s *side) say(t *testing.T, channel, name, data string) {
	t.Helper()
	if err := s.publish(context.Background(), &proxy.Event{
		Topic: topic(channel), Name: name, Data: []byte(data), Origin: proxy.LegEngine,
	}); err != nil {
		t.Fatal(err)
	}
}

func (s *side) all() []*proxy.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*proxy.Event(nil), s.seen...)
}

func bridgeTo(name, plugin, url string) proxy.Backend {
	return proxy.Backend{
		Name: name, Plugin: plugin, Role: proxy.RoleBridge, Channels: []string{"room*"}, Sample: 1,
		Settings: map[string]any{"url": url, "prefix": name},
	}
}

func connectNATS(t *testing.T, url string) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestBridge(t *testing.T) {
	t.Run("what is published on the backend is brought in once, what is published here goes out once and does not return", func(t *testing.T) {
		url := natsURL(t)
		s := newSide(t, "one", []proxy.Backend{bridgeTo("x", "nats", url)}, "room")
		conn := connectNATS(t, url)
		sub, err := conn.SubscribeSync("x.app.room")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
		s.say(t, "room", "news", "from here")
		m, err := sub.NextMsg(30 * time.Second)
		if err != nil || string(m.Data) != "from here" || m.Header.Get("Offramp-Origin") != "one" || m.Header.Get("Offramp-Hops") != "1" {
			t.Fatalf("the backend got %+v, %v", m, err)
		}
		if err := conn.PublishMsg(&nats.Msg{Subject: "x.app.room", Header: nats.Header{"Offramp-Event": {"news"}}, Data: []byte("from there")}); err != nil {
			t.Fatal(err)
		}
		if err := conn.Publish("x.app.room", []byte("nameless")); err != nil {
			t.Fatal(err)
		}
		if err := conn.Publish("x.app.room2", []byte("nobody is there")); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the backend's events", func() bool { return len(s.all()) >= 3 })
		s.say(t, "room", "news", "last")
		for { // until the last, which goes by the same way as an echo would come
			m, err := sub.NextMsg(30 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Data) == "last" {
				break
			}
			if m.Header.Get("Offramp-Origin") != "" {
				t.Errorf("%q was sent back to where it came from", m.Data)
			}
		}
		var got []string
		for _, ev := range s.all() {
			got = append(got, fmt.Sprintf("%s %s %s", ev.Origin, ev.Name, ev.Data))
		}
		want := []string{"engine news from here", "x news from there", "x message nameless", "engine news last"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("clients saw %q, want %q", got, want)
		}
		if status := s.host.Status()[0]; status.Bridge == nil || status.Bridge.Published != 2 {
			t.Errorf("status %+v, want 2 brought in", status.Bridge)
		}
	})

	t.Run("echoes of a backend that cannot leave them out are withheld, one for each", func(t *testing.T) {
		s := newSide(t, "one", []proxy.Backend{bridgeTo("x", "reflects", "")}, "room")
		for range 50 {
			s.say(t, "room", "news", "same")
		}
		waitFor(t, "the echoes", func() bool { return s.host.Status()[0].Bridge.Withheld["echo"] == 50 })
		s.say(t, "room", "twice", "and one of somebody else's")
		waitFor(t, "the one that is not ours", func() bool { return len(s.all()) >= 52 })
		if got := s.host.Status()[0].Bridge; got.Withheld["echo"] != 51 || got.Published != 1 {
			t.Errorf("%+v, want 51 echoes withheld and 1 event published", *got)
		}
	})

	t.Run("two gateways that join the same two backends: hops end what circles, and the breaker its repetition", func(t *testing.T) {
		url := natsURL(t)
		bridges := []proxy.Backend{bridgeTo("x", "nats", url), bridgeTo("y", "nats", url)}
		one := newSide(t, "one", bridges, "room")
		two := newSide(t, "two", bridges, "room")
		one.say(t, "room", "news", "0")
		waitFor(t, "the hops to run out", func() bool {
			return withheld(one, "hops")+withheld(two, "hops") == 2 // it went two ways around
		})
		if n, m := len(one.all()), len(two.all()); n != 3 || m != 4 { // 1 + 2 that came around; 2 + 2
			t.Errorf("one event was seen %d and %d times, want 3 and 4", n, m)
		}
		for n := range 40 {
			one.say(t, "room", "news", fmt.Sprint(n+1))
		}
		waitFor(t, "the breaker", func() bool { return loops(one)+loops(two) > 0 })
	})

	t.Run("two gateways that join the same two backends, which carry no origin: the breaker ends the loop and closes again", func(t *testing.T) {
		url := natsURL(t)
		bridges := []proxy.Backend{bridgeTo("x", "bare", url), bridgeTo("y", "bare", url)}
		one := newSide(t, "one", bridges, "room", "room2")
		two := newSide(t, "two", bridges, "room", "room2")
		one.say(t, "room", "news", "around and around")
		waitFor(t, "the breaker", func() bool { return loops(one)+loops(two) > 0 })
		still := func() int { return len(one.all()) + len(two.all()) }
		waitFor(t, "the end of the loop", func() bool {
			before := still()
			time.Sleep(200 * time.Millisecond)
			return still() == before
		})
		if n := still(); n > 300 {
			t.Errorf("one event was seen %d times before the loop ended", n)
		}
		open := false
		for _, s := range []*side{one, two} {
			status := s.host.Status()[0].Bridge
			_, here := status.Open["room"]
			open = open || here || status.Loops > 0
			if _, there := status.Open["room2"]; there {
				t.Error("the breaker is open for a channel without a loop")
			}
		}
		if !open {
			t.Error("the status does not show it")
		}
		waitFor(t, "the breaker to close", func() bool {
			return len(one.host.Status()[0].Bridge.Open)+len(two.host.Status()[0].Bridge.Open) == 0
		})
	})

	t.Run("a bridge observes only channels with subscribers, and those without no longer", func(t *testing.T) {
		s := &side{node: 1}
		settings := settingsFor(t, &records{}, bridgeTo("x", "reflects", ""))
		settings.Publish, settings.Linger = s.publish, time.Second
		app := proxy.Defaults()
		settings.Apps = func(string) (*proxy.App, bool) { return &app, true }
		s.host, _ = start(t, settings)
		s.say(t, "room", "news", "1")
		waitFor(t, "the answer", func() bool { return s.host.Status()[0].Results["OK"] == 1 })
		if n := s.host.Status()[0].Channels; n != 0 {
			t.Errorf("%d channels are observed for nobody", n)
		}
		s.host.Offer(proxy.Record{Kind: proxy.KindSubscribed, Topic: topic("room"), Leg: proxy.LegEngine})
		waitFor(t, "the channel", func() bool { return s.host.Status()[0].Channels == 1 })
		s.host.Offer(proxy.Record{Kind: proxy.KindVacated, Topic: topic("room"), Leg: proxy.LegEngine})
		waitFor(t, "the end of its observation", func() bool {
			s.say(t, "room", "news", "still busy")
			time.Sleep(20 * time.Millisecond)
			return s.host.Status()[0].Channels == 0
		})
	})
}

// TestRebind gives a bridge other channels while it runs.
func TestRebind(t *testing.T) {
	url := natsURL(t)
	s := newSide(t, "one", []proxy.Backend{bridgeTo("x", "nats", url)}, "room")
	conn := connectNATS(t, url)
	other := proxy.Defaults()
	other.ID, other.Backends = "app", []proxy.Backend{bridgeTo("x", "nats", url)}
	other.Backends[0].Channels = []string{"hall"}
	pid := s.host.Status()[0].PID
	if err := s.host.Rebind(t.Context(), []*proxy.App{&other}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the new channel, which was occupied before, and not the old one", func() bool {
		// The old one is observed until its linger is over.
		for _, channel := range []string{"room", "hall"} {
			if err := conn.Publish("x.app."+channel, []byte(channel)); err != nil {
				t.Fatal(err)
			}
		}
		for _, ev := range s.all() {
			if ev.Topic.Channel == "hall" {
				return true
			}
		}
		return false
	})
	for _, ev := range s.all() {
		if ev.Topic.Channel == "room" {
			t.Error("the bridge brought in what is not its own any more")
		}
	}
	if now := s.host.Status()[0]; now.PID != pid || now.Restarts != 0 {
		t.Errorf("the plugin was started again: %d, was %d", now.PID, pid)
	}
}

func withheld(s *side, why string) (n uint64) {
	for _, status := range s.host.Status() {
		n += status.Bridge.Withheld[why]
	}
	return n
}

func loops(s *side) uint64 { return s.host.Status()[0].Bridge.Loops }
