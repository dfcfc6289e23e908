package front

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/valyala/fasthttp"
)

// route sends a request to the part that its path names.
func (f *Front) route(ctx *fasthttp.RequestCtx) {
	path, ok := strings.CutPrefix(string(ctx.Path()), f.settings.Prefix)
	upgrade := asksForWebSocket(ctx)
	switch area, rest := split(path); {
	case ok && upgrade && area == "app":
		f.settings.WebSocket.Serve(ctx, appKey(rest))
	case upgrade:
		f.settings.WebSocket.ServeUnknown(ctx)
	case !ok:
		notFound(ctx)
	case (area == "apps" || area == "users") && f.settings.API != nil:
		f.settings.API(ctx)
	case area == "client-config" && f.settings.ClientConfig != nil:
		f.settings.ClientConfig(ctx, appKey(rest))
	case area == "pusher" && f.settings.Stream != nil:
		f.fallback(ctx, rest)
	case area == "timeline":
		f.timeline(ctx, rest)
	default:
		notFound(ctx)
	}
}

func asksForWebSocket(ctx *fasthttp.RequestCtx) bool {
	return ctx.Request.Header.ConnectionUpgrade() &&
		bytes.Contains(bytes.ToLower(ctx.Request.Header.Peek("Upgrade")), []byte("websocket"))
}

// split cuts "/area/rest".
func split(path string) (area, rest string) {
	area, rest, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return area, rest
}

// appKey returns the key of an app's path, or nothing when more follows it.
func appKey(rest string) string {
	if key, more, _ := strings.Cut(rest, "/"); more == "" {
		return key
	}
	return ""
}

// fallback routes pusher/app/{key}/rest.
func (f *Front) fallback(ctx *fasthttp.RequestCtx, path string) {
	area, rest := split(path)
	key, rest, ok := strings.Cut(rest, "/")
	if area != "app" || !ok {
		notFound(ctx)
		return
	}
	f.settings.Stream.Serve(ctx, key, rest)
}

// timeline answers the statistics that old clients send, so that they neither
// fail nor try again (pusher-js: timeline). Nothing of it is kept.
func (f *Front) timeline(ctx *fasthttp.RequestCtx, path string) {
	kind, rest, ok := strings.Cut(strings.TrimPrefix(path, "v2/"), "/")
	receiver, _, _ := strings.Cut(rest, "/")
	switch {
	case !ok || !strings.HasPrefix(path, "v2/") || !digits(receiver):
		notFound(ctx)
	case kind == "jsonp":
		ctx.SetContentType("application/javascript; charset=utf-8")
		ctx.SetBodyString("Pusher.ScriptReceivers[" + receiver + "](null,{});")
	case kind == "xhr":
		ctx.Response.Header.Set("Access-Control-Allow-Origin", "*")
		ctx.SetContentType("application/json")
		ctx.SetBodyString("{}")
	default:
		notFound(ctx)
	}
}

func digits(s string) bool {
	return s != "" && len(s) < 20 && strings.Trim(s, "0123456789") == ""
}

func notFound(ctx *fasthttp.RequestCtx) { plain(ctx, fasthttp.StatusNotFound, "Not found") }

// plain answers the way the vendor's API does: one line of text.
func plain(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(text + "\n")
}

// refuse answers what is no acceptable HTTP request.
func (f *Front) refuse(ctx *fasthttp.RequestCtx, err error) {
	var timeout net.Error
	var header *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &header):
		plain(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge, "Request header too large: at most 8 KiB")
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		plain(ctx, fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("Request body too large: at most %d bytes", f.settings.MaxBodyBytes))
	case errors.As(err, &timeout) && timeout.Timeout():
		plain(ctx, fasthttp.StatusRequestTimeout, "Request timed out")
	default:
		plain(ctx, fasthttp.StatusBadRequest, "Malformed request")
	}
	ctx.SetConnectionClose()
}
