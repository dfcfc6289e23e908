package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// gateway is the rest of the program, as far as admin can see.
type gateway struct {
	app     *proxy.App
	reasons []string
	change  StageChange // the last one asked for
	why     string
	filter  WebhookFilter
	records chan proxy.Record
	feed    FeedFilter
	err     error // what sources return
}

func newGateway() *gateway {
	app := proxy.Defaults()
	app.ID = "one"
	app.Credentials = []proxy.Credential{{Key: "key-one", Secret: proxy.NewSecret("secret-of-one")}}
	app.Upstream = &proxy.Upstream{WebSocket: "wss://user:hunter2@ws.example.com", API: "https://api.example.com"}
	app.Webhooks = []proxy.Webhook{{URL: "https://example.com/hook?token=hunter2", Events: proxy.WebhookTypes()}}
	app.Backends = []proxy.Backend{{Name: "nats", Plugin: "nats", Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1,
		Settings: map[string]any{"password": proxy.NewSecret("hunter2"), "plain": "hunter2"}}}
	return &gateway{app: &app, records: make(chan proxy.Record, 8)}
}

func (g *gateway) All() []*proxy.App { return []*proxy.App{g.app} }

func (g *gateway) ByID(id string) (*proxy.App, bool) { return g.app, id == g.app.ID }

func (g *gateway) Stats(string) Stats { return Stats{Connections: 2, ServerEvents: 7} }

func (g *gateway) Connections(string) []Connection {
	return []Connection{{Socket: "1.1"}, {Socket: "1.2"}}
}

func (g *gateway) Channels(_ context.Context, _, prefix string) ([]Channel, error) {
	return []Channel{{Name: "quiet", Subscriptions: 1}, {Name: protocol.ChannelName(prefix + "busy"), Subscriptions: 9}}, g.err
}

func (g *gateway) Users(_ context.Context, t proxy.Topic) ([]string, error) {
	return []string{"user of " + t.String()}, g.err
}

func (g *gateway) Show(_ context.Context, app string) (any, error) {
	return map[string]string{"app": app}, g.err
}

func (g *gateway) Set(_ context.Context, _ string, c StageChange) (any, error) {
	g.change = c
	return map[string]string{"stage": c.Stage}, g.err
}

func (g *gateway) Rearm(_ context.Context, _ string, u StageUndo) (any, error) {
	return []string{u.Channels}, nil
}

func (g *gateway) Rollback(_ context.Context, _ string, u StageUndo) (any, error) {
	g.why = u.Why
	return map[string]string{}, g.err
}

func (g *gateway) Status() any { return []string{"receiver"} }

func (g *gateway) Dead(f WebhookFilter) (any, error) {
	g.filter = f
	return []string{"letter"}, g.err
}

func (g *gateway) Replay(_ context.Context, f WebhookFilter) (int, error) {
	g.filter = f
	return 3, g.err
}

func (g *gateway) Subscribe(_ context.Context, f FeedFilter) <-chan proxy.Record {
	g.feed = f
	return g.records
}

func (g *gateway) settings() Settings {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "offramp_test_total", Help: "Test."}))
	document := func(_ context.Context, app string, since time.Time) (json.RawMessage, error) {
		return json.RawMessage(fmt.Sprintf(`{"app":%q,"all":%v}`, app, since.IsZero())), g.err
	}
	return Settings{
		Version: "test", Ready: func(context.Context) []string { return g.reasons },
		Apps: g, Traffic: g, Stages: g, Webhooks: g, Feed: g, Report: document, Inventory: document, Evidence: document,
		Capture: func(_ context.Context, app string, length time.Duration, payloads bool, w io.Writer) error {
			if g.err != nil {
				return g.err
			}
			_, err := fmt.Fprint(w, app, " ", length, " ", payloads)
			return err
		},
		Backends: func() any { return []string{"backend"} },
		Occupancy: func(_ context.Context, t proxy.Topic, backend string) (any, error) {
			return "who is on " + t.String() + " at " + backend, g.err
		},
		Metrics: registry, Log: zerolog.Nop(),
	}
}

