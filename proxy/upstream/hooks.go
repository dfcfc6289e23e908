package upstream

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Hooks takes in what the vendor's own webhooks tell. Implementation:
// proxy/webhooks.Outbox, which says what each call means.
type Hooks interface {
	Pass(ctx context.Context, app *proxy.App, header http.Header, body []byte, events []proxy.Record) (status int, err error)
	Merge(ctx context.Context, events []proxy.Record) error
	Adopt(ctx context.Context, app string, asked time.Time, occupied []protocol.ChannelName, members map[protocol.ChannelName][]string) error
}

// Bounds of the vendor's webhooks. The vendor puts at most 20 events into one,
// other servers of its protocol as many as they have.
const (
	maxHookBytes  = 1 << 20
	maxHookEvents = 1000
	maxHooks      = 64              // at the same time
	hookTimeout   = 5 * time.Second // the vendor waits for four
	// hookAge is how old a webhook may be, or ahead of our clock: the vendor
	// tries for five minutes (vendor documentation: webhooks).
	hookAge = 15 * time.Minute
)

// hookPath reports whether a path of the API is that of the vendor's webhooks:
// /apps/ID/webhooks.
func (r *Relay) hookPath(ctx *fasthttp.RequestCtx, app *proxy.App) bool {
	return string(ctx.Path()) == r.settings.PathPrefix+"/apps/"+app.ID+"/webhooks"
}

// HookAdvice says what an app's receivers would be told twice at a stage, and
// what to do about it; empty: nothing.
func (r *Relay) HookAdvice(app *proxy.App, at proxy.Stage) string {
	if app.Upstream == nil || len(app.Webhooks) == 0 || at.Relayed() || at == proxy.StageExited || !r.HookHeard(app.ID).IsZero() {
		return ""
	}
	var types []string
	for _, t := range proxy.WebhookTypes() {
		if slices.ContainsFunc(app.Webhooks, func(hook proxy.Webhook) bool { return slices.Contains(hook.Events, t) }) {
			types = append(types, string(t))
		}
	}
	return fmt.Sprintf("none of the upstream's has come to this gateway since it started. While it sends them to your receivers itself, they may be "+
		"told twice, or too early, of what both sides share (%s): set its webhook URL to %s/apps/%s/webhooks on this gateway",
		strings.Join(types, ", "), r.settings.PathPrefix, app.ID)
}

// serveHook takes in a webhook of the vendor's. While the app is relayed it is
// passed on as it is; from mirror on it is merged with what happens here, and
// the gateway's own webhooks tell of both, until the last client has come back
// to the vendor. After the exit nobody is told.
func (r *Relay) serveHook(ctx *fasthttp.RequestCtx, app *proxy.App) {
	select {
	case r.hooking <- struct{}{}:
		defer func() { <-r.hooking }()
	default:
		r.answerHook(ctx, app, http.StatusServiceUnavailable, fmt.Sprintf("At most %d webhooks at the same time, please try again", maxHooks))
		return
	}
	events, refused := r.readHook(ctx, app, time.Now())
	if refused != nil {
		r.answerHook(ctx, app, refused.status, refused.text)
		return
	}
	for _, ev := range events {
		r.offer(hookRecord(ev))
	}
	r.hear(app.ID)
	taking, cancel := context.WithTimeout(context.Background(), hookTimeout)
	defer cancel()
	status, err := http.StatusOK, error(nil)
	switch position := r.position(app); {
	case position.Relayed() && !r.parting(app.ID, time.Now()):
		status, err = r.settings.Hooks.Pass(taking, app, hookHeader(ctx), ctx.Request.Body(), events)
	case position.Relayed(), position.Bridged():
		err = r.settings.Hooks.Merge(taking, r.corrected(app, events))
	}
	if err != nil {
		r.settings.Log.Warn().Err(err).Str("app", app.ID).Msg("webhook of the upstream not taken in: it will try again")
		r.answerHook(ctx, app, http.StatusServiceUnavailable, "Not taken in, please try again")
		return
	}
	r.answerHook(ctx, app, status, "")
}

func (r *Relay) answerHook(ctx *fasthttp.RequestCtx, app *proxy.App, status int, text string) {
	r.metrics.hooks.WithLabelValues(app.ID, fmt.Sprint(status)).Inc()
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(text + "\n")
}

// hookRefusal says why a webhook is not the vendor's, or not one.
type hookRefusal struct {
	status int
	text   string
}

