package upstream_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
)

// here is a rule for channels that are the engine's while others are not.
var here = []proxy.Rule{{Channels: "here-*", Stage: proxy.StageCutover}}

// TestTheVendorRefusesWhatItServes: its answer is the caller's, and what it
// refused is published nowhere.
func TestTheVendorRefusesWhatItServes(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		text   string
	}{
		"over quota":       {403, "API call failed since (daily) message quota exceeded\n"},
		"too much":         {413, "The data content of this event exceeds the allowed maximum (10240 bytes)\n"},
		"wrong signature":  {401, "Invalid signature\n"},
		"in maintenance":   {503, "Service unavailable\n"},
		"a bad request":    {400, "Missing required parameter\n"},
		"too many at once": {429, "Slow down\n"},
	} {
		t.Run(name, func(t *testing.T) {
			vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.text)
			}))
			defer vendor.Close()
			r := &rig{t: t, seen: newRecords(), rules: here}
			r.startGateway(proxy.StageMirror, &proxy.Upstream{WebSocket: "ws" + strings.TrimPrefix(vendor.URL, "http"), API: vendor.URL})
			c := dial(t, r.gateway.addr, query)
			c.subscribe("here-1", "")
			for path, body := range map[string]string{
				"/apps/1/events":       `{"name":"e","channels":["x","here-1"],"data":"1"}`,
				"/apps/1/batch_events": `{"batch":[{"name":"e","channel":"here-1","data":"1"},{"name":"e","channel":"x","data":"1"}]}`,
			} {
				if status, text := call(t, r.gateway.addr, "POST", path, "", body); status != tc.status || text != tc.text {
					t.Errorf("%s: answered %d %q", path, status, text)
				}
			}
			publish(t, r.gateway.addr, "here-1", "served", "here")
			c.only("served", "here")
		})
	}
}

// TestAPublishOnChannelsOfBothSidesComesOnce to everybody, and is answered as
// the vendor answers it.
func TestAPublishOnChannelsOfBothSidesComesOnce(t *testing.T) {
	vendors, err := apps.New([]*proxy.App{newApp(proxy.StageExited)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, seen: newRecords(), rules: here}
	r.vendor, _ = serve(t, 1, vendors, nil, nil)
	r.startGateway(proxy.StageMirror, &proxy.Upstream{WebSocket: "ws://" + r.vendor.addr, API: "http://" + r.vendor.addr})
	inside, also, outside := dial(t, r.gateway.addr, query), dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
	for _, c := range []*client{inside, also, outside} {
		c.subscribe("private-x", "")
		c.subscribe("here-1", "")
	}
	eventually(t, "tapped", func() bool { return r.vendor.state("here-1").SubscriptionCount == 2 })
	body := `{"name":"e","channels":["here-1","private-x"],"data":"1","info":"subscription_count"}`
	status, text := call(t, r.gateway.addr, "POST", "/apps/1/events", "", body)
	if want := `{"channels":{"here-1":{"subscription_count":2},"private-x":{"subscription_count":3}}}`; status != 200 || text != want {
		t.Errorf("answered %d %s, want %s", status, text, want)
	}
	for _, c := range []*client{inside, also, outside} {
		c.only("e", "1")
		c.only("e", "1")
	}
	// The excluded client is one of the gateway's: neither side tells it.
	batch := fmt.Sprintf(`{"batch":[{"name":"b","channel":"private-x","data":{"n":1},"socket_id":%q},{"name":"b","channel":"here-1","data":"2","socket_id":%q}]}`, inside.id, inside.id)
	if status, text := call(t, r.gateway.addr, "POST", "/apps/1/batch_events", "", batch); status != 200 {
		t.Fatal(text)
	}
	publish(t, r.gateway.addr, "private-x", "end", "3")
	inside.only("end", "3")
	for _, c := range []*client{also, outside} {
		seen := map[string]int{}
		for range 3 {
			f, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			seen[f.Get("event").String()+f.Get("data").String()]++
		}
		if seen[`b{"n":1}`] != 1 || seen["b2"] != 1 || seen["end3"] != 1 {
			t.Errorf("got %v", seen)
		}
	}
}

// TestAVendorThatDoesNotAnswerIsSaidSo: nothing is published behind its back.
func TestAVendorThatDoesNotAnswerIsSaidSo(t *testing.T) {
	r, w := openWired(t, proxy.StageMirror)
	w.cut()
	body := `{"name":"e","channel":"x","data":"1"}`
	if status, text := call(t, r.gateway.addr, "POST", "/apps/1/events", "", body); status != 502 || text != "Upstream not reachable, please try again\n" {
		t.Errorf("answered %d %s", status, text)
	}
	w.heal()
	publish(t, r.gateway.addr, "x", "e", "2")
}
