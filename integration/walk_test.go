package integration

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dwell is how long a drill stays where it is, for the load to mean something.
const dwell = 500 * time.Millisecond

// TestTheFullWalk goes from observe to exited, and takes back every step on
// the way, with pusher-js clients on both sides and publishers at both. Each
// event arrives once, members are the same on both sides, each change is told
// once by webhook, and no client is told to stay away.
func TestTheFullWalk(t *testing.T) {
	for name, start := range peers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDrill(t, start)
			for _, id := range []string{"straggler", "passenger"} {
				d.there(id)
			}
			for _, id := range []string{"ann", "bob", "cleo"} {
				d.here(id)
			}
			users := []string{"straggler", "passenger", "ann", "bob", "cleo"}
			d.together(users...)
			d.load.start(10*time.Millisecond, "ann", "straggler")
			var slowest time.Duration
			var visitors []string
			settled := func(step string) {
				t.Helper()
				slowest = max(slowest, d.together(users...))
				visitor := fmt.Sprintf("visitor-%d", len(visitors))
				visitors = append(visitors, visitor)
				d.here(visitor)
				slowest = max(slowest, d.together(append(slices.Clone(users), visitor)...))
				time.Sleep(dwell)
				d.fleet.close(visitor)
				slowest = max(slowest, d.together(users...))
				t.Logf("%s: %s", time.Now().Format("05.000"), step)
			}
			var rollbacks []time.Duration
			back := func(from string) {
				t.Helper()
				began := time.Now()
				stage(t, d.gateway, "rollback")
				done := time.Now()
				settled("back from " + from)
				rollbacks = append(rollbacks, d.fleet.lastMove(began, done).Sub(began))
			}
			settled("observe")
			for _, next := range [][]string{{"shadow"}, {"mirror"}, {"canary", "--percent", "50"}, {"cutover"}} {
				move := func(to []string) {
					stage(t, d.gateway, append([]string{"set", "--force"}, to...)...)
				}
				move(next)
				settled(next[0])
				back(next[0])
				move(next)
				settled(next[0] + " again")
			}
			// After the exit nobody carries what happens from side to side.
			there := d.load.excuse("g", "straggler", "passenger")
			here := d.load.excuse("v", "ann", "bob", "cleo")
			talk := d.load.excuse("client-")
			stage(t, d.gateway, "set", "--force", "exited")
			time.Sleep(dwell)
			back("exited")
			for _, end := range []func(){there, here, talk} {
				end()
			}
			d.load.end()
			d.load.check(t)
			d.fleet.closeCodes()
			d.checkHooks(append(visitors, users...))
			t.Logf("members were the same on both sides within %v of each step; rollbacks took %v, until the last client was back", slowest, rollbacks)
			if longest := slices.Max(rollbacks); longest > patience {
				t.Errorf("a rollback took %v", longest)
			}
		})
	}
}

// checkHooks has everybody leave, and compares what the receiver was told with
// what is true: everybody came once and left once.
func (d *drill) checkHooks(users []string) {
	d.t.Helper()
	want := map[string]int{}
	for _, channel := range []string{drillChannel, drillRoom} {
		want["channel_occupied "+channel], want["channel_vacated "+channel] = 1, 1
	}
	for _, user := range users {
		want["member_added "+drillRoom+" "+user], want["member_removed "+drillRoom+" "+user] = 1, 1
	}
	for id := range d.fleet.members() {
		d.fleet.close(id)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		told := d.hooks.all()
		if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(what string) bool { return told[what] == 0 }) {
			break
		}
	}
	told := map[string]int{}
	for what, times := range d.hooks.all() {
		if what[:6] != "client" {
			if told[what] = times; times != want[what] {
				d.t.Logf("%s at %v", what, d.hooks.at(what))
			}
		} else if times > 1 {
			d.t.Errorf("the receiver was told %d times: %s", times, what)
		}
	}
	if diff := cmp.Diff(want, told); diff != "" {
		d.t.Errorf("webhooks, -want +told:\n%s", diff)
	}
}
