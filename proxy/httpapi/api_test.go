package httpapi_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/httpapi"
)

func TestPathsAndMethods(t *testing.T) {
	g := open(t, nil)
	tests := map[string]struct {
		method, path string
		status       int
		allow        string
	}{
		"the root":                       {"GET", "/", 404, ""},
		"no such resource":               {"GET", "/apps/3/nothing", 404, ""},
		"no resource":                    {"GET", "/apps/3", 404, ""},
		"no app":                         {"GET", "/apps//channels", 404, ""},
		"a slash at the end":             {"POST", "/apps/3/events/", 404, ""},
		"too deep":                       {"GET", "/apps/3/channels/c/users/1/2", 404, ""},
		"users without an app":           {"GET", "/users/1", 404, ""},
		"events asked for":               {"GET", "/apps/3/events", 405, "POST"},
		"channels published to":          {"POST", "/apps/3/channels", 405, "GET, HEAD"},
		"a method of no use":             {"DELETE", "/apps/3/channels/c", 405, "GET, HEAD"},
		"a preflight is no matter of it": {"OPTIONS", "/apps/3/events", 405, "POST"},
		"head of a publish":              {"HEAD", "/apps/3/events", 405, "POST"},
		"head":                           {"HEAD", "/apps/3/channels", 200, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := g.do(tc.method, tc.path, "", "")
			if got.status != tc.status || string(got.header.Peek("Allow")) != tc.allow {
				t.Errorf("got %d, Allow %q; want %d, %q", got.status, got.header.Peek("Allow"), tc.status, tc.allow)
			}
			if text := map[int]string{404: "Not found\n", 405: "Method not allowed\n"}[tc.status]; tc.status >= 400 && got.body != text {
				t.Errorf("got %q, want %q", got.body, text)
			}
			if cors := got.header.Peek("Access-Control-Allow-Origin"); cors != nil {
				t.Errorf("CORS for %q", cors)
			}
		})
	}
}