// readHook checks a webhook's signature and returns its events, as records of
// the vendor's (see Hooks.Merge).
func (r *Relay) readHook(ctx *fasthttp.RequestCtx, app *proxy.App, now time.Time) ([]proxy.Record, *hookRefusal) {
	body := ctx.Request.Body()
	credential, known := app.Credential(string(ctx.Request.Header.Peek("X-Pusher-Key")))
	switch {
	case !ctx.IsPost():
		return nil, &hookRefusal{http.StatusMethodNotAllowed, "Webhooks are sent with POST"}
	case len(body) > maxHookBytes:
		return nil, &hookRefusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("Webhook too large: at most %d bytes", maxHookBytes)}
	case !known:
		return nil, &hookRefusal{http.StatusUnauthorized, "X-Pusher-Key is no key of this app"}
	case !protocol.Verify(credential.Secret.Reveal(), body, string(ctx.Request.Header.Peek("X-Pusher-Signature"))):
		return nil, &hookRefusal{http.StatusUnauthorized, "X-Pusher-Signature is not that of the body with the key's secret"}
	case !protocol.ValidJSON(body):
		return nil, &hookRefusal{http.StatusBadRequest, "The body is not JSON"}
	}
	said := time.UnixMilli(gjson.GetBytes(body, "time_ms").Int())
	if age := now.Sub(said).Abs(); age > hookAge {
		return nil, &hookRefusal{http.StatusBadRequest, fmt.Sprintf("time_ms is %v off this server's clock: at most %v", age.Round(time.Second), hookAge)}
	}
	list := gjson.GetBytes(body, "events").Array()
	if len(list) > maxHookEvents {
		return nil, &hookRefusal{http.StatusBadRequest, fmt.Sprintf("%d events: at most %d in one webhook", len(list), maxHookEvents)}
	}
	events := make([]proxy.Record, 0, len(list))
	for _, e := range list {
		if rec, ok := hookEvent(app, e); ok {
			rec.At, rec.From, rec.Leg = now, said, proxy.LegVendor
			events = append(events, rec)
		}
	}
	return events, nil
}

// hookKinds are the kinds of record that webhook events tell of.
var hookKinds = map[proxy.WebhookType]proxy.Kind{
	proxy.WebhookChannelOccupied: proxy.KindOccupied, proxy.WebhookChannelVacated: proxy.KindVacated,
	proxy.WebhookMemberAdded: proxy.KindMemberAdded, proxy.WebhookMemberRemoved: proxy.KindMemberRemoved,
	proxy.WebhookClientEvent: proxy.KindPublished, proxy.WebhookCacheMiss: proxy.KindCacheMiss,
	proxy.WebhookSubscriptionCount: proxy.KindSubscriptionCount,
}

// hookEvent returns what an event tells; ok is false for what is no known
// event. Servers other than the vendor's send data that is no string.
func hookEvent(app *proxy.App, e gjson.Result) (rec proxy.Record, ok bool) {
	kind, ok := hookKinds[proxy.WebhookType(e.Get("name").String())]
	topic := proxy.Topic{App: app.ID, Channel: protocol.ChannelName(e.Get("channel").String())}
	if !ok || !topic.Channel.Valid(app.Limits.ChannelNameLength) {
		return rec, false
	}
	rec = proxy.Record{Kind: kind, Topic: topic, UserID: e.Get("user_id").String()}
	switch kind {
	case proxy.KindMemberAdded, proxy.KindMemberRemoved:
		return rec, rec.UserID != ""
	case proxy.KindSubscriptionCount:
		rec.Count = int(e.Get("subscription_count").Int())
	case proxy.KindPublished:
		rec.Socket = protocol.SocketID(e.Get("socket_id").String())
		rec.Event = &proxy.Event{
			Topic: topic, Name: e.Get("event").String(), Data: []byte(e.Get("data").String()), Socket: rec.Socket, UserID: rec.UserID,
			Publisher: proxy.ByClient, Origin: proxy.LegVendor,
		}
	}
	return rec, true
}

// hookRecord returns the record of one event of a webhook.
func hookRecord(rec proxy.Record) proxy.Record {
	for name, kind := range hookKinds {
		if kind == rec.Kind {
			rec.Action = string(name)
		}
	}
	rec.Kind = proxy.KindWebhook
	return rec
}

// hookHeader returns a webhook's headers, without those of its connection.
func hookHeader(ctx *fasthttp.RequestCtx) http.Header {
	header := http.Header{}
	for key, value := range ctx.Request.Header.All() {
		if name := string(key); passes(name) && !strings.EqualFold(name, "Accept-Encoding") {
			header.Add(name, string(value))
		}
	}
	return header
}

// corrected returns what the vendor's clients did: without what it told of
// the gateway's own taps and ghosts, and with the ids that clients of both
// sides are known by here. That a tap or ghost occupies a channel or is a
// member needs no correction: it follows one who is here.
func (r *Relay) corrected(app *proxy.App, events []proxy.Record) []proxy.Record {
	kept := make([]proxy.Record, 0, len(events))
	for _, rec := range events {
		switch rec.Kind {
		case proxy.KindPublished:
			is, known := r.ids.of(rec.Socket)
			if known && is.client == "" {
				continue // said here, and told of by the engine
			}
			if known {
				ev := *rec.Event
				ev.Socket, rec.Socket, rec.Event = is.client, is.client, &ev
			}
		case proxy.KindSubscriptionCount:
			rec.Count = max(rec.Count-r.own(app.ID, rec.Topic.Channel).there, 0)
		}
		kept = append(kept, rec)
	}
	return kept
}
