package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/integration/harness"
)

// circle runs two gateways each of which bridges the app to the other, which
// is reached as an operator would: by a proxy in front of it.
func circle(t *testing.T) (one, other *harness.Gateway) {
	t.Helper()
	var back atomic.Pointer[url.URL]
	back.Store(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(back.Load()) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(front.Close)
	bridging := func(to string) string {
		return harness.DefaultApps + fmt.Sprintf("    stage: cutover\n    upstream: {websocket: \"ws://%s\", api: \"http://%s\"}\n", to, to)
	}
	one = harness.Start(t, bridging(strings.TrimPrefix(front.URL, "http://")))
	other = harness.Start(t, bridging(one.Addr))
	back.Store(&url.URL{Scheme: "http", Host: other.Addr})
	return one, other
}

// hearing counts what a client is told until its server has published "end".
func hearing(t *testing.T, conn *websocket.Conn) (times map[string]int) {
	t.Helper()
	times = make(map[string]int)
	for {
		text := readEvent(t, conn)
		var f struct{ Event, Data string }
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if f.Event == "end" {
			return times
		}
		times[f.Event+" "+f.Data]++
	}
}

// TestTwoGatewaysInACircle: each has the other for the vendor. Both find out
// and stop the bridge; until then an event may go round, and reach the same
// client twice. No event is lost to the clients of the gateway that accepted
// it, and from then on each serves its own, once and in order.
func TestTwoGatewaysInACircle(t *testing.T) {
	one, other := circle(t)
	gateways := map[string]*harness.Gateway{"one": one, "other": other}
	clients := make(map[string]*websocket.Conn)
	for name, g := range gateways {
		clients[name] = connect(t, g)
		subscribe(t, clients[name], "news")
	}
	stopped := func(g *harness.Gateway) bool {
		var view struct{ Broken []struct{ Channels string } }
		getJSON(t, "http://"+g.Admin+"/api/v1/apps/"+harness.AppID+"/stage", &view)
		return len(view.Broken) == 1 && view.Broken[0].Channels == "*"
	}
	published := 0
	for end := time.Now().Add(patience); published < 20 || !stopped(one) || !stopped(other); published++ {
		if time.Now().After(end) {
			t.Fatalf("the circle is not found:\n%s\n%s", one.Log(), other.Log())
		}
		trigger(t, one, "news", "one", published)
		trigger(t, other, "news", "other", published)
	}
	trigger(t, one, "news", "end", 0)
	trigger(t, other, "news", "end", 0)
	for name, conn := range clients {
		heard := hearing(t, conn)
		for n := range published {
			if times := heard[fmt.Sprintf("%s %d", name, n)]; times < 1 || times > 2 {
				t.Errorf("%s: its own event %d was heard %d times, want once, or twice of one that went round", name, n, times)
			}
		}
		for event, times := range heard {
			if times > 2 {
				t.Errorf("%s: %s was heard %d times", name, event, times)
			}
		}
		t.Logf("%s: %d published at each, %d different events heard", name, published, len(heard))
	}
	for n := range 20 {
		for name, g := range gateways {
			trigger(t, g, "news", name, n)
			expect(t, clients[name], name, n)
		}
	}
}
