package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/offramp/offramp/integration/harness"
)

// TestTroubleOnTheWay cuts the line to the vendor, and then kills the gateway
// and the vendor, at stages at which each of them serves clients. Everybody
// comes back by themselves, sees the same members, and gets nothing twice.
func TestTroubleOnTheWay(t *testing.T) {
	for _, to := range [][]string{{"observe"}, {"mirror"}, {"canary", "--percent", "50"}, {"cutover"}} {
		at := to[0]
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			d := newDrill(t, offrampPeer)
			users := []string{"ann", "bob", "straggler"}
			d.there("straggler")
			d.here("ann")
			d.here("bob")
			if at != "observe" {
				stage(t, d.gateway, append([]string{"set", "--force"}, to...)...)
			}
			d.load.again = "straggler g "
			d.load.start(20 * time.Millisecond)
			d.flows(users...)
			d.together(users...)
			long := time.Second
			if at == "cutover" { // where nobody has to reconnect for it
				long = 30 * time.Second
			}
			cut := func() {
				d.line.set(true)
				time.Sleep(long)
				d.line.set(false)
			}
			// A pusher-js that finds nobody tries again after 15 seconds: those of
			// both servers wait at the same time.
			kill := func() {
				d.gateway.Kill(t)
				d.vendor.kill()
				time.Sleep(time.Second)
				d.gateway.Run(t)
				time.Sleep(time.Second)
				d.vendor.run()
			}
			for _, trouble := range []func(){cut, kill} {
				over := d.load.excuse("")
				time.Sleep(between) // a copy on its way when the line breaks is of the trouble, too
				trouble()
				began := time.Now()
				d.flows(users...)
				d.together(users...)
				t.Logf("over %v after its end, at %s", time.Since(began).Round(time.Millisecond), at)
				over()
				time.Sleep(3 * between)
			}
			d.load.end()
			d.load.check(t)
			d.fleet.closeCodes()
		})
	}
}

// TestGatewayKilledAfterTheExit: it comes back without the vendor, serves its
// own clients, and the exit can still be taken back.
func TestGatewayKilledAfterTheExit(t *testing.T) {
	t.Parallel()
	d := newDrill(t, offrampPeer)
	d.there("straggler")
	d.here("ann")
	d.here("bob")
	stage(t, d.gateway, "set", "--force", "cutover")
	d.load.again = "straggler g "
	d.load.start(20 * time.Millisecond)
	d.flows("ann", "bob", "straggler")
	over := d.load.excuse("")
	stage(t, d.gateway, "set", "--force", "exited")
	d.gateway.Kill(t)
	time.Sleep(time.Second)
	d.gateway.Run(t)
	d.flow("g", "ann", "bob")
	d.flow("v", "straggler")
	stage(t, d.gateway, "rollback")
	d.flows("ann", "bob", "straggler")
	d.together("ann", "bob", "straggler")
	over()
	time.Sleep(3 * between)
	d.load.end()
	d.load.check(t)
	d.fleet.closeCodes()
}

// flows waits until clients get what is published from now on at either side.
func (d *drill) flows(users ...string) {
	d.t.Helper()
	d.flow("g", users...)
	d.flow("v", users...)
}

// flow waits until clients get an event that is published from now on.
func (d *drill) flow(event string, users ...string) {
	d.t.Helper()
	from := len(d.fleet.all())
	for _, user := range users {
		within(d.t, fmt.Sprintf("%s gets %s again", user, event), func() bool {
			return slices.ContainsFunc(d.fleet.all()[from:], func(h happening) bool {
				return h.ID == user && h.What == "event" && h.Name == event
			})
		})
	}
}

// TestTwoGatewaysBridgeOneApp: two gateways leave the same vendor at the same
// time, by mistake. What is said at one reaches the clients of all three
// servers once, and all see the same members.
func TestTwoGatewaysBridgeOneApp(t *testing.T) {
	d := newDrill(t, offrampPeer)
	second := harness.Start(t, harness.DefaultApps+fmt.Sprintf("    stage: cutover\n    upstream: {websocket: \"ws://%s\", api: \"http://%s\"}\n", d.line.addr, d.line.addr))
	stage(t, d.gateway, "set", "--force", "cutover")
	users := []string{"ann", "bob", "straggler"}
	d.there("straggler")
	d.here("ann")
	d.fleet.open("bob", second.Addr)
	d.together(users...)
	d.load.start(20*time.Millisecond, "ann", "straggler", "bob")
	d.flows(users...)
	d.load.excuse("")() // the bridges are only just up
	time.Sleep(4 * between)
	d.fleet.open("visitor", second.Addr)
	d.together(append(users, "visitor")...)
	d.fleet.close("visitor")
	d.together(users...)
	d.load.end()
	d.load.check(t)
	d.fleet.closeCodes()
}
