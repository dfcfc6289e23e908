package engine

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/offramp/offramp/proxy/protocol"
)

func TestQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{})
		a, b, c := n.dial(), n.dial(), n.dial()
		a.subscribe("c", "")
		a.subscribe("presence-a", `{"user_id":"7"}`)
		b.subscribe("presence-a", `{"user_id":"7"}`)
		c.subscribe("presence-a", `{"user_id":"8"}`)
		a.signin(`{"id":"u"}`)
		a.subscribe("#server-to-user-u", "")
		a.subscribe("cache-full", "")
		n.publish("cache-full", "e", "data")
		n.publish("cache-unoccupied", "e", "data")
		time.Sleep(10 * time.Minute)

		got, err := n.Channels(t.Context(), testApp, "")
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b ChannelState) int { return cmp.Compare(a.Name, b.Name) })
		want := []ChannelState{
			{Name: "c", Occupied: true, SubscriptionCount: 1},
			{Name: "cache-full", Occupied: true, SubscriptionCount: 1},
			{Name: "presence-a", Occupied: true, SubscriptionCount: 3, UserCount: 2},
		}
		slices.SortFunc(want, func(a, b ChannelState) int { return cmp.Compare(a.Name, b.Name) })
		if !slices.Equal(got, want) {
			t.Errorf("Channels = %+v, want %+v", got, want)
		}
		if got, _ := n.Channels(t.Context(), testApp, "presence-"); len(got) != 1 || got[0] != want[2] {
			t.Errorf("Channels(presence-) = %+v, want %+v", got, want[2])
		}
		if got, _ := n.Channels(t.Context(), "nobody", ""); len(got) != 0 {
			t.Errorf("Channels of another app = %+v", got)
		}
		if got, _ := n.Users(t.Context(), n.topic("presence-a")); !slices.Equal(got, []string{"7", "8"}) {
			t.Errorf("Users = %v, want 7 and 8", got)
		}
		if got, _ := n.Users(t.Context(), n.topic("c")); len(got) != 0 {
			t.Errorf("Users of a public channel = %v", got)
		}
		for _, name := range []string{"c", "nobody", "presence-a", "presence-nobody", "#server-to-user-u"} {
			s, err := n.Channel(t.Context(), n.topic(name))
			if err != nil || string(s.Name) != name || s.Occupied != (name == "c" || name == "presence-a") || s.Cache != nil {
				t.Errorf("Channel(%s) = %+v, %v", name, s, err)
			}
		}
		for _, name := range []string{"cache-full", "cache-unoccupied"} {
			s, _ := n.Channel(t.Context(), n.topic(name))
			if s.Cache == nil || string(s.Cache.Data) != "data" || s.Cache.TTL != 20*time.Minute || s.Occupied != (name == "cache-full") {
				t.Errorf("Channel(%s) = %+v with %+v, want data for 20 min", name, s, s.Cache)
			}
		}
		time.Sleep(20 * time.Minute)
		if s, _ := n.Channel(t.Context(), n.topic("cache-unoccupied")); s.Cache != nil {
			t.Errorf("cache after 30 min: %+v", s.Cache)
		}
		synctest.Wait()
		if n.tenant(testApp).find("cache-unoccupied") != nil {
			t.Error("an expired cache channel is still there")
		}
		states := n.Connections(testApp)
		if len(states) != 3 || states[0].Socket != a.conn.SocketID() || states[0].Subscriptions != 4 || states[0].UserID != "u" ||
			time.Since(states[0].Since) != 30*time.Minute {
			t.Errorf("Connections = %+v", states)
		}
	})
}

func TestMetrics(t *testing.T) {
	n := run(t, nodeSettings{})
	c := n.dial()
	c.subscribe("private-a", "")
	c.subscribe("private-a", "")
	c.send(`{"event":"client-x","channel":"private-a","data":1}`)
	n.publish("private-a", "e", "1")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(n.Engine)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "metrics.golden", text.String())
	problems, err := testutil.CollectAndLint(n.Engine)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		what      string
		got, want uintptr
	}{
		{"a channel", unsafe.Sizeof(channel{}), 128},
		{"a subscription", unsafe.Sizeof(subscription{}), 64},
		{"a connection", unsafe.Sizeof(Conn{}), 192},
	} {
		if tc.got > tc.want {
			t.Errorf("%s has %d bytes, at most %d are allowed: there are many of them", tc.what, tc.got, tc.want)
		}
	}
}

func TestRemovalsOfSubscriptionsKeepTheOthers(t *testing.T) {
	var s subscriptions
	t1 := newTenant("a")
	var all []*subscription
	for i := range fewSubscriptions * 2 {
		sub := &subscription{channel: newChannel(t1, protocol.ChannelName(string(rune('a'+i))))}
		s.add(sub)
		all = append(all, sub)
	}
	for i, sub := range all {
		if s.get(sub.channel.name) != sub {
			t.Fatalf("%s is not found", sub.channel.name)
		}
		s.remove(sub)
		s.remove(sub)
		if got, want := s.len(), len(all)-i-1; got != want || len(s.all()) != want {
			t.Fatalf("after removing %d: %d left, want %d", i+1, got, want)
		}
	}
}