// ask sends a request the way a local program does.
func ask(h http.Handler, method, path, body string, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:6002"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"the dashboard":                      {"GET", "/", "", 200, "<!doctype html>"},
		"its script":                         {"GET", "/console.js", "", 200, "showRecord"},
		"its style":                          {"GET", "/console.css", "", 200, "prefers-color-scheme: dark"},
		"alive":                              {"GET", "/live", "", 200, `"live":true`},
		"ready":                              {"GET", "/ready", "", 200, `{"ready":true,"reasons":[]}`},
		"metrics":                            {"GET", "/metrics", "", 200, "offramp_test_total 0"},
		"apps":                               {"GET", "/api/v1/apps", "", 200, `[{"id":"one","keys":["key-one"]`},
		"apps with their counts":             {"GET", "/api/v1/apps", "", 200, `"server_events":7`},
		"one app":                            {"GET", "/api/v1/apps/one", "", 200, `"stage":"exited"`},
		"an app that is not there":           {"GET", "/api/v1/apps/two", "", 404, "there is no app two"},
		"connections, newest first":          {"GET", "/api/v1/apps/one/connections?limit=1", "", 200, `[{"socket":"1.2"`},
		"connections of no app":              {"GET", "/api/v1/apps/two/connections", "", 404, "there is no app two"},
		"a limit out of range":               {"GET", "/api/v1/apps/one/connections?limit=0", "", 400, "use 1 to 10000"},
		"channels, busiest first":            {"GET", "/api/v1/apps/one/channels?prefix=p-", "", 200, `[{"name":"p-busy"`},
		"users of a presence channel":        {"GET", "/api/v1/apps/one/channels/presence-a/users", "", 200, `["user of one/presence-a"]`},
		"what a backend knows of a channel":  {"GET", "/api/v1/apps/one/backends/nats/channels/presence-a", "", 200, "who is on one/presence-a at nats"},
		"what a backend knows of no channel": {"GET", "/api/v1/apps/one/backends/nats/channels/a%20b", "", 400, "not the name of a channel"},
		"users of another channel":           {"GET", "/api/v1/apps/one/channels/a/users", "", 400, "not the name of a presence channel"},
		"stage":                              {"GET", "/api/v1/apps/one/stage", "", 200, `{"app":"one"}`},
		"set a stage":                        {"PUT", "/api/v1/apps/one/stage", `{"stage":"shadow"}`, 200, `{"stage":"shadow"}`},
		"set a stage that is none":           {"PUT", "/api/v1/apps/one/stage", `{"stage":"shadows"}`, 400, "unknown stage"},
		"a share outside canary":             {"PUT", "/api/v1/apps/one/stage", `{"stage":"shadow","percent":5}`, 400, "canary stage only"},
		"a share of more than all":           {"PUT", "/api/v1/apps/one/stage", `{"stage":"canary","percent":101}`, 400, "use 0 to 100"},
		"a share of something else":          {"PUT", "/api/v1/apps/one/stage", `{"stage":"canary","by":"moon"}`, 400, "neither channel nor user"},
		"a field that is none":               {"PUT", "/api/v1/apps/one/stage", `{"stages":"shadow"}`, 400, "unknown field"},
		"broken JSON":                        {"PUT", "/api/v1/apps/one/stage", `{"stage`, 400, "cannot be read"},
		"two JSON values":                    {"PUT", "/api/v1/apps/one/stage", `{"stage":"shadow"} {}`, 400, "behind the JSON value"},
		"a body without end":                 {"PUT", "/api/v1/apps/one/stage", `{"why":"` + strings.Repeat("x", maxBodyBytes) + `"}`, 413, "too large"},
		"roll back":                          {"POST", "/api/v1/apps/one/rollback", `{"why":"errors"}`, 200, `{}`},
		"roll back without a reason":         {"POST", "/api/v1/apps/one/rollback", `{}`, 200, `{}`},
		"report":                             {"GET", "/api/v1/apps/one/report", "", 200, `{"app":"one","all":true}`},
		"evidence":                           {"GET", "/api/v1/apps/one/evidence", "", 200, `{"app":"one","all":true}`},
		"a recording":                        {"POST", "/api/v1/apps/one/capture?for=60s", "", 200, "one 1m0s false"},
		"a recording with payloads":          {"POST", "/api/v1/apps/one/capture?for=1s&payloads=true", "", 200, "one 1s true"},
		"a recording of a day":               {"POST", "/api/v1/apps/one/capture?for=24h", "", 400, "1h0m0s"},
		"a recording without a length":       {"POST", "/api/v1/apps/one/capture", "", 400, "for=60s"},
		"a recording of no app":              {"POST", "/api/v1/apps/none/capture?for=60s", "", 404, "no app"},
		"report of a day":                    {"GET", "/api/v1/apps/one/report?since=24h", "", 200, `{"app":"one","all":false}`},
		"report since a time":                {"GET", "/api/v1/apps/one/report?since=2026-01-01T00:00:00Z", "", 200, `"all":false`},
		"report since nonsense":              {"GET", "/api/v1/apps/one/report?since=yesterday", "", 400, "not a time"},
		"inventory":                          {"GET", "/api/v1/apps/one/inventory", "", 200, `{"app":"one"`},
		"backends":                           {"GET", "/api/v1/backends", "", 200, `["backend"]`},
		"webhooks":                           {"GET", "/api/v1/webhooks", "", 200, `["receiver"]`},
		"dead letters":                       {"GET", "/api/v1/webhooks/dead?app=one", "", 200, `["letter"]`},
		"replay":                             {"POST", "/api/v1/webhooks/replay", `{"app":"one"}`, 200, `{"replayed":3}`},
		"replay of a type that is none":      {"POST", "/api/v1/webhooks/replay", `{"type":"x"}`, 400, "name of a webhook event"},
		"a path that is none":                {"GET", "/api/v1/nothing", "", 404, "there is nothing at GET /api/v1/nothing"},
		"a method that is none":              {"DELETE", "/api/v1/apps/one", "", 404, "DELETE"},
		"a kind of record that is none":      {"GET", "/api/v1/events?kinds=published,x", "", 400, "there is no kind of record x"},
		"a path that leaves the page behind": {"GET", "/../server.go", "", 307, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(New(newGateway().settings()).Handler(), tc.method, tc.path, tc.body)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("%s %s = %d %s, want %d with %q", tc.method, tc.path, w.Code, w.Body, tc.status, tc.want)
			}
			for _, secret := range []string{"secret-of-one", "hunter2"} {
				if strings.Contains(w.Body.String(), secret) {
					t.Errorf("%s %s shows the secret %s: %s", tc.method, tc.path, secret, w.Body)
				}
			}
		})
	}
}

