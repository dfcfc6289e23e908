package upstream_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/route"
)

// slowAPI is the way to a vendor's HTTP API, on which calls and answers can be
// held up.
type slowAPI struct {
	come           chan struct{} // receives for each call
	calls, answers chan struct{} // none passes before it is closed
}

func newSlowAPI() *slowAPI {
	return &slowAPI{come: make(chan struct{}, 100), calls: make(chan struct{}), answers: make(chan struct{})}
}

// openSlow starts a vendor and a gateway whose API calls go by slow.
func openSlow(t *testing.T, stage proxy.Stage, slow *slowAPI) *rig {
	t.Helper()
	vendors, err := apps.New([]*proxy.App{newApp(proxy.StageExited)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, seen: newRecords()}
	r.vendor, _ = serve(t, 1, vendors, nil, nil)
	onward := &httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: r.vendor.addr}) },
		ModifyResponse: func(*http.Response) error { <-slow.answers; return nil },
	}
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			slow.come <- struct{}{}
			<-slow.calls
		}
		onward.ServeHTTP(w, req)
	}))
	t.Cleanup(way.Close)
	r.startGateway(stage, &proxy.Upstream{WebSocket: "ws://" + r.vendor.addr, API: way.URL})
	return r
}

// TestNobodyIsMovedBeforeTheVendorHasTheCopies: a client that has an event
// from the engine is not given the vendor's copy of it after the way back.
func TestNobodyIsMovedBeforeTheVendorHasTheCopies(t *testing.T) {
	for _, to := range []proxy.Stage{proxy.StageMirror, proxy.StageObserve} {
		t.Run(to.String(), func(t *testing.T) {
			t.Parallel()
			slow := newSlowAPI()
			close(slow.answers)
			r := openSlow(t, proxy.StageCutover, slow)
			c, there := dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
			c.subscribe("x", "")
			there.subscribe("x", "")
			publish(t, r.gateway.addr, "x", "e", "1")
			c.only("e", "1")
			r.move(to)
			// Longer than a client that comes on its own would be kept waiting.
			time.AfterFunc(3*time.Second, func() { close(slow.calls) })
			code, _ := c.closed()
			comesBack(t, code)
			c = dial(t, r.gateway.addr, query)
			c.subscribe("x", "")
			there.only("e", "1")
			publish(t, r.gateway.addr, "x", "end", "2")
			c.only("end", "2")
			there.only("end", "2")
		})
	}
}

// TestNobodyIsMovedBeforeTheVendorHasAnswered: a client that has an event from
// the vendor is not given it once more when the vendor's answer has come.
func TestNobodyIsMovedBeforeTheVendorHasAnswered(t *testing.T) {
	slow := newSlowAPI()
	close(slow.calls)
	r := openSlow(t, proxy.StageMirror, slow)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("x", "")
	published := make(chan struct{})
	go func() {
		defer close(published)
		publish(t, r.gateway.addr, "x", "e", "1")
	}()
	c.only("e", "1")
	r.move(proxy.StageCutover)
	time.AfterFunc(300*time.Millisecond, func() { close(slow.answers) })
	code, _ := c.closed()
	comesBack(t, code)
	c = dial(t, r.gateway.addr, query)
	c.subscribe("x", "")
	<-published
	publish(t, r.gateway.addr, "x", "end", "2")
	c.only("end", "2")
}

// TestACallDuringWhichTheTapComes: the vendor hands an event to the tap that
// it could not be asked to leave out, and its answer brings the event as well.
func TestACallDuringWhichTheTapComes(t *testing.T) {
	slow := newSlowAPI()
	close(slow.answers)
	r := openSlow(t, proxy.StageMirror, slow)
	published := make(chan struct{})
	go func() {
		defer close(published)
		publish(t, r.gateway.addr, "x", "e", "1")
	}()
	<-slow.come
	r.move(proxy.StageCutover)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("x", "") // which does not wait for the call for ever
	eventually(t, "tapped", func() bool { return r.vendor.state("x").Occupied })
	close(slow.calls)
	c.only("e", "1")
	<-published
	publish(t, r.gateway.addr, "x", "end", "2")
	c.only("end", "2")
}

// TestAMoveSendsNoGhostsAway: users of the vendor stay members here while
// other channels are moved.
func TestAMoveSendsNoGhostsAway(t *testing.T) {
	r := open(t, proxy.StageMirror)
	canary := func(channels string, percent int) {
		t.Helper()
		q := route.Request{App: "1", Channels: channels, Stage: proxy.StageCanary, Percent: percent, Who: "test"}
		if _, err := r.router.Set(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	canary("presence-*", 100)
	here, there := dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
	there.subscribe("presence-room", "2")
	here.subscribe("presence-room", "1")
	eventually(t, "a ghost", func() bool {
		members, err := r.gateway.engine.Members(t.Context(), proxy.Topic{App: "1", Channel: "presence-room"})
		return err == nil && len(members) == 2
	})
	there.await("pusher_internal:member_added")
	for percent := range 20 {
		canary("other-*", percent+1)
		time.Sleep(10 * time.Millisecond)
	}
	publish(t, r.gateway.addr, "presence-room", "end", "1")
	for _, c := range []*client{here, there} {
		for name := ""; name != "end"; {
			f, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			if name = f.Get("event").String(); name == "pusher_internal:member_removed" {
				t.Fatalf("got %s", f.Raw)
			}
		}
	}
}
