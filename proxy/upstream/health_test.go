package upstream_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/proxy"
)

// refusing is a vendor that answers calls with a status and ends connections
// with a code.
func refusing(status int, text string, code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !websocket.IsWebSocketUpgrade(req) {
			http.Error(w, text, status)
			return
		}
		ws, err := new(websocket.Upgrader).Upgrade(w, req, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		if code == 0 {
			_, _, _ = ws.ReadMessage()
			return
		}
		_ = ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"event":"pusher:error","data":{"code":%d,"message":"no"}}`, code))
		_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, "no"))
	})
}

// TestTroubleIsNamed: what is wrong with an upstream is told apart and shown,
// at each stage, by calls and by connections.
func TestTroubleIsNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		vendor   http.Handler
		tls      bool
		connects bool // otherwise it is called
		want     string
	}{
		"message quota":         {vendor: refusing(403, "API call failed since (daily) message quota exceeded", 0), want: "over quota"},
		"wrong credentials":     {vendor: refusing(401, "Invalid signature", 0), want: "credentials"},
		"a disabled app":        {vendor: refusing(403, "App disabled", 0), want: "credentials"},
		"a certificate":         {vendor: refusing(200, "{}", 0), tls: true, want: "certificate"},
		"in maintenance":        {vendor: refusing(503, "later", 0), want: "down"},
		"slow":                  {vendor: slow(2100 * time.Millisecond), want: "slow"},
		"connection quota":      {vendor: refusing(200, "{}", 4004), connects: true, want: "connection limit"},
		"no such app":           {vendor: refusing(200, "{}", 4001), connects: true, want: "credentials"},
		"a certificate, client": {vendor: refusing(200, "{}", 0), tls: true, connects: true, want: "certificate"},
	} {
		for _, stage := range []proxy.Stage{proxy.StageObserve, proxy.StageMirror} {
			t.Run(name+" at "+stage.String(), func(t *testing.T) {
				t.Parallel()
				vendor := httptest.NewUnstartedServer(tc.vendor)
				vendor.Config.ErrorLog = nil
				if tc.tls {
					vendor.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
					vendor.StartTLS()
				} else {
					vendor.Start()
				}
				defer vendor.Close()
				r := &rig{t: t, seen: newRecords()}
				r.startGateway(stage, &proxy.Upstream{WebSocket: "ws" + strings.TrimPrefix(vendor.URL, "http"), API: vendor.URL})
				if tc.connects {
					c := dialOnly(t, r.gateway.addr, query)
					if stage == proxy.StageMirror {
						c.await("pusher:connection_established")
						c.send(c.subscription("x", ""))
					}
					code, _ := c.closed()
					if stage == proxy.StageMirror {
						comesBack(t, code)
					}
				} else {
					call(t, r.gateway.addr, "POST", "/apps/1/events", "", `{"name":"e","channel":"x","data":"1"}`)
				}
				var met []string
				eventually(t, "trouble", func() bool {
					met = nil
					for _, trouble := range r.relay.Trouble("1") {
						met = append(met, trouble.Kind)
						if trouble.Kind == tc.want && trouble.Text != "" && trouble.Count > 0 && !trouble.Since.IsZero() {
							return true
						}
					}
					return false
				})
			})
		}
	}
}

func slow(by time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(by)
		fmt.Fprint(w, "{}")
	})
}

// TestTheEngineStandsInForAVendorThatIsDown, where that is configured: clients
// are served, publishes answered and marked, and when the vendor is there
// again it gets what was published, in order, and then its clients back.
func TestTheEngineStandsInForAVendorThatIsDown(t *testing.T) {
	for _, stage := range []proxy.Stage{proxy.StageObserve, proxy.StageMirror} {
		t.Run(stage.String(), func(t *testing.T) {
			t.Parallel()
			r, w := openWiredWhen(t, stage, proxy.WhenDownServe)
			there := dial(t, r.vendor.addr, query)
			there.subscribe("x", "")
			w.cut()
			var c *client
			long(t, "served here", func() bool {
				c = dialOnly(t, r.gateway.addr, query)
				f, err := c.read()
				if err != nil || f.Get("event").String() != "pusher:connection_established" {
					c.ws.Close()
					return false
				}
				c.send(`{"event":"pusher:subscribe","data":{"channel":"x"}}`)
				for {
					f, err := c.read()
					if err != nil {
						c.ws.Close()
						return false // before it was taken for down
					}
					if f.Get("event").String() == "pusher_internal:subscription_succeeded" {
						return true
					}
				}
			})
			for i := range 5 {
				publish(t, r.gateway.addr, "x", "n", fmt.Sprint(i))
				c.only("n", fmt.Sprint(i))
			}
			eventually(t, "journalled", func() bool {
				history, err := r.router.History("1")
				return err == nil && len(history) == 1 && history[0].Who == "fail-open"
			})
			w.heal()
			for i := range 5 {
				there.only("n", fmt.Sprint(i))
			}
			code, _ := c.closed()
			if code != 4200 {
				t.Errorf("sent back with %d", code)
			}
			long(t, "the vendor's again", func() bool {
				c = dialOnly(t, r.gateway.addr, query)
				c.send(`{"event":"pusher:subscribe","data":{"channel":"x"}}`)
				for r.vendor.state("x").SubscriptionCount < 2 {
					if _, err := c.read(); err != nil {
						return false
					}
				}
				return true
			})
		})
	}
}

// long fails the test unless holds within 30 s.
func long(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