// TestT201 holds for every refusal: one line of plain text.
func TestT201RefusalsAreOneLineOfText(t *testing.T) {
	g := open(t, nil)
	for _, got := range []answer{
		g.raw("GET", "/nothing", ""), g.raw("POST", "/apps/3/events", "{}"), g.post(eventsPath, "{}"),
		g.post(eventsPath, strings.Repeat("x", 200<<10)), g.get("/apps/3/channels/presence-a/users", "a%0D%0Ab=%00"),
	} {
		if got.status < 400 || got.contentType != "text/plain; charset=utf-8" ||
			strings.Count(got.body, "\n") != 1 || !strings.HasSuffix(got.body, "\n") || strings.HasPrefix(got.body, "{") {
			t.Errorf("%d %q %q", got.status, got.contentType, got.body)
		}
	}
	if len(g.seen.all) != 5 {
		t.Errorf("%d records, want 5", len(g.seen.all))
	}
	for _, r := range g.seen.all {
		if r.Kind != proxy.KindRefused || r.Code < 400 || r.Text == "" || !strings.HasPrefix(r.Action, "http ") || r.At.Unix() != frozen {
			t.Errorf("record %+v", r)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	g := open(t, nil)
	huge := strings.Repeat(" ", 130<<10)
	check(t, g.post(eventsPath, huge), 413, "The request body of 133120 bytes exceeds the allowed maximum (126976 bytes)\n")
	if got := g.post(batchPath, huge); got.status != 400 {
		t.Errorf("a batch of that length: %d %s, want 400", got.status, got.body)
	}
	if got, want := httpapi.MaxBody(proxy.Limits{EventBytes: 10}, proxy.DefaultLimits()), 10*6*10240+64<<10; got != want {
		t.Errorf("MaxBody() = %d, want %d", got, want)
	}
}

func TestADisabledAppIsRefused(t *testing.T) {
	g := open(t, func(app *proxy.App) { app.Enabled = false })
	check(t, g.post(eventsPath, vectorBody), 403, "App disabled\n")
	if got := g.raw("POST", eventsPath+"?"+vectorParams, ""); got.status != 401 {
		t.Errorf("unsigned: %d %s, want 401", got.status, got.body)
	}
}

func TestPathPrefixIsNotSigned(t *testing.T) {
	api, _ := service(t, nil, "/ws/")
	target := sign("GET", "/apps/3/channels", "", "")
	check(t, handle(api, "GET", "/ws"+target, ""), 200, `{"channels":{}}`)
	if got := handle(api, "GET", target, ""); got.status != 404 {
		t.Errorf("without the prefix: %d", got.status)
	}
}

// TestT183 takes an app's limit a second for the quota that the vendor has.
func TestT183PublishesBeyondTheLimitAreRefused(t *testing.T) {
	now := time.Unix(frozen, 0)
	api, _ := service(t, &now, "", func(app *proxy.App) { app.Limits.PublishesPerSecond = 20 })
	batch := batchOf(slices.Repeat([]string{vectorEvent}, 10)...)
	post := func(path, body string) answer { return handle(api, "POST", sign("POST", path, "", body), body) }
	const text = "API call failed since (per second) message quota exceeded: this app may publish 20 events a second\n"
	check(t, post(batchPath, batch), 200, "{}")
	check(t, post(eventsPath, vectorBody), 200, "{}")
	check(t, post(batchPath, batch), 403, text)
	for range 9 {
		check(t, post(eventsPath, vectorBody), 200, "{}")
	}
	check(t, post(eventsPath, vectorBody), 403, text)
	check(t, post(eventsPath, "{}"), 400, "Missing required parameter: name\n")
	now = now.Add(500 * time.Millisecond)
	check(t, post(batchPath, batch), 200, "{}")
	check(t, post(eventsPath, vectorBody), 403, text)
	want := `
# HELP offramp_http_publishes_limited_total Publishes refused because the app published more events a second than it may.
# TYPE offramp_http_publishes_limited_total counter
offramp_http_publishes_limited_total{app="3"} 3
# HELP offramp_http_requests_total Requests to the HTTP API that were answered.
# TYPE offramp_http_requests_total counter
offramp_http_requests_total{resource="batch_events",status="200"} 2
offramp_http_requests_total{resource="batch_events",status="403"} 1
offramp_http_requests_total{resource="channel",status="200"} 0
offramp_http_requests_total{resource="channels",status="200"} 0
offramp_http_requests_total{resource="events",status="200"} 10
offramp_http_requests_total{resource="events",status="400"} 1
offramp_http_requests_total{resource="events",status="403"} 2
offramp_http_requests_total{resource="legacy_events",status="202"} 0
offramp_http_requests_total{resource="stats",status="200"} 0
offramp_http_requests_total{resource="terminate_connections",status="200"} 0
offramp_http_requests_total{resource="users",status="200"} 0
`
	if err := testutil.CollectAndCompare(api, strings.NewReader(want), "offramp_http_requests_total", "offramp_http_publishes_limited_total"); err != nil {
		t.Error(err)
	}
}

const vectorEvent = `{"name":"e","channel":"c","data":"1"}`

// service returns an API with an engine whose backend answers everything, and
// its registry.
func service(t *testing.T, now *time.Time, prefix string, edits ...func(*proxy.App)) (*httpapi.API, *apps.Registry) {
	t.Helper()
	if now == nil {
		now = new(time.Unix(frozen, 0))
	}
	app := testApp()
	for _, edit := range edits {
		edit(app)
	}
	registry, err := apps.New([]*proxy.App{app})
	if err != nil {
		t.Fatal(err)
	}
	return httpapi.New(httpapi.Settings{
		Apps: registry, Engine: accepting{open(t, nil).engine}, PathPrefix: prefix, Now: func() time.Time { return *now }, Log: zerolog.Nop(),
	}), registry
}

func TestAReloadedAppIsTakenOver(t *testing.T) {
	api, registry := service(t, nil, "")
	target := sign("GET", "/apps/3/channels", "", "")
	check(t, handle(api, "GET", target, ""), 200, `{"channels":{}}`)
	next := testApp()
	next.Credentials[0].Secret = proxy.NewSecret("rotated")
	if err := registry.Swap([]*proxy.App{next}); err != nil {
		t.Fatal(err)
	}
	if got := handle(api, "GET", target, ""); got.status != 401 {
		t.Errorf("with the old secret: %d %s, want 401", got.status, got.body)
	}
	check(t, handle(api, "GET", seal("rotated", "GET", "/apps/3/channels", vectorParams), ""), 200, `{"channels":{}}`)
}

// down is an engine whose broker and presence cannot be reached.
type down struct{}

var errDown = errors.New("connection refused to redis://secret-host")

func (down) Publish(context.Context, *proxy.App, engine.Publication) error { return errDown }
func (down) Channels(context.Context, string, string) ([]engine.ChannelState, error) {
	return nil, errDown
}
func (down) Channel(context.Context, proxy.Topic) (engine.ChannelState, error) {
	return engine.ChannelState{}, errDown
}
func (down) Users(context.Context, proxy.Topic) ([]string, error)    { return nil, errDown }
func (down) TerminateUser(context.Context, *proxy.App, string) error { return errDown }

func TestAnEngineThatFailsIsAnsweredWith503(t *testing.T) {
	registry, err := apps.New([]*proxy.App{testApp()})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	api := httpapi.New(httpapi.Settings{Apps: registry, Engine: down{}, Now: func() time.Time { return time.Unix(frozen, 0) }, Log: zerolog.New(&log)})
	for _, tc := range []struct{ method, path, query, body string }{
		{"POST", eventsPath, "", vectorBody}, {"POST", batchPath, "", batchOf(vectorEvent)},
		{"POST", "/apps/3/channels/c/events", "name=e", "x"}, {"GET", "/apps/3/channels", "", ""},
		{"GET", "/apps/3/channels/c", "", ""}, {"GET", "/apps/3/channels/presence-c/users", "", ""},
		{"GET", "/apps/3/channels/c/stats", "", ""}, {"POST", "/apps/3/users/u/terminate_connections", "", "{}"},
	} {
		got := handle(api, tc.method, sign(tc.method, tc.path, tc.query, tc.body), tc.body)
		check(t, got, 503, "Service temporarily unavailable, please try again\n")
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines logged for eight failures in a row, want 1:\n%s", n, &log)
	}
}
