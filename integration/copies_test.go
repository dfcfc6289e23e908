package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"
	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/integration/harness"
)

// TestCopiesOutliveAKill kills a gateway at cutover whose copies are stuck on
// their way to the vendor. After it has started again, and the way is free,
// the vendor's client gets every publish that was accepted: those whose call
// was under way possibly twice, all others once and in order.
func TestCopiesOutliveAKill(t *testing.T) {
	const events, underWay = 200, 10
	vendor := harness.Start(t, harness.DefaultApps)
	way := startWire(t, vendor.Addr)
	gateway := harness.Start(t, harness.DefaultApps+fmt.Sprintf("    stage: cutover\n    upstream: {websocket: \"ws://%s\", api: \"http://%s\"}\n", way.addr, way.addr))
	there, here := connect(t, vendor), connect(t, gateway)
	subscribe(t, there, "news")
	subscribe(t, here, "news")
	client := pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: gateway.Addr}
	publish := func(n int) {
		t.Helper()
		if err := client.Trigger("news", "n", strconv.Itoa(n)); err != nil {
			t.Fatalf("publish %d: %v", n, err)
		}
	}
	next := func() int {
		t.Helper()
		_ = there.SetReadDeadline(time.Now().Add(patience))
		for {
			_, frame, err := there.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if gjson.GetBytes(frame, "event").String() == "n" {
				return int(gjson.GetBytes(frame, "data").Int())
			}
		}
	}
	publish(-1)
	if got := next(); got != -1 {
		t.Fatalf("the vendor's client got %d before anything was wrong", got)
	}
	way.silence()
	for n := range events {
		publish(n)
	}
	gateway.Kill(t)
	gateway.Run(t)
	publish(events)
	way.heal()
	var got []int
	for len(got) == 0 || got[len(got)-1] != events {
		got = append(got, next())
	}
	times := map[int]int{}
	for _, n := range got {
		if times[n]++; times[n] > 2 || times[n] == 2 && n >= underWay {
			t.Errorf("%d came %d times", n, times[n])
		}
	}
	for n := range events {
		if times[n] == 0 {
			t.Errorf("%d was accepted and did not come", n)
		}
	}
	t.Logf("%d events came %d times", events+1, len(got))
	if late := slices.DeleteFunc(got, func(n int) bool { return n < underWay }); !slices.IsSorted(late) {
		t.Errorf("out of order: %v", late)
	}
	if entries, err := os.ReadDir(gateway.Dir + "/data/copies"); err != nil || len(entries) != 1 {
		t.Errorf("files of copies: %v, %v", entries, err)
	}
}
