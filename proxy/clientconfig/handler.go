package clientconfig

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
)

// maxAge is how long an answer may be cached: a change reaches everybody who
// starts after it.
const maxAge = "public, max-age=60"

// Apps finds apps. Implementation: proxy/apps.Registry.
type Apps interface {
	ByKey(key string) (*proxy.App, proxy.Credential, bool)
}

// Options are what pusher-js takes beside the key, under the names that it
// gives them; other SDKs take some of them under other names.
type Options struct {
	Key     string `json:"key"`
	Cluster string `json:"cluster"` // mandatory there, and without effect beside hosts
	WSHost  string `json:"wsHost"`
	WSPort  int    `json:"wsPort"`
	WSSPort int    `json:"wssPort"`
	WSPath  string `json:"wsPath,omitempty"`
	// Of the fallback transports, which otherwise go to the vendor.
	HTTPHost  string `json:"httpHost"`
	HTTPPort  int    `json:"httpPort"`
	HTTPSPort int    `json:"httpsPort"`
	HTTPPath  string `json:"httpPath,omitempty"`
	ForceTLS  bool   `json:"forceTLS"`
	// EnableStats off keeps clients from reporting to the vendor.
	EnableStats bool `json:"enableStats"`
}

// Handler returns the answers to GET …/client-config/KEY. prefix is the path
// in front of everything else.
func Handler(apps Apps, prefix string) func(ctx *fasthttp.RequestCtx, key string) {
	return func(ctx *fasthttp.RequestCtx, key string) {
		app, _, ok := apps.ByKey(key)
		if !ok || !app.Enabled {
			answer(ctx, http.StatusNotFound, "text/plain; charset=utf-8", []byte("No app has this key\n"))
			return
		}
		if !ctx.IsGet() && !ctx.IsHead() {
			answer(ctx, http.StatusMethodNotAllowed, "text/plain; charset=utf-8", []byte("Use GET\n"))
			return
		}
		allowOrigin(ctx, app)
		body, err := json.Marshal(optionsFor(ctx, app, key, prefix))
		if err != nil {
			answer(ctx, http.StatusInternalServerError, "text/plain; charset=utf-8", []byte("Internal error\n"))
			return
		}
		ctx.Response.Header.Set("Cache-Control", maxAge)
		answer(ctx, http.StatusOK, "application/json", append(body, '\n'))
	}
}

func answer(ctx *fasthttp.RequestCtx, status int, kind string, body []byte) {
	ctx.SetStatusCode(status)
	ctx.SetContentType(kind)
	ctx.SetBody(body)
}

// allowOrigin lets the pages read the answer that may connect.
func allowOrigin(ctx *fasthttp.RequestCtx, app *proxy.App) {
	if len(app.Origins) == 0 {
		ctx.Response.Header.Set("Access-Control-Allow-Origin", "*")
		return
	}
	ctx.Response.Header.Set("Vary", "Origin")
	origin := string(ctx.Request.Header.Peek("Origin"))
	for _, pattern := range app.Origins {
		if origin != "" && proxy.MatchPattern(strings.ToLower(pattern), strings.ToLower(origin)) {
			ctx.Response.Header.Set("Access-Control-Allow-Origin", origin)
			return
		}
	}
}

// optionsFor returns the options for whoever reached the gateway by this
// request's host: by the same way it will be reached again.
func optionsFor(ctx *fasthttp.RequestCtx, app *proxy.App, key, prefix string) Options {
	secure := ctx.IsTLS() || string(ctx.Request.Header.Peek("X-Forwarded-Proto")) == "https"
	host, plain, encrypted := string(ctx.Host()), 80, 443
	if name, port, err := net.SplitHostPort(host); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			host, plain, encrypted = name, int(n), int(n)
		}
	}
	o := Options{
		Key: key, Cluster: clusterOf(app), WSHost: host, WSPort: plain, WSSPort: encrypted, WSPath: prefix,
		HTTPHost: host, HTTPPort: plain, HTTPSPort: encrypted, ForceTLS: secure || app.TLSOnly,
	}
	if prefix != "" {
		o.HTTPPath = prefix + "/pusher"
	}
	return o
}

// clusterOf returns the vendor's cluster that the app is leaving: what a page
// falls back to that cannot reach the gateway. mt1 is the vendor's default.
func clusterOf(app *proxy.App) string {
	if app.Upstream != nil {
		if u, err := url.Parse(app.Upstream.WebSocket); err == nil {
			name, ours := strings.CutPrefix(u.Hostname(), "ws-")
			if cluster, vendors := strings.CutSuffix(name, ".pusher.com"); ours && vendors {
				return cluster
			}
		}
	}
	return "mt1"
}
