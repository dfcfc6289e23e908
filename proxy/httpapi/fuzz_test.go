package httpapi_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/httpapi"
)

func fuzzed(f *testing.F) *httpapi.API {
	registry, err := apps.New([]*proxy.App{testApp()})
	if err != nil {
		f.Fatal(err)
	}
	return httpapi.New(httpapi.Settings{Apps: registry, Engine: down{}, Now: func() time.Time { return time.Unix(frozen, 0) }, Log: zerolog.Nop()})
}

// wellFormed holds for every answer there is.
func wellFormed(t *testing.T, got answer) {
	statuses := []int{200, 202, 400, 401, 403, 404, 405, 413, 503}
	if !slices.Contains(statuses, got.status) {
		t.Errorf("status %d", got.status)
	}
	if got.status >= 400 && (strings.Count(got.body, "\n") != 1 || !strings.HasSuffix(got.body, "\n")) {
		t.Errorf("%d with %q", got.status, got.body)
	}
	if got.status == 200 && !gjson.Valid(got.body) {
		t.Errorf("200 with %q", got.body)
	}
}

// FuzzEvents sends any body to /events, correctly signed. The engine behind
// fails, so 503 means that the event was found good.
func FuzzEvents(f *testing.F) {
	for _, body := range []string{vectorBody, `{"name":"e","channel":"c","data":{"a":1},"socket_id":"1.2","info":"user_count"}`, `{}`, `[`} {
		f.Add(body)
	}
	fuzzBody(f, eventsPath)
}

// FuzzBatch does the same to /batch_events.
func FuzzBatch(f *testing.F) {
	for _, body := range []string{batchOf(vectorEvent, vectorEvent), `{"batch":[]}`, `{"batch":{"x":[]}}`, batchOf("1")} {
		f.Add(body)
	}
	fuzzBody(f, batchPath)
}

func fuzzBody(f *testing.F, path string) {
	api := fuzzed(f)
	f.Fuzz(func(t *testing.T, body string) {
		got := handle(api, "POST", sign("POST", path, "", body), body)
		wellFormed(t, got)
		if got.status == 503 && !gjson.Valid(body) {
			t.Errorf("accepted %q", body)
		}
	})
}

// FuzzRequest sends any path and query, first as it is and then signed.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][3]string{
		{"POST", "/apps/3/events", vectorQuery + vectorSign}, {"GET", "/apps/3/channels/presence-a%3Db/users", "info=%2C&x[]=1"},
		{"GET", "/users/%zz/terminate_connections", "auth_key=" + testKey}, {"HEAD", "http://x/apps/3/channels", "&&=&a"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	api := fuzzed(f)
	f.Fuzz(func(t *testing.T, method, path, query string) {
		if got := handle(api, method, path+"?"+query, ""); got.status == 503 && !strings.Contains(query, "auth_signature") {
			t.Errorf("served unsigned: %s %s?%s", method, path, query)
		}
		wellFormed(t, handle(api, method, sign(method, path, query, ""), ""))
	})
}
