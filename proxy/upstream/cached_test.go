package upstream_test

import (
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// TestWhatACacheChannelKeepsMovesWithItsClients, from the vendor to the engine
// and back, once and without a miss on the way.
func TestWhatACacheChannelKeepsMovesWithItsClients(t *testing.T) {
	r := open(t, proxy.StageCutover)
	first := func(c *client) string {
		c.subscribe("cache-x", "")
		f, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		return f.Get("event").String() + f.Get("data").String()
	}
	publish(t, r.vendor.addr, "cache-x", "e", "theirs") // straight to the vendor, before anybody was here
	here := dial(t, r.gateway.addr, query)
	here.subscribe("warm", "")
	eventually(t, "the bridge is open", func() bool { return r.vendor.state("warm").Occupied })
	if got := first(here); got != "etheirs" {
		t.Errorf("the first frame here is %s", got)
	}
	publish(t, r.gateway.addr, "cache-x", "e", "ours")
	here.only("e", "ours")
	eventually(t, "the vendor keeps it", func() bool {
		state := r.vendor.state("cache-x")
		return state.Cache != nil && string(state.Cache.Data) == "ours"
	})
	there := dial(t, r.vendor.addr, query)
	if got := first(there); got != "eours" {
		t.Errorf("the first frame there is %s", got)
	}
	here.ws.Close()
	eventually(t, "tap left", func() bool { return r.vendor.state("cache-x").SubscriptionCount == 1 })
	publish(t, r.vendor.addr, "cache-x", "e", "later") // while nobody is here
	there.only("e", "later")
	back := dial(t, r.gateway.addr, query)
	back.subscribe("cache-x", "")
	back.only("e", "later") // and not what the engine had before
	publish(t, r.gateway.addr, "cache-x", "end", "1")
	back.only("end", "1")
	there.only("end", "1")
	empty := dial(t, r.gateway.addr, query)
	if got := first(empty); got != "end1" {
		t.Errorf("the first frame is %s", got)
	}
}

// TestAnEmptyCacheChannelIsMissedOnce: nobody has it, and a subscriber is told
// so without much ado.
func TestAnEmptyCacheChannelIsMissedOnce(t *testing.T) {
	r := open(t, proxy.StageCutover)
	started := time.Now()
	c := dial(t, r.gateway.addr, query)
	c.subscribe("private-cache-x", "")
	c.await("pusher:cache_miss")
	if took := time.Since(started); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	publish(t, r.vendor.addr, "private-cache-x", "e", "1")
	c.only("e", "1")
}
