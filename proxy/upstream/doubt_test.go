package upstream_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
)

// counter returns what a metric of the relay's says for the app.
func (r *rig) counter(name string) (value float64) {
	r.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(r.relay)
	families, err := registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				value += m.GetCounter().GetValue()
			}
		}
	}
	return value
}

// TestCopiesWhoseFateIsNotKnownAreBroughtAgain, once the vendor answers a
// question: its clients get every accepted event, in its order, and twice only
// those of a call that the vendor did and did not answer.
func TestCopiesWhoseFateIsNotKnownAreBroughtAgain(t *testing.T) {
	const events = 25
	for name, tc := range map[string]struct {
		// fail is how the first calls fail; forward makes one at the vendor.
		fail   func(w http.ResponseWriter, req *http.Request, forward http.Handler)
		calls  int // that fail
		times  int // that an event may come
		lost   bool
		within time.Duration // that a call is answered; 0: the default
	}{
		"the vendor hangs, and never did it": {func(_ http.ResponseWriter, req *http.Request, _ http.Handler) {
			_, _ = io.Copy(io.Discard, req.Body) // only then the server sees the connection end
			<-req.Context().Done()
		}, 1, 2, false, 5 * time.Second}, // twice where the machine is so slow that a later call takes as long
		"the connection ends before it is answered": {func(http.ResponseWriter, *http.Request, http.Handler) {
			panic(http.ErrAbortHandler)
		}, 3, 1, false, 0},
		"the answer is lost": {func(_ http.ResponseWriter, req *http.Request, forward http.Handler) {
			forward.ServeHTTP(httptest.NewRecorder(), req)
			panic(http.ErrAbortHandler)
		}, 1, 2, false, 0},
		"an error of the vendor's own": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusInternalServerError)
		}, 2, 1, false, 0},
		"again and again: the call is given up, and counted": {func(http.ResponseWriter, *http.Request, http.Handler) {
			panic(http.ErrAbortHandler)
		}, 4, 1, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vendors, err := apps.New([]*proxy.App{newApp(proxy.StageExited)})
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{t: t, seen: newRecords(), copies: t.TempDir(), calls: tc.within}
			r.vendor, _ = serve(t, 1, vendors, nil, nil)
			there := dial(t, r.vendor.addr, query)
			there.subscribe("x", "")
			var calls atomic.Int64
			forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.vendor.addr})
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if strings.HasSuffix(req.URL.Path, "/batch_events") && calls.Add(1) <= int64(tc.calls) {
					tc.fail(w, req, forward)
					return
				}
				forward.ServeHTTP(w, req)
			}))
			t.Cleanup(api.Close)
			r.startGateway(proxy.StageCutover, &proxy.Upstream{WebSocket: "ws://" + r.vendor.addr, API: api.URL})
			for n := range events {
				publish(t, r.gateway.addr, "x", "e", fmt.Sprint(n))
			}
			times, latest := make(map[string]int), -1
			for latest < events-1 {
				data := there.await("e").Get("data").String()
				if times[data]++; times[data] == 1 {
					var n int
					if _, err := fmt.Sscan(data, &n); err != nil || n <= latest {
						t.Errorf("event %q after event %d", data, latest)
					}
					latest = n
				}
			}
			missing := 0
			for n := range events {
				switch got := times[fmt.Sprint(n)]; {
				case got == 0:
					missing++
				case got > tc.times:
					t.Errorf("event %d came %d times, want at most %d", n, got, tc.times)
				}
			}
			if lost := r.counter("offramp_upstream_lost_total"); int(lost) != missing || tc.lost != (missing > 0) {
				t.Errorf("%d events missing, %v counted as lost; want some: %v", missing, lost, tc.lost)
			}
			if c, ok := r.relay.Copies("1"); !ok || int(c.Lost) != missing {
				t.Errorf("the relay says %+v, %v; %d events are missing", c, ok, missing)
			}
			if r.counter("offramp_upstream_repeated_total") == 0 {
				t.Error("nothing is counted as repeated")
			}
		})
	}
}
