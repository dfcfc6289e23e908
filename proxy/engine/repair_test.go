package engine

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/memory"
	"github.com/offramp/offramp/proxy/protocol"
)

// deafBroker takes nothing while it is told so.
type deafBroker struct {
	proxy.Broker
	deaf atomic.Bool
}

func (b *deafBroker) Publish(ctx context.Context, ev *proxy.Event) error {
	if b.deaf.Load() {
		return errBackend
	}
	return b.Broker.Publish(ctx, ev)
}

// News that could not be told are made up for on the other nodes: of members,
// of users who are watched, and of counts.
func TestNewsThatFailedAreMadeUpFor(t *testing.T) {
	b, presence, occupancy := &bus{}, memory.NewPresence(), memory.NewOccupancy()
	var brokers []*deafBroker
	var nodes []*node
	for i := range 2 {
		broker := &deafBroker{Broker: b.join()}
		brokers = append(brokers, broker)
		nodes = append(nodes, run(t, nodeSettings{
			node:      uint64(i + 1),
			broker:    func(proxy.Broker) proxy.Broker { return broker },
			presence:  func(proxy.Presence) proxy.Presence { return presence },
			occupancy: occupancy.Node(),
			app:       func(a *proxy.App) { a.SubscriptionCounting = true },
		}))
	}
	there := nodes[1].dial()
	there.signin(`{"id":"watcher","watchlist":["u"]}`)
	there.subscribe("presence-a", `{"user_id":"watcher"}`)
	there.subscribe("c", "")
	eventually(t, "the count is told", func() bool { return there.count() == 5 })
	there.take()

	here := nodes[0].dial()
	for _, c := range []string{"presence-a", "c"} { // so that the broker is asked for nothing new
		nodes[0].dial().subscribe(c, `{"user_id":"stays"}`)
	}
	eventually(t, "the others are told", func() bool { return there.count() == 2 })
	there.take()
	expect := func(what string, want ...string) {
		t.Helper()
		var got []string
		eventually(t, what, func() bool {
			got = append(got, there.take()...)
			return len(got) >= len(want)
		})
		for _, w := range want {
			if n := strings.Count(strings.Join(got, "\n"), w); n != 1 {
				t.Errorf("%s: %d frames with %s, want one: %q", what, n, w, got)
			}
		}
	}
	brokers[0].deaf.Store(true)
	here.signin(`{"id":"u"}`)
	here.subscribe("presence-a", `{"user_id":"u"}`)
	here.subscribe("c", "")
	time.Sleep(50 * time.Millisecond)
	if got := there.take(); len(got) != 0 {
		t.Errorf("told %q by a broker that is deaf", got)
	}
	brokers[0].deaf.Store(false)
	expect("what has come is told", "member_added", `\"online\"`, `subscription_count\":3`)
	brokers[0].deaf.Store(true)
	here.conn.Close(1000, "")
	brokers[0].deaf.Store(false)
	expect("what has gone is told", "member_removed", `\"offline\"`, `subscription_count\":2`)
	eventually(t, "nothing is left to do", func() bool { return nodes[0].repairs.len()+nodes[1].repairs.len() == 0 })
}

// A fenced node's clients are on no channel any more before one of them is
// told, and see nothing of what is new.
func TestFenceTakesAllAtOnce(t *testing.T) {
	n := run(t, nodeSettings{})
	old := n.dial()
	old.subscribe("presence-a", `{"user_id":"old"}`)
	old.take()
	tell := n.Fence()
	fresh := n.dial()
	fresh.subscribe("presence-a", `{"user_id":"new"}`)
	n.publish("presence-a", "e", "1")
	eventually(t, "the new one has the event", func() bool { return fresh.count() == 2 })
	if got := fresh.take()[0]; strings.Contains(got, "old") {
		t.Errorf("the new one is shown %s", got)
	}
	if got := old.take(); len(got) != 0 {
		t.Errorf("the old one was sent %q", got)
	}
	if err := tell(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if code, _ := old.closed(); code != protocol.CodeReconnect {
		t.Errorf("the old one is closed with %d, want %d", code, protocol.CodeReconnect)
	}
	if code, _ := fresh.closed(); code != 0 {
		t.Errorf("the new one is closed with %d", code)
	}
}
