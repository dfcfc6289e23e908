package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/offramp/offramp/proxy"
)

// lastFrame returns a client's latest frame.
func (c *client) lastFrame() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.frames) == 0 {
		return ""
	}
	return c.frames[len(c.frames)-1]
}

// newcomer subscribes to a cache channel and returns what it is given.
func newcomer(n *node, channel string) (c *client, given string) {
	c = n.dial()
	c.subscribe(channel, "")
	frames := c.take()
	return c, frames[len(frames)-1]
}

func TestCacheChannelIsTheSameOnEveryNode(t *testing.T) {
	nodes := cluster(t, 2)
	if _, given := newcomer(nodes[1], "cache-a"); !strings.Contains(given, "cache_miss") {
		t.Errorf("before any event: %s, want a miss", given)
	}
	nodes[0].publish("cache-b", "e", "1") // nobody is subscribed anywhere
	b, given := newcomer(nodes[1], "cache-b")
	if !strings.Contains(given, `"data":"1"`) {
		t.Errorf("published on the other node: %s, want the event", given)
	}
	b.unsubscribe("cache-b")
	nodes[0].publish("cache-b", "e", "2") // passes node 1 by
	for i, n := range nodes {
		state, err := n.Channel(t.Context(), n.topic("cache-b"))
		if err != nil || state.Cache == nil || string(state.Cache.Data) != "2" {
			t.Errorf("node %d: Channel = %+v, %v; want what is kept", i, state.Cache, err)
		}
		if _, given := newcomer(n, "cache-b"); !strings.Contains(given, `"data":"2"`) {
			t.Errorf("node %d: a newcomer is given %s, want the last event", i, given)
		}
	}
	misses := 0
	for _, n := range nodes {
		for _, r := range n.tap.all() {
			if r.Kind == proxy.KindCacheMiss {
				misses++
			}
		}
	}
	if misses != 1 {
		t.Errorf("%d misses are recorded, want the one", misses)
	}
}

// As TestKeptEventAndLiveOnesAreOneSequence, with the publisher elsewhere, and
// channels that this node begins to follow again and again.
func TestKeptEventOfAnotherNodeAndLiveOnesAreOneSequence(t *testing.T) {
	nodes := cluster(t, 2)
	const channels = 5
	joined := make(chan struct{})
	var wg sync.WaitGroup
	var counts [channels]int
	wg.Go(func() {
		for open := true; open; {
			select {
			case <-joined:
				open = false
			default:
			}
			for i := range counts {
				nodes[0].publish(fmt.Sprintf("cache-%d", i), "e", strconv.Itoa(counts[i]))
				counts[i]++
			}
		}
	})
	var last []*client
	for i := range 200 {
		c := nodes[1].dial()
		channel := fmt.Sprintf("cache-%d", i%channels)
		c.subscribe(channel, "")
		if i < 190 {
			c.unsubscribe(channel)
			checkSequence(t, i, c.take())
			continue
		}
		last = append(last, c)
	}
	close(joined)
	wg.Wait()
	for i, c := range last {
		want := fmt.Sprintf(`"data":"%d"}`, counts[i%channels]-1)
		eventually(t, "the last event is there", func() bool { return strings.HasSuffix(c.lastFrame(), want) })
		checkSequence(t, 190+i, c.take())
	}
}

// An event that this node was not sent, as its link was broken, is made up
// for; one that is on its way is not sent twice.
func TestResyncTellsWhatACacheChannelKeeps(t *testing.T) {
	nodes := cluster(t, 2)
	c, _ := newcomer(nodes[1], "cache-a")
	b := nodes[1].broker.(*busNode)
	if err := b.Unsubscribe(context.Background(), nodes[1].topic("cache-a")); err != nil { // as a broken link
		t.Fatal(err)
	}
	nodes[0].publish("cache-a", "e", "missed")
	if err := b.Subscribe(context.Background(), nodes[1].topic("cache-a")); err != nil {
		t.Fatal(err)
	}
	b.deaf.Store(2) // the first questions fail
	nodes[1].Resync()
	eventually(t, "the client has it", func() bool { return c.count() == 1 })
	nodes[0].publish("cache-a", "e", "next")
	eventually(t, "and the next", func() bool { return c.count() == 2 })
	if frames := c.take(); !strings.Contains(frames[0], "missed") || !strings.Contains(frames[1], "next") {
		t.Errorf("frames %q", frames)
	}
}

// What is told as an answer is not told again when it comes by itself.
func TestEventsBehindAnAnswerAreNotRepeated(t *testing.T) {
	nodes := cluster(t, 2)
	c, _ := newcomer(nodes[1], "cache-a")
	ch := nodes[1].tenant(testApp).acquire("cache-a")
	event := func(order uint64) *proxy.Event {
		return &proxy.Event{
			ID: proxy.EventID{Node: 9, Seq: order}, Topic: ch.topic(), Name: "e", Data: []byte(strconv.FormatUint(order, 10)), Order: order,
		}
	}
	nodes[1].makeUp(missed{ch, proxy.Kept{Event: event(5), Left: proxy.CacheFor}})
	for order := uint64(4); order <= 6; order++ {
		nodes[1].deliver(event(order))
	}
	eventually(t, "the last is there", func() bool { return strings.Contains(c.lastFrame(), `"data":"6"`) })
	frames := c.take()
	if len(frames) != 2 || !slices.ContainsFunc(frames[:1], func(s string) bool { return strings.Contains(s, `"data":"5"`) }) {
		t.Errorf("frames %q, want 5 and 6", frames)
	}
}
