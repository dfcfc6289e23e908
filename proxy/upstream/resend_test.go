package upstream_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
)

// gate holds API calls until it is opened. It then passes them on to a server,
// or answers all with a status.
func gate(t *testing.T, to string) (api string, open func(status int)) {
	t.Helper()
	opened, answer := make(chan struct{}), 0
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if <-opened; answer != 0 {
			w.WriteHeader(answer)
			return
		}
		forward.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	open = func(status int) {
		answer = status
		close(opened)
	}
	return server.URL, open
}

// TestCopiesOutliveTheGateway gives a second gateway what is on disk when a
// first has answered, as if that had been killed then. The vendor's client
// gets all of it once and in order, and before what is new; clients here, who
// have had it, get no echo.
func TestCopiesOutliveTheGateway(t *testing.T) {
	const events = 25 // more than two calls
	vendors, err := apps.New([]*proxy.App{newApp(proxy.StageExited)})
	if err != nil {
		t.Fatal(err)
	}
	first := &rig{t: t, seen: newRecords(), copies: t.TempDir()}
	first.vendor, _ = serve(t, 1, vendors, nil, nil)
	there := dial(t, first.vendor.addr, query)
	there.subscribe("private-x", "")
	closed, giveUp := gate(t, first.vendor.addr)
	first.startGateway(proxy.StageCutover, &proxy.Upstream{WebSocket: "ws://" + first.vendor.addr, API: closed})
	t.Cleanup(func() { giveUp(http.StatusGone) }) // or its end would wait for it
	for i := range events {
		publish(t, first.gateway.addr, "private-x", "e", fmt.Sprint(i))
	}
	second := &rig{t: t, vendor: first.vendor, seen: newRecords(), copies: t.TempDir(), node: 5}
	if err := os.CopyFS(second.copies, os.DirFS(first.copies)); err != nil {
		t.Fatal(err)
	}
	api, open := gate(t, first.vendor.addr)
	second.startGateway(proxy.StageCutover, &proxy.Upstream{WebSocket: "ws://" + first.vendor.addr, API: api})
	here := dial(t, second.gateway.addr, query)
	here.subscribe("private-x", "")
	eventually(t, "the tap is on the channel", func() bool { return first.vendor.state("private-x").SubscriptionCount >= 2 })
	if c, ok := second.relay.Copies("1"); !ok || c.Waiting != events || c.Oldest.IsZero() || time.Since(c.Oldest) > 5*time.Minute {
		t.Errorf("the relay says %+v, %v; want %d that wait", c, ok, events)
	}
	publish(t, second.gateway.addr, "private-x", "e", "new")
	here.only("e", "new")
	open(0)
	for i := range events {
		there.only("e", fmt.Sprint(i))
	}
	there.only("e", "new")
	publish(t, first.vendor.addr, "private-x", "e", "last")
	here.only("e", "last")
	eventually(t, "nothing waits", func() bool {
		c, ok := second.relay.Copies("1")
		return ok && c.Waiting == 0 && c.Oldest.IsZero() && c.Lost == 0
	})
}

// BenchmarkPublishAtCutover is what a publisher waits for.
func BenchmarkPublishAtCutover(b *testing.B) {
	for _, kept := range []string{"memory", "disk"} {
		b.Run("copies="+kept, func(b *testing.B) {
			r := new(rig)
			if kept == "disk" {
				r.copies = b.TempDir()
			}
			r.openAt(b, proxy.StageCutover)
			for b.Loop() {
				publish(b, r.gateway.addr, "private-x", "e", "data")
			}
		})
	}
}