func TestListsSayHowLongTheyAre(t *testing.T) {
	w := ask(New(newGateway().settings()).Handler(), "GET", "/api/v1/apps/one/channels?limit=1", "")
	var list []Channel
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) != 1 || w.Header().Get("X-Total-Count") != "2" {
		t.Errorf("limit=1 answered %s with X-Total-Count %q, want 1 of 2", w.Body, w.Header().Get("X-Total-Count"))
	}
}

func TestSourcesThatAreNotThere(t *testing.T) {
	g := newGateway()
	h := New(Settings{Apps: g, Log: zerolog.Nop()}).Handler()
	for path, status := range map[string]int{
		"/metrics": 404, "/api/v1/apps": 200, "/api/v1/apps/one/connections": 404, "/api/v1/apps/one/stage": 404,
		"/api/v1/apps/one/report": 404, "/api/v1/backends": 200, "/api/v1/webhooks": 200, "/api/v1/webhooks/dead": 404,
		"/api/v1/events": 404, "/ready": 200,
	} {
		if w := ask(h, "GET", path, ""); w.Code != status {
			t.Errorf("GET %s = %d %s, want %d", path, w.Code, w.Body, status)
		}
	}
}

func TestSourceErrorsChooseTheStatus(t *testing.T) {
	for err, status := range map[error]int{ErrNotFound: 404, ErrInvalid: 400, ErrRefused: 409, ErrNotYet: 503, io.ErrUnexpectedEOF: 500} {
		g := newGateway()
		g.err = fmt.Errorf("gate presence: %w", err)
		w := ask(New(g.settings()).Handler(), "PUT", "/api/v1/apps/one/stage", `{"stage":"shadow"}`)
		if w.Code != status || !strings.Contains(w.Body.String(), "gate presence") {
			t.Errorf("a source's %v is answered %d %s, want %d", err, w.Code, w.Body, status)
		}
	}
}

