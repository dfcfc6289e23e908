package upstream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/route"
)

// openCircle starts two gateways each of which has the other for its upstream.
func openCircle(t *testing.T, one, other proxy.Stage) (a, b *rig) {
	t.Helper()
	back := newWire(t, "")
	a = &rig{t: t, seen: newRecords(), node: 11}
	a.startGateway(one, &proxy.Upstream{WebSocket: "ws://" + back.addr, API: "http://" + back.addr})
	b = &rig{t: t, seen: newRecords(), node: 12}
	b.startGateway(other, &proxy.Upstream{WebSocket: "ws://" + a.gateway.addr, API: "http://" + a.gateway.addr})
	back.lead(b.gateway.addr)
	return a, b
}

// TestTheLoopBreakerEndsTheLoopOfTwoGateways: each bridges to the other, and
// each finds out that the other leads back to it. Then each serves its own
// clients, and says what it no longer does.
func TestTheLoopBreakerEndsTheLoopOfTwoGateways(t *testing.T) {
	a, b := openCircle(t, proxy.StageCutover, proxy.StageCutover)
	gateways := map[string]*rig{"a": a, "b": b}
	atA := dial(t, a.gateway.addr, query)
	atA.subscribe("private-x", "")
	atA.subscribe("presence-x", "1")
	publish(t, a.gateway.addr, "private-x", "first", "1")
	for name, r := range gateways {
		eventually(t, name+" stopped", func() bool {
			broken := r.relay.Broken("1")
			return len(broken) == 1 && broken[0].Channels == "*" && !broken[0].Since.IsZero() && strings.Contains(broken[0].Why, "back")
		})
		eventually(t, name+" journalled", func() bool {
			history, err := r.router.History("1")
			return err == nil && len(history) == 1 && history[0].Who == "loop breaker" && strings.Contains(history[0].Note, "stopped the bridge")
		})
		eventually(t, name+" has nobody of the other's", func() bool {
			return r.gateway.state("private-x").SubscriptionCount == map[string]int{"a": 1}[name] && r.gateway.state("presence-x").UserCount == map[string]int{"a": 1}[name]
		})
	}
	publish(t, a.gateway.addr, "private-x", "end", "0")
	for first := 0; ; {
		f, err := atA.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Get("event").String() == "first" {
			first++
		}
		if f.Get("event").String() == "end" {
			if first < 1 {
				t.Error("the first event did not come")
			}
			break
		}
	}
	for i := range 20 {
		publish(t, a.gateway.addr, "private-x", "n", fmt.Sprint(i))
		atA.only("n", fmt.Sprint(i))
	}
}

func TestABridgeIsArmedAgainByCommand(t *testing.T) {
	a, b := openCircle(t, proxy.StageCutover, proxy.StageCutover)
	eventually(t, "both stopped", func() bool { return len(a.relay.Broken("1")) == 1 && len(b.relay.Broken("1")) == 1 })
	if freed := a.relay.Rearm("1", "y", "me", ""); len(freed) != 0 {
		t.Errorf("freed %v by a pattern that does not match", freed)
	}
	if freed := a.relay.Rearm("1", "*", "me", "mended"); len(freed) != 1 || freed[0] != "*" {
		t.Errorf("freed %v", freed)
	}
	eventually(t, "journalled", func() bool {
		history, err := a.router.History("1")
		return err == nil && slices.ContainsFunc(history, func(e route.Entry) bool {
			return e.Who == "me" && e.Note == "armed the bridge again for *: mended"
		})
	})
	eventually(t, "found again", func() bool { return len(a.relay.Broken("1")) == 1 }) // the circle is still there
}

// TestRelaysThatLeadToEachOtherRefuse, at once: a client's connection and an
// API call must not go round until something gives.
func TestRelaysThatLeadToEachOtherRefuse(t *testing.T) {
	for _, stage := range []proxy.Stage{proxy.StageObserve, proxy.StageMirror} {
		t.Run(stage.String(), func(t *testing.T) {
			a, _ := openCircle(t, stage, stage)
			started := time.Now()
			if status, text := call(t, a.gateway.addr, "GET", "/apps/1/channels/x", "", ""); status != 508 || !strings.HasPrefix(text, "Loop detected") {
				t.Errorf("call: %d %s", status, text)
			}
			c := dialOnly(t, a.gateway.addr, query)
			if stage == proxy.StageMirror {
				c.await("pusher:connection_established")
				c.send(c.subscription("x", ""))
			}
			if code, _ := c.closed(); code != 4100 {
				t.Errorf("closed with %d", code)
			}
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestEqualEventsAreNoLoop: what is published often enough to be tried reaches
// the vendor all the same, once each and in its order.
func TestEqualEventsAreNoLoop(t *testing.T) {
	r := open(t, proxy.StageCutover)
	there := dial(t, r.vendor.addr, query)
	there.subscribe("x", "")
	for i := range 60 {
		body := fmt.Sprintf(`{"batch":[{"name":"n","channel":"x","data":"%d"}`, i)
		body += strings.Repeat(`,{"name":"e","channel":"x","data":"same"}`, 9) + "]}"
		if status, text := call(t, r.gateway.addr, "POST", "/apps/1/batch_events", "", body); status != 200 {
			t.Fatal(text)
		}
	}
	for i := range 60 {
		there.only("n", fmt.Sprint(i))
		for range 9 {
			there.only("e", "same")
		}
	}
	if broken := r.relay.Broken("1"); len(broken) != 0 {
		t.Errorf("stopped: %v", broken)
	}
}
