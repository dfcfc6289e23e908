package integration

import (
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offramp/offramp/integration/harness"
)

// vendorHooksTo is where a vendor sends its webhooks: a load balancer that
// gives each to the next node.
func vendorHooksTo(t *testing.T, nodes *atomic.Pointer[[]*harness.Gateway]) string {
	t.Helper()
	var turn atomic.Int64
	balancer := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		host := "127.0.0.1:1" // nobody: the vendor tries again
		if list := nodes.Load(); list != nil {
			host = (*list)[int(turn.Add(1))%len(*list)].Addr
		}
		r.SetURL(&url.URL{Scheme: "http", Host: host})
	}})
	t.Cleanup(balancer.Close)
	return balancer.URL + "/apps/" + harness.AppID + "/webhooks"
}

// TestWebhooksOfBothSidesAreOneStreamOnAllNodes: clients are at the vendor and
// on two nodes, and any node may be told of what happens at the vendor. The
// receiver is told of each true change of both sides together, once.
func TestWebhooksOfBothSidesAreOneStreamOnAllNodes(t *testing.T) {
	const events = "        events: [channel_occupied, channel_vacated, member_added, member_removed]\n"
	var to atomic.Pointer[[]*harness.Gateway]
	vendor := harness.Start(t, harness.DefaultApps+"    webhooks:\n      - url: "+vendorHooksTo(t, &to)+"\n"+events)
	hooks := newHookLog(t)
	hooks.up()
	nodes, _ := startCluster(t, 2, harness.DefaultApps+"    webhooks:\n      - url: "+hooks.url+"\n"+events+
		fmt.Sprintf("    stage: cutover\n    upstream: {websocket: \"ws://%s\", api: \"http://%s\"}\n", vendor.Addr, vendor.Addr))
	to.Store(&nodes)
	told := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		var got []string
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			got = hooks.seen()
			if slices.Sort(got); slices.Equal(got, want) {
				return
			}
		}
		t.Fatalf("the receiver was told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// stays waits for longer than a departure is held back on both sides.
	stays := func(want ...string) {
		t.Helper()
		time.Sleep(7 * time.Second)
		told(want...)
	}

	const room = "presence-room"
	straggler := dialNode(t, vendor)
	straggler.join(room, "ann")
	here := []string{"channel_occupied " + room, "member_added " + room + " ann"}
	told(here...)
	for _, g := range nodes { // the same user, on either node
		mover := dialNode(t, g)
		mover.join(room, "ann")
		_ = mover.conn.Close()
	}
	stays(here...)

	last := dialNode(t, nodes[1])
	last.join(room, "ann")
	_ = straggler.conn.Close()
	stays(here...)
	_ = last.conn.Close()
	gone := append(slices.Clone(here), "channel_vacated "+room, "member_removed "+room+" ann")
	told(gone...)
	stays(gone...)
}
