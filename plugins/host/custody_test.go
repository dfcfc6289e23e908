package host

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// deeds are what the nodes of a gateway claim.
type deeds struct {
	mu     sync.Mutex
	owners map[proxy.Topic]string // empty: one has let go
	dead   map[string]bool
}

// deedsOf is a node's view of them.
type deedsOf struct {
	*deeds
	node string
}

func (d deedsOf) Term() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead[d.node] {
		return ""
	}
	return d.node
}

func (d deedsOf) Claim(_ context.Context, t proxy.Topic, _ string, inherit bool) (proxy.Claim, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	owner, owned := d.owners[t]
	switch {
	case d.dead[d.node] || owned && owner != d.node && (owner != "" && !d.dead[owner] || !inherit):
		return proxy.ClaimRefused, nil
	case owned && owner != d.node:
		d.owners[t] = d.node
		return proxy.ClaimInherited, nil
	}
	d.owners[t] = d.node
	return proxy.ClaimGranted, nil
}

func (d deedsOf) Release(_ context.Context, t proxy.Topic, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners[t] == d.node {
		d.owners[t] = ""
	}
	return nil
}

// peers are the bridges of nodes that observe one backend. What one of them
// publishes reaches the clients of all that live.
type peers struct {
	t     *testing.T
	deeds *deeds
	links []*link
	stops []context.CancelFunc

	mu   sync.Mutex
	told [][]string // by node, what its clients were given
	by   []int      // how many each node has published
}

func newPeers(t *testing.T, ctx context.Context, size int) *peers {
	p := &peers{
		t: t, deeds: &deeds{owners: map[proxy.Topic]string{}, dead: map[string]bool{}},
		told: make([][]string, size), by: make([]int, size), stops: make([]context.CancelFunc, size),
	}
	for i := range size {
		l := inletFor(native, BreakerPolicy{}).link
		l.settings.Owners, l.settings.Node = deedsOf{p.deeds, fmt.Sprint(i)}, uint64(i+1)
		l.settings.Publish = func(_ context.Context, ev *proxy.Event) error { p.publish(i, ev); return nil }
		l.inlet = newInlet(l, l.inlet.breaker)
		p.links = append(p.links, l)
		p.join(i, 1)
		l.book.observed("room", translators.ChannelState{State: translators.StateAttached}, time.Now())
		var running context.Context
		running, p.stops[i] = context.WithCancel(ctx)
		go l.inlet.run(running)
	}
	return p
}

func (p *peers) join(node, change int) {
	kind := proxy.KindSubscribed
	if change < 0 {
		kind = proxy.KindUnsubscribed
	}
	p.links[node].offer(proxy.Record{Kind: kind, Leg: proxy.LegEngine, Topic: proxy.Topic{App: "app", Channel: "room"}})
}

// publish is what engines and the broker between them do with an event.
func (p *peers) publish(node int, ev *proxy.Event) {
	published := *ev
	published.ID.Node = uint64(node + 1)
	p.mu.Lock()
	p.by[node]++
	p.mu.Unlock()
	for i, l := range p.links {
		if p.lost(i) || !l.inlet.custody.here("room") {
			continue
		}
		p.mu.Lock()
		p.told[i] = append(p.told[i], string(ev.Data))
		p.mu.Unlock()
		l.offer(proxy.Record{Kind: proxy.KindDelivered, Leg: proxy.LegEngine, Topic: ev.Topic, Event: &published})
	}
}

func (p *peers) lost(node int) bool {
	p.deeds.mu.Lock()
	defer p.deeds.mu.Unlock()
	return p.deeds.dead[fmt.Sprint(node)]
}

// kill ends a node. Its lease runs out after a while.
func (p *peers) kill(node int) {
	p.stops[node]()
	go func() {
		time.Sleep(10 * time.Second)
		p.deeds.mu.Lock()
		defer p.deeds.mu.Unlock()
		p.deeds.dead[fmt.Sprint(node)] = true
	}()
}

// say has the backend deliver an event to those nodes.
func (p *peers) say(data string, nodes ...int) {
	for _, i := range nodes {
		p.links[i].inlet.take(translators.Envelope{Channel: "room", Event: "n", Data: []byte(data)}, time.Now())
	}
}

// begin has node 0 own the channel: all have been given event 1.
func (p *peers) begin() {
	p.say("1", 0)
	time.Sleep(time.Millisecond)
	p.say("1", 1)
	time.Sleep(time.Second)
}

func (p *peers) expect(node int, want ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.told[node], want) {
		p.t.Errorf("clients of node %d were given %v, want %v", node, p.told[node], want)
	}
}