func TestWhatReachesTheSources(t *testing.T) {
	g := newGateway()
	h := New(g.settings()).Handler()
	ask(h, "PUT", "/api/v1/apps/one/stage", `{"stage":"canary","channels":"a*","percent":5,"by":"user","why":"w","dry_run":true,"force":true}`)
	if c := g.change; c.Stage != "canary" || c.Channels != "a*" || *c.Percent != 5 || c.By != proxy.ByUser || c.Why != "w" || !c.DryRun || !c.Force {
		t.Errorf("Set got %+v", c)
	}
	ask(h, "POST", "/api/v1/apps/one/rollback", `{"why":"errors"}`)
	if g.why != "errors" {
		t.Errorf("Rollback got %q, want errors", g.why)
	}
	ask(h, "POST", "/api/v1/webhooks/replay", `{"app":"one","type":"member_added","channel":"a*","since":"2026-01-02T03:04:05Z","limit":7}`)
	if f := g.filter; f.App != "one" || f.Type != proxy.WebhookMemberAdded || f.Channel != "a*" || f.Since.Year() != 2026 || f.Limit != 7 {
		t.Errorf("Replay got %+v", f)
	}
}

func TestNotReady(t *testing.T) {
	g := newGateway()
	g.reasons = []string{"draining"}
	w := ask(New(g.settings()).Handler(), "GET", "/ready", "")
	if w.Code != 503 || strings.TrimSpace(w.Body.String()) != `{"ready":false,"reasons":["draining"]}` {
		t.Errorf("GET /ready while draining = %d %s", w.Code, w.Body)
	}
	if w := ask(New(g.settings()).Handler(), "GET", "/live", ""); w.Code != 200 {
		t.Errorf("GET /live while draining = %d, want 200", w.Code)
	}
}

func TestToken(t *testing.T) {
	s := newGateway().settings()
	s.Token = proxy.NewSecret("the-token")
	h := New(s).Handler()
	header := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	elsewhere := func(r *http.Request) { r.Host = "admin.example.com" }
	for name, tc := range map[string]struct {
		path   string
		edit   func(*http.Request)
		status int
	}{
		"without it":                         {"/api/v1/apps", func(*http.Request) {}, 401},
		"with it":                            {"/api/v1/apps", header("Bearer the-token"), 200},
		"with it, scheme in small letters":   {"/api/v1/apps", header("bearer the-token"), 200},
		"with another":                       {"/api/v1/apps", header("Bearer the-tokem"), 401},
		"with its beginning":                 {"/api/v1/apps", header("Bearer the"), 401},
		"with an empty one":                  {"/api/v1/apps", header("Bearer "), 401},
		"as a password":                      {"/api/v1/apps", header("Basic the-token"), 401},
		"in the URL, which ends up in logs":  {"/api/v1/apps?token=the-token", func(*http.Request) {}, 401},
		"metrics need it":                    {"/metrics", func(*http.Request) {}, 401},
		"unknown paths do not say more":      {"/api/v1/nothing", func(*http.Request) {}, 401},
		"the page itself does not":           {"/", func(*http.Request) {}, 200},
		"health does not":                    {"/ready", func(*http.Request) {}, 200},
		"with it, any host name will do":     {"/ready", elsewhere, 200},
		"the live feed needs it":             {"/api/v1/events", func(*http.Request) {}, 401},
		"a change needs it from anywhere":    {"/api/v1/apps/one/stage", func(*http.Request) {}, 401},
		"a user of another app's key is not": {"/api/v1/apps", header("Bearer key-one"), 401},
	} {
		t.Run(name, func(t *testing.T) {
			if w := ask(h, "GET", tc.path, "", tc.edit); w.Code != tc.status {
				t.Errorf("GET %s = %d %s, want %d", tc.path, w.Code, w.Body, tc.status)
			}
		})
	}
}

