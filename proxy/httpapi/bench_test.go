package httpapi_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/httpapi"
	"github.com/offramp/offramp/proxy/protocol"
)

// accepting is an engine that takes everything at once, so that a benchmark
// measures what the API itself costs.
type accepting struct{ *engine.Engine }

func (accepting) Publish(context.Context, *proxy.App, engine.Publication) error { return nil }

func BenchmarkPublish(b *testing.B) {
	event := func(i int) string {
		data := strconv.Quote(`{"n":` + strconv.Itoa(i) + `,"text":"` + strings.Repeat("x", 100) + `"}`)
		return fmt.Sprintf(`{"name":"my-event","data":%s,"channel":"channel-%d"}`, data, i)
	}
	var batch []string
	for i := range 10 {
		batch = append(batch, event(i))
	}
	b.Run("events", func(b *testing.B) {
		benchmark(b, "/apps/3/events", `{"name":"my-event","data":`+strconv.Quote(`{"text":"`+strings.Repeat("x", 118)+`"}`)+`,"channels":["channel-1"]}`)
	})
	b.Run("batch=10", func(b *testing.B) {
		benchmark(b, "/apps/3/batch_events", `{"batch":[`+strings.Join(batch, ",")+`]}`)
	})
}

func benchmark(b *testing.B, path, body string) {
	registry, err := apps.New([]*proxy.App{testApp()})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Unix(1353088179, 0)
	api := httpapi.New(httpapi.Settings{Apps: registry, Engine: accepting{}, Now: func() time.Time { return now }, Log: zerolog.Nop()})
	var req fasthttp.Request
	req.Header.SetMethod("POST")
	query := "auth_key=" + testKey + "&auth_timestamp=1353088179&auth_version=1.0&body_md5=" + protocol.BodyMD5([]byte(body))
	signature := protocol.Sign(testSecret, protocol.RequestString("POST", path, protocol.ParseQuery(query)))
	req.SetRequestURI(path + "?" + query + "&auth_signature=" + signature)
	req.SetBodyString(body)
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		api.Handler(&ctx)
	}
	if status := ctx.Response.StatusCode(); status != 200 {
		b.Fatalf("status %d: %s", status, ctx.Response.Body())
	}
}
