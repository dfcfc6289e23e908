package upstream

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/httpapi"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

// A publish on channels that the vendor serves is the vendor's to accept: it
// is sent there first, the vendor's answer is the caller's answer, and what
// was accepted is then published here as well, before the caller has the
// answer. So nothing that was accepted is lost with this process. Where the
// engine serves all of a publish's channels it answers, and the bridge brings
// the event over afterwards.

// vendorsFirst reports whether a publish is for the vendor to accept.
func vendorsFirst(p *route.Position, events []engine.Publication) bool {
	return slices.ContainsFunc(events, func(ev engine.Publication) bool {
		return slices.ContainsFunc(ev.Channels, func(channel protocol.ChannelName) bool {
			return p.Serves(channel, "") == proxy.LegVendor
		})
	})
}

// serveFirst answers a publish with the vendor's answer, unless the engine
// serves all of its channels; then it does nothing and returns false.
func (r *Relay) serveFirst(ctx *fasthttp.RequestCtx, app *proxy.App, position *route.Position) bool {
	if !ctx.IsPost() || !position.Split() {
		return false
	}
	judged := r.settings.API.Judge(ctx)
	if len(judged.Events) == 0 || !vendorsFirst(position, judged.Events) {
		return false
	}
	r.settings.Feed.caughtUp(app.ID)
	at := time.Now()
	p, err := r.offerVendor(ctx, app, judged)
	if err != nil {
		if !undone(0, err) {
			r.unseen(app, judged.Events, at) // it may have been accepted
		}
		r.unanswered(ctx, app, err)
		return true
	}
	accepted := p.status >= 200 && p.status < 300
	r.decision(app, proxy.LegVendor, "http "+judged.Resource, p.status, text(p.body, accepted), at)
	r.decision(app, proxy.LegEngine, "http "+judged.Resource, judged.Status, judged.Text, at)
	if accepted {
		r.publishHere(app, judged.Events, at)
	}
	p.writeTo(ctx)
	return true
}

// offerVendor makes the caller's call at the vendor. Where the bridge listens,
// the vendor is to leave the listener out, and the socket that is excluded is
// named as the vendor knows it.
func (r *Relay) offerVendor(ctx *fasthttp.RequestCtx, app *proxy.App, judged httpapi.Judgement) (reply, error) {
	b := r.awaitBridge(app)
	except, returning := make([]protocol.SocketID, len(judged.Events)), []*proxy.Event(nil)
	for i, ev := range judged.Events {
		if b == nil {
			except[i] = r.vendorID(ev.Except)
			continue
		}
		var expected []*proxy.Event
		except[i], expected = b.excludeAll(app.ID, ev)
		returning = append(returning, expected...)
	}
	p, err := r.callAgain(ctx, app, except)
	if b != nil {
		b.returned(returning, p.status, err)
	}
	return p, err
}

// callAgain makes a caller's call with other sockets excluded. Calls of the
// vendor's earlier API name the socket in what was signed and go as they are.
func (r *Relay) callAgain(ctx *fasthttp.RequestCtx, app *proxy.App, except []protocol.SocketID) (reply, error) {
	path := strings.TrimPrefix(string(ctx.Path()), r.settings.PathPrefix)
	body := protocol.Trim(ctx.Request.Body())
	switch {
	case path == "/apps/"+app.ID+"/events" && len(body) > 0 && !ctx.QueryArgs().Has("name"):
		body = excluding(nil, body, except[0])
	case path == "/apps/"+app.ID+"/batch_events":
		body = excludingEach(body, except)
	default:
		return r.forward(ctx, app)
	}
	// Not the request's own context: see roundTrip.
	return r.callOnward(context.Background(), app, viaOf(ctx), http.MethodPost, path, body)
}

// excluding appends an event of the API with another socket excluded.
func excluding(dst, object []byte, except protocol.SocketID) []byte {
	dst = append(dst, '{')
	for key, value := range protocol.Fields(object) {
		if string(key) != "socket_id" {
			dst = append(append(protocol.AppendString(dst, string(key)), ':'), value...)
			dst = append(dst, ',')
		}
	}
	if except != "" {
		return append(protocol.AppendString(append(dst, `"socket_id":`...), except), '}')
	}
	dst[len(dst)-1] = '}' // in the last comma's place: an event has a name
	return dst
}

func excludingEach(body []byte, except []protocol.SocketID) []byte {
	out := []byte(`{"batch":[`)
	for key, value := range protocol.Fields(body) {
		if string(key) != "batch" {
			continue
		}
		i := 0
		for object := range protocol.Elements(value) {
			if i > 0 {
				out = append(out, ',')
			}
			out = excluding(out, object, except[i])
			i++
		}
	}
	return append(out, "]}"...)
}

// vendorID returns the vendor's id of a client of the gateway; a foreign id
// stays as it is.
func (r *Relay) vendorID(id protocol.SocketID) protocol.SocketID {
	if c := r.splitOf(id); c != nil && c.vendorSocket() != "" {
		return c.vendorSocket()
	}
	return id
}

// excludeAll returns the socket that the vendor is to leave out of a publish,
// and the events that will return in spite of it: one call can name one
// socket, and channels may be listened to by several.
func (b *bridge) excludeAll(app string, p engine.Publication) (id protocol.SocketID, returning []*proxy.Event) {
	for i, channel := range p.Channels {
		ev := &proxy.Event{Topic: proxy.Topic{App: app, Channel: channel}, Name: p.Name, Data: p.Data, Except: p.Except}
		if i == 0 {
			id = b.excluded(ev)
		}
		if b.expect(ev, id) {
			returning = append(returning, ev)
		}
	}
	return id, returning
}

// publishHere publishes what the vendor has accepted. It has come from there,
// so the bridge does not bring it over.
func (r *Relay) publishHere(app *proxy.App, events []engine.Publication, at time.Time) {
	for _, p := range events {
		p.Origin = proxy.LegVendor
		if err := r.settings.Engine.Publish(context.Background(), app, p); err != nil {
			r.settings.Log.Error().Err(err).Str("app", app.ID).Msg("an event that the upstream accepted did not reach the clients here")
			r.metrics.lost.WithLabelValues(app.ID).Inc()
			r.unseen(app, []engine.Publication{p}, at)
		}
	}
}
