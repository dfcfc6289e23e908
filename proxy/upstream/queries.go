package upstream

import (
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// serveBridged answers a call for an app that has clients on both sides. What
// is published is first the side's that serves it. What is asked is
// answered by the side that serves the channel; the list of channels is the
// union, and connections are terminated on both sides.
func (r *Relay) serveBridged(ctx *fasthttp.RequestCtx, app *proxy.App) {
	path := strings.Split(strings.TrimPrefix(string(ctx.Path()), r.settings.PathPrefix), "/")
	switch position := r.position(app); {
	case r.serveFirst(ctx, app, position):
	case len(path) >= 5 && path[3] == "channels" && !ctx.IsPost() && position.Serves(protocol.ChannelName(path[4]), "") == proxy.LegVendor:
		r.relayCall(ctx, app)
	case len(path) == 4 && path[3] == "channels" && !ctx.IsPost():
		r.settings.API.Handler(ctx)
		r.addChannels(ctx, app)
	case path[len(path)-1] == "terminate_connections":
		r.settings.API.Handler(ctx)
		r.terminateThere(ctx, app)
	default:
		r.settings.API.Handler(ctx)
	}
}

// addChannels adds the vendor's channels to the engine's answer. Without an
// answer of the vendor's it stays as it is.
func (r *Relay) addChannels(ctx *fasthttp.RequestCtx, app *proxy.App) {
	if ctx.Response.StatusCode() != http.StatusOK || ctx.IsHead() {
		return
	}
	p, err := r.forward(ctx, app)
	if err != nil || p.status != http.StatusOK || !protocol.ValidJSON(p.body) {
		r.settings.Log.Warn().Err(err).Int("status", p.status).Str("app", app.ID).Msg("channels of the upstream are not known: the list has only those here")
		return
	}
	position := r.position(app)
	ctx.SetBody(union(ctx.Response.Body(), p.body, func(name string) bool {
		return position.Serves(protocol.ChannelName(name), "") == proxy.LegVendor
	}))
}

// union merges two lists of channels. On a channel of both, what the side
// that serves it says holds.
func union(here, there []byte, theirs func(name string) bool) []byte {
	all := channelsOf(here)
	for name, info := range channelsOf(there) {
		if _, both := all[name]; !both || theirs(name) {
			all[name] = info
		}
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	out := []byte(`{"channels":{`)
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(protocol.AppendString(out, name), ':'), all[name]...)
	}
	return append(out, "}}"...)
}

// channelsOf returns the raw attributes of a list's channels.
func channelsOf(body []byte) map[string][]byte {
	all := make(map[string][]byte)
	for key, value := range protocol.Fields(body) {
		if string(key) != "channels" {
			continue
		}
		for name, info := range protocol.Fields(value) {
			all[string(name)] = info
		}
	}
	return all
}

// terminateThere terminates a user's connections at the vendor as well. What
// the caller is told is what was done here.
func (r *Relay) terminateThere(ctx *fasthttp.RequestCtx, app *proxy.App) {
	if ctx.Response.StatusCode() != http.StatusOK {
		return
	}
	p, err := r.forward(ctx, app)
	if err != nil || p.status >= 300 {
		r.settings.Log.Warn().Err(err).Int("status", p.status).Str("app", app.ID).Msg("the user's connections at the upstream were not terminated")
	}
}