func TestForeignPagesAreRefused(t *testing.T) {
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(value string) func(*http.Request) { return func(r *http.Request) { r.Host = value } }
	for name, tc := range map[string]struct {
		method string
		edit   []func(*http.Request)
		status int
	}{
		"the command line":                    {"PUT", nil, 200},
		"the dashboard":                       {"PUT", []func(*http.Request){set("Origin", "http://127.0.0.1:6002"), set("Sec-Fetch-Site", "same-origin")}, 200},
		"another site's script":               {"PUT", []func(*http.Request){set("Sec-Fetch-Site", "cross-site")}, 403},
		"another site in an older browser":    {"PUT", []func(*http.Request){set("Origin", "https://evil.example")}, 403},
		"another port of this machine":        {"PUT", []func(*http.Request){set("Origin", "http://127.0.0.1:3000"), set("Sec-Fetch-Site", "same-site")}, 403},
		"a form, which cannot send JSON":      {"PUT", []func(*http.Request){set("Content-Type", "text/plain")}, 415},
		"a name that was rebound":             {"GET", []func(*http.Request){host("evil.example:6002")}, 403},
		"a name that looks like ours":         {"GET", []func(*http.Request){host("localhost.evil.example")}, 403},
		"no host at all":                      {"GET", []func(*http.Request){host("")}, 403},
		"localhost":                           {"GET", []func(*http.Request){host("localhost:6002")}, 200},
		"IPv6":                                {"GET", []func(*http.Request){host("[::1]:6002")}, 200},
		"a tunnel to another port":            {"GET", []func(*http.Request){host("localhost:9999")}, 200},
		"the unspecified address is no name":  {"GET", []func(*http.Request){host("0.0.0.0:6002")}, 403},
		"an address of the network, no token": {"GET", []func(*http.Request){host("10.0.0.5:6002")}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(New(newGateway().settings()).Handler(), tc.method, "/api/v1/apps/one/stage", `{"stage":"shadow"}`, tc.edit...)
			if w.Code != tc.status {
				t.Errorf("%s = %d %s, want %d", tc.method, w.Code, w.Body, tc.status)
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Error("the answer may be read by other origins")
			}
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	for _, path := range []string{"/", "/console.js", "/metrics", "/api/v1/apps", "/nothing"} {
		h := ask(New(newGateway().settings()).Handler(), "GET", path, "").Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q is too wide", path, csp)
		}
	}
}

// TestPageLoadsNothing: the page works without a network and within its policy.
func TestPageLoadsNothing(t *testing.T) {
	for _, name := range []string{"index.html", "console.js", "console.css"} {
		text, err := os.ReadFile("web/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, forbidden := range []string{"https://", "//cdn", "@import", "innerHTML", "eval(", "style=", "<script>", "onclick="} {
			if bytes.Contains(text, []byte(forbidden)) {
				t.Errorf("web/%s contains %s", name, forbidden)
			}
		}
	}
}
