package clientconfig_test

import (
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/clientconfig"
)

type apps map[string]*proxy.App

func (a apps) ByKey(key string) (*proxy.App, proxy.Credential, bool) {
	app, ok := a[key]
	return app, proxy.Credential{}, ok
}

func TestHandler(t *testing.T) {
	known := apps{
		"k":      {Enabled: true, Upstream: &proxy.Upstream{WebSocket: "wss://ws-eu.pusher.com"}},
		"strict": {Enabled: true, TLSOnly: true, Origins: []string{"https://*.example.com"}},
		"off":    {},
	}
	const local = `{"key":"k","cluster":"eu","wsHost":"127.0.0.1","wsPort":6001,"wssPort":6001,"httpHost":"127.0.0.1","httpPort":6001,"httpsPort":6001,"forceTLS":false,"enableStats":false}` + "\n"
	for name, tc := range map[string]struct {
		key, method, host, prefix string
		header                    map[string]string
		status                    int
		want, origin              string
	}{
		"a host with a port": {key: "k", host: "127.0.0.1:6001", status: 200, want: local, origin: "*"},
		"below a prefix, behind a proxy with TLS": {
			key: "k", host: "ws.example.com", prefix: "/rt", header: map[string]string{"X-Forwarded-Proto": "https"}, status: 200, origin: "*",
			want: `{"key":"k","cluster":"eu","wsHost":"ws.example.com","wsPort":80,"wssPort":443,"wsPath":"/rt","httpHost":"ws.example.com","httpPort":80,"httpsPort":443,"httpPath":"/rt/pusher","forceTLS":true,"enableStats":false}` + "\n",
		},
		"a page that may connect": {
			key: "strict", host: "ws.example.com", header: map[string]string{"Origin": "https://app.example.com"}, status: 200, origin: "https://app.example.com",
			want: `{"key":"strict","cluster":"mt1","wsHost":"ws.example.com","wsPort":80,"wssPort":443,"httpHost":"ws.example.com","httpPort":80,"httpsPort":443,"forceTLS":true,"enableStats":false}` + "\n",
		},
		"a page that may not": {
			key: "strict", host: "ws.example.com", header: map[string]string{"Origin": "https://evil.example"}, status: 200,
			want: `{"key":"strict","cluster":"mt1","wsHost":"ws.example.com","wsPort":80,"wssPort":443,"httpHost":"ws.example.com","httpPort":80,"httpsPort":443,"forceTLS":true,"enableStats":false}` + "\n",
		},
		"an unknown key": {key: "x", host: "h", status: 404, want: "No app has this key\n"},
		"a disabled app": {key: "off", host: "h", status: 404, want: "No app has this key\n"},
		"another method": {key: "k", method: "POST", host: "h", status: 405, want: "Use GET\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var ctx fasthttp.RequestCtx
			ctx.Request.Header.SetMethod("GET")
			if tc.method != "" {
				ctx.Request.Header.SetMethod(tc.method)
			}
			ctx.Request.SetHost(tc.host)
			for k, v := range tc.header {
				ctx.Request.Header.Set(k, v)
			}
			clientconfig.Handler(known, tc.prefix)(&ctx, tc.key)
			if got := string(ctx.Response.Body()); ctx.Response.StatusCode() != tc.status || got != tc.want {
				t.Errorf("answered %d %s, want %d %s", ctx.Response.StatusCode(), got, tc.status, tc.want)
			}
			if got := string(ctx.Response.Header.Peek("Access-Control-Allow-Origin")); got != tc.origin {
				t.Errorf("Access-Control-Allow-Origin %q, want %q", got, tc.origin)
			}
			if got := string(ctx.Response.Header.Peek("Cache-Control")); tc.status == 200 && got != "public, max-age=60" {
				t.Errorf("Cache-Control %q", got)
			}
		})
	}
}