func TestOneNodeBringsInWhatSeveralObserve(t *testing.T) {
	for name, test := range map[string]func(p *peers){
		"each event once, equal ones too": func(p *peers) {
			for _, data := range []string{"1", "2", "2", "3"} {
				p.say(data, 0, 1)
				time.Sleep(time.Second)
			}
			p.expect(0, "1", "2", "2", "3")
			p.expect(1, "1", "2", "2", "3")
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.by[0] != 4 && p.by[1] != 4 {
				p.t.Errorf("the nodes have published %v, want all by one", p.by)
			}
		},
		"the owner may see it later than the others see it published": func(p *peers) {
			p.say("1", 0)
			time.Sleep(time.Second)
			p.say("1", 1)
			p.say("2", 1)
			time.Sleep(100 * time.Millisecond)
			p.say("2", 0)
			time.Sleep(5 * time.Second)
			p.expect(0, "1", "2")
			p.expect(1, "1", "2")
		},
		"when the owner has died, another node goes on with what was left to it": func(p *peers) {
			p.begin()
			p.kill(0)
			for _, data := range []string{"2", "3"} {
				p.say(data, 1)
				time.Sleep(20 * time.Second)
			}
			p.expect(1, "1", "2", "3")
		},
		"when the owner's last subscriber has left, another node goes on at once": func(p *peers) {
			p.begin()
			p.join(0, -1)
			p.say("2", 0, 1)
			time.Sleep(3 * time.Second)
			p.expect(0, "1")
			p.expect(1, "1", "2")
		},
		"an owner whose only subscriber comes back loses nothing": func(p *peers) {
			p.begin()
			for i := range 5 {
				p.join(0, -1)
				p.say(fmt.Sprint(i), 0, 1)
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				p.join(0, 1)
				time.Sleep(3 * time.Second)
			}
			p.expect(1, "1", "0", "1", "2", "3", "4")
		},
		"an owner that does not observe the channel any more gives it up": func(p *peers) {
			p.begin()
			p.links[0].book.observed("room", translators.ChannelState{State: translators.StateDetached, From: time.Now()}, time.Now())
			p.say("2", 1)
			time.Sleep(3 * time.Second)
			p.expect(0, "1", "2")
			p.expect(1, "1", "2")
		},
		"an owner whose term has ended publishes nothing": func(p *peers) {
			p.begin()
			p.deeds.mu.Lock()
			p.deeds.dead["0"] = true
			p.deeds.mu.Unlock()
			p.say("2", 0, 1)
			time.Sleep(3 * time.Second)
			p.expect(1, "1", "2")
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.by[0] != 1 {
				p.t.Errorf("it has published %d, want the 1 before", p.by[0])
			}
		},
		"what an owner withholds is dropped in the end": func(p *peers) {
			p.begin()
			p.say("2", 1)
			time.Sleep(leftFor + time.Second)
			p.expect(1, "1")
			c := p.links[1].inlet.custody
			c.mu.Lock()
			defer c.mu.Unlock()
			if left := c.left; left != 0 {
				p.t.Errorf("%d events are left, want none", left)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				test(newPeers(t, ctx, 2))
				cancel()
				synctest.Wait()
			})
		})
	}
}

func TestCustodyIsBounded(t *testing.T) {
	c := newCustody()
	c.count("room", 1)
	arrive := func(i int) string {
		return c.arrive(&proxy.Event{Topic: proxy.Topic{App: "app", Channel: "room"}, Data: fmt.Append(nil, i)}, epoch)
	}
	for i := range maxLeft {
		if why := arrive(i); why != "" {
			t.Fatalf("event %d is withheld: %s", i, why)
		}
	}
	if why := arrive(maxLeft); why != withheldOverflow {
		t.Errorf("one too many is withheld as %q, want %q", why, withheldOverflow)
	}
	for i := range maxLeft + 10 {
		c.published(&proxy.Event{Topic: proxy.Topic{App: "app", Channel: "room"}, Data: fmt.Append(nil, -i-1)}, epoch)
	}
	if c.seen != maxLeft {
		t.Errorf("%d events of others are awaited, want %d", c.seen, maxLeft)
	}
	if c.count("room", -1); c.left != 0 || c.seen != 0 || len(c.channels) != 0 {
		t.Errorf("after the last subscriber %d are left, %d awaited, %d channels", c.left, c.seen, len(c.channels))
	}
	var none protocol.ChannelName = "other"
	if c.count(none, -1) != 0 || c.here(none) {
		t.Error("a channel that nobody joined has subscribers")
	}
}
