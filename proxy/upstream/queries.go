package upstream

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

// serveBridged answers a call for an app that has clients on both sides. What
// is published is first the side's that serves it. What is asked of channels
// is answered by both sides together, and connections are terminated on both.
func (r *Relay) serveBridged(ctx *fasthttp.RequestCtx, app *proxy.App) {
	path := strings.Split(strings.TrimPrefix(string(ctx.Path()), r.settings.PathPrefix), "/")
	switch position := r.position(app); {
	case r.serveFirst(ctx, app, position):
	case len(path) >= 4 && path[3] == "channels" && !ctx.IsPost():
		r.askBoth(ctx, app, position, path[4:])
	case path[len(path)-1] == "terminate_connections":
		r.settings.API.Handler(ctx)
		r.terminateThere(ctx, app)
	default:
		r.settings.API.Handler(ctx)
	}
}

// askBoth answers a query about channels: of all, of one, or of its users. A
// side that fails is left out, unless it is the one that serves the channel.
func (r *Relay) askBoth(ctx *fasthttp.RequestCtx, app *proxy.App, position *route.Position, of []string) {
	theirs := len(of) > 0 && position.Serves(protocol.ChannelName(of[0]), "") == proxy.LegVendor
	r.settings.API.Handler(ctx)
	hereOK := ctx.Response.StatusCode() == http.StatusOK
	if !hereOK && !theirs {
		return
	}
	there, err := r.forward(ctx, app)
	thereOK := err == nil && there.status == http.StatusOK && protocol.ValidJSON(there.body)
	switch {
	case theirs && (!thereOK || !hereOK):
		ctx.Response.Reset()
		if err != nil {
			r.unanswered(ctx, app, err)
			return
		}
		there.writeTo(ctx)
	case !thereOK:
		r.settings.Log.Warn().Err(err).Int("status", there.status).Str("app", app.ID).Msg("the upstream does not answer a query: the answer is of this side alone")
	case ctx.IsHead():
	case len(of) == 0:
		ctx.SetBody(union(ctx.Response.Body(), there.body, position, func(name protocol.ChannelName) own { return r.own(app.ID, name) }))
	case len(of) == 1:
		ctx.SetBody(merged(ctx.Response.Body(), there.body, theirs, r.own(app.ID, protocol.ChannelName(of[0]))))
	case len(of) == 2 && of[1] == "users":
		ctx.SetBody(everybody(ctx.Response.Body(), there.body))
	}
}

// own is how many subscriptions to a channel the gateway itself has: ghosts of
// the vendor's users here, and its tap, or ghosts of the engine's, there.
type own struct{ here, there int }

func (r *Relay) own(app string, channel protocol.ChannelName) (o own) {
	b := r.bridgeOf(app)
	switch {
	case b == nil:
	case channel.Kind() == protocol.Presence:
		o = b.people.ghosts(channel)
	default:
		if _, on := b.tap.at(channel); on {
			o.there = 1
		}
	}
	return o
}

// union merges two lists of channels.
func union(here, there []byte, position *route.Position, ours func(protocol.ChannelName) own) []byte {
	all := channelsOf(here)
	for name, info := range channelsOf(there) {
		if known, both := all[name]; both {
			channel := protocol.ChannelName(name)
			info = merged(known, info, position.Serves(channel, "") == proxy.LegVendor, ours(channel))
		}
		all[name] = info
	}
	out := []byte(`{"channels":{`)
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(protocol.AppendString(out, name), ':'), all[name]...)
	}
	return append(out, "}}"...)
}

// merged merges the attributes of a channel. It is occupied if it is so on
// either side, and has the subscriptions of both, without the gateway's own.
// Each side that has members shows those of the other, so the larger number
// of users is that of all. What a cache channel keeps is what the side that
// serves it says.
func merged(here, there []byte, theirs bool, ours own) []byte {
	h, t := gjson.ParseBytes(here), gjson.ParseBytes(there)
	out := []byte{'{'}
	add := func(key string, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(protocol.AppendString(out, key), ':'), value...)
	}
	either := func(key string) bool { return h.Get(key).Exists() || t.Get(key).Exists() }
	count := t.Get("subscription_count")
	if either("occupied") {
		alone := count.Exists() && int(count.Int()) <= ours.there // nobody is there but the gateway
		add("occupied", strconv.AppendBool(nil, h.Get("occupied").Bool() || t.Get("occupied").Bool() && !alone))
	}
	if either("user_count") {
		add("user_count", strconv.AppendInt(nil, max(h.Get("user_count").Int(), t.Get("user_count").Int()), 10))
	}
	if either("subscription_count") {
		sum := max(int(h.Get("subscription_count").Int())-ours.here, 0) + max(int(count.Int())-ours.there, 0)
		add("subscription_count", strconv.AppendInt(nil, int64(sum), 10))
	}
	kept := h.Get("cache")
	if theirs && t.Get("cache").Exists() {
		kept = t.Get("cache")
	}
	if kept.Exists() {
		add("cache", []byte(kept.Raw))
	}
	return append(out, '}')
}

// everybody merges two lists of users: those of here, and who is only there.
func everybody(here, there []byte) []byte {
	out := []byte(`{"users":[`)
	seen := make(map[string]bool)
	for _, list := range [][]byte{here, there} {
		for _, user := range gjson.GetBytes(list, "users").Array() {
			id := user.Get("id").String()
			if seen[id] {
				continue
			}
			if len(seen) > 0 {
				out = append(out, ',')
			}
			seen[id] = true
			out = append(protocol.AppendString(append(out, `{"id":`...), id), '}')
		}
	}
	return append(out, "]}"...)
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
