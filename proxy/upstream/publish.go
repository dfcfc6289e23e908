package upstream

import (
	"context"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
)

// publication is what the vendor accepted of one call.
type publication struct {
	app    *proxy.App
	events []engine.Publication
	at     time.Time // when the call came
}

// compare shows what the vendor and this gateway make of a call, and has what
// the vendor accepted copied. It is cheap: the caller waits for it.
func (r *Relay) compare(ctx *fasthttp.RequestCtx, app *proxy.App, p reply, at time.Time) {
	judged := r.settings.API.Judge(ctx)
	action := "http " + judged.Resource
	accepted := p.status >= 200 && p.status < 300
	r.decision(app, proxy.LegVendor, action, p.status, text(p.body, accepted), at)
	r.decision(app, proxy.LegEngine, action, judged.Status, judged.Text, at)
	if !accepted || len(judged.Events) == 0 {
		return
	}
	select {
	case r.copies <- publication{app, judged.Events, at}:
	default:
		r.metrics.lost.WithLabelValues(app.ID).Inc()
		r.unseen(app, judged.Events, at)
	}
}

func text(body []byte, accepted bool) string {
	if accepted {
		return ""
	}
	return strings.TrimSpace(string(body[:min(len(body), 512)]))
}

func (r *Relay) decision(app *proxy.App, leg proxy.Leg, action string, status int, text string, at time.Time) {
	kind := proxy.KindAllowed
	if status >= 300 {
		kind = proxy.KindRefused
	}
	r.offer(proxy.Record{
		Kind: kind, At: at, Leg: leg, Topic: proxy.Topic{App: app.ID}, Code: status, Text: text, Action: action,
	})
}

// unseen says that publishes were not watched.
func (r *Relay) unseen(app *proxy.App, events []engine.Publication, at time.Time) {
	for _, p := range events {
		for _, channel := range p.Channels {
			r.offer(proxy.Record{
				Kind: proxy.KindGap, From: at, At: time.Now(), Leg: proxy.LegVendor, Topic: proxy.Topic{App: app.ID, Channel: channel},
				Text: "publishes came faster than they could be looked at",
			})
		}
	}
}

// copyAccepted shows accepted publishes to watchers, and hands them to the
// engine at stage shadow, in the order in which the vendor accepted them.
func (r *Relay) copyAccepted(ctx context.Context) {
	for {
		select {
		case p := <-r.copies:
			for i := range p.events {
				r.copyEvent(ctx, p.app, p.events[i], p.at)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (r *Relay) copyEvent(ctx context.Context, app *proxy.App, p engine.Publication, at time.Time) {
	position := r.position(app)
	var shadowed []protocol.ChannelName
	for _, channel := range p.Channels {
		topic := proxy.Topic{App: app.ID, Channel: channel}
		r.offer(proxy.Record{Kind: proxy.KindPublished, At: time.Now(), Leg: proxy.LegVendor, Topic: topic, Event: &proxy.Event{
			ID: r.nextID(), Topic: topic, Name: p.Name, Data: p.Data, Except: p.Except,
			Publisher: proxy.ByServer, Origin: proxy.LegVendor, By: p.By, At: at,
		}})
		if position.Shadowed(channel) {
			shadowed = append(shadowed, channel)
		}
	}
	if len(shadowed) == 0 || r.settings.Shadow == nil {
		return
	}
	p.Channels, p.Origin = shadowed, proxy.LegVendor
	if p.Except != "" {
		p.Except = r.engineID(p.Except)
	}
	if err := r.settings.Shadow.Publish(ctx, app, p); err != nil {
		r.unseen(app, []engine.Publication{p}, at)
	}
}
