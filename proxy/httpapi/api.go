package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
)

// Apps finds apps. Implementation: proxy/apps.Registry.
type Apps interface {
	ByID(id string) (*proxy.App, bool)
	ByKey(key string) (*proxy.App, proxy.Credential, bool)
}

// Engine is what the API works on. Implementation: proxy/engine.Engine, whose
// documentation holds for every method.
type Engine interface {
	Publish(ctx context.Context, app *proxy.App, p engine.Publication) error
	Channels(ctx context.Context, app, prefix string) ([]engine.ChannelState, error)
	Channel(ctx context.Context, t proxy.Topic) (engine.ChannelState, error)
	Users(ctx context.Context, t proxy.Topic) ([]string, error)
	TerminateUser(ctx context.Context, app *proxy.App, userID string) error
}

// Settings are what an API is made of.
type Settings struct {
	Apps       Apps
	Engine     Engine
	Tap        engine.Tap       // is offered refusals; nil: nobody watches
	Rates      proxy.Rates      // of all nodes together; nil: this is the only one
	PathPrefix string           // in front of /apps and /users; not part of what is signed
	Now        func() time.Time // for signatures' timestamps; nil: time.Now
	Log        zerolog.Logger
}

// API answers Pusher's HTTP API. It is safe for concurrent use.
type API struct {
	settings Settings
	tenants  tenants
	requests sync.Pool // of *request
	metrics  *metrics

	publishers publishers
}

// New returns an API. It starts nothing.
func New(s Settings) *API {
	if s.Now == nil {
		s.Now = time.Now
	}
	s.PathPrefix = strings.TrimRight(s.PathPrefix, "/")
	// A broker that is down fails every publish: those are counted, and one
	// line in a while says why.
	s.Log = s.Log.Sample(&zerolog.BurstSampler{Burst: 1, Period: 10 * time.Second})
	a := &API{settings: s, metrics: newMetrics()}
	a.tenants.apps = s.Apps
	a.tenants.rates, a.tenants.limited = s.Rates, a.metrics.limited
	a.requests.New = func() any { return new(request) }
	return a
}

// request is one request on its way. It is used again for later ones, so
// nothing of it may be kept; its strings are the exception.
type request struct {
	ctx      *fasthttp.RequestCtx
	method   string
	path     string // as received, without prefix and query
	resource *resource
	appID    string // from the path; empty where it names none
	name     string // channel or user of the path, percent-decoded
	tenant   *tenant
	now      time.Time

	auth   verifier
	fields fields
	batch  []publication
	answer []byte
}

// Handler answers one request whose path begins with the prefix and /apps or
// /users. It keeps nothing of ctx.
func (a *API) Handler(ctx *fasthttp.RequestCtx) {
	r := a.requests.Get().(*request)
	defer a.requests.Put(r)
	r.reset(ctx, a.settings.Now())
	if refused := a.serve(r); refused != nil {
		a.refuse(r, refused)
		return
	}
	a.metrics.done[r.resource].Inc()
	ctx.SetStatusCode(r.resource.status)
	ctx.SetContentType("application/json")
	ctx.SetBody(r.answer)
}

func (a *API) serve(r *request) *refusal {
	if refused := a.accept(r); refused != nil {
		return refused
	}
	if r.resource.read != nil {
		if refused := a.publish(r); refused != nil {
			return refused
		}
	}
	return r.resource.serve(a, r)
}

// accept goes all the way with a request but for its effect.
func (a *API) accept(r *request) *refusal {
	target := requestTarget(r.ctx)
	path, query, _ := strings.Cut(target, "?")
	path, mounted := strings.CutPrefix(path, a.settings.PathPrefix)
	if !mounted || !r.route(path) {
		return errNotFound
	}
	if !r.allowed() {
		return errMethod
	}
	if limit := a.bodyLimit(r); len(r.body()) > limit {
		return errBody(len(r.body()), limit)
	}
	r.auth.parse(query)
	if refused := a.authenticate(r); refused != nil {
		return refused
	}
	if !r.tenant.app.Enabled {
		return errDisabled
	}
	if r.resource.read == nil {
		return nil
	}
	if refused := r.resource.read(r); refused != nil {
		return refused
	}
	for i := range r.batch {
		r.batch[i].By = a.publishers.of(r)
	}
	return nil
}

// publish hands the request's events to the engine. When that fails between
// two of them, the earlier ones have been accepted: the caller is told to try
// again, and those may then be delivered twice.
func (a *API) publish(r *request) *refusal {
	if refused := r.tenant.admit(len(r.batch), r.now); refused != nil {
		return refused
	}
	for i := range r.batch {
		if err := a.settings.Engine.Publish(r.background(), r.tenant.app, r.batch[i].Publication); err != nil {
			return a.failed(r, err)
		}
	}
	return nil
}

// Judgement is what the API thinks of a request.
type Judgement struct {
	Resource string               // as in metrics; "unknown" for a path that is none
	Status   int                  // that it would be answered with
	Text     string               // of a refusal
	Events   []engine.Publication // what a good publish asks for
}

// Judge tells what Handler would do with a request, up to its effect, and does
// nothing: another service answers it. It keeps nothing of ctx.
func (a *API) Judge(ctx *fasthttp.RequestCtx) Judgement {
	r := a.requests.Get().(*request)
	defer a.requests.Put(r)
	r.reset(ctx, a.settings.Now())
	refused := a.accept(r)
	j := Judgement{Resource: r.resource.String()}
	if refused != nil {
		j.Status, j.Text = refused.status, refused.text
		return j
	}
	j.Status = r.resource.status
	for i := range r.batch {
		j.Events = append(j.Events, r.batch[i].Publication)
	}
	return j
}

func (r *request) reset(ctx *fasthttp.RequestCtx, now time.Time) {
	r.ctx, r.now = ctx, now
	r.method, r.path, r.resource, r.appID, r.name, r.tenant = "", "", nil, "", "", nil
	clear(r.batch) // what it holds is the engine's now
	r.batch, r.answer = r.batch[:0], r.answer[:0]
}

func (r *request) body() []byte { return r.ctx.Request.Body() }

// allowed reports whether the resource answers the request's method, and
// keeps it. HEAD is served as GET; the transport leaves the body out.
func (r *request) allowed() bool {
	switch header := &r.ctx.Request.Header; {
	case header.IsGet():
		r.method = http.MethodGet
	case header.IsHead():
		r.method = http.MethodHead
		return r.resource.method == http.MethodGet
	case header.IsPost():
		r.method = http.MethodPost
	default:
		return false
	}
	return r.method == r.resource.method
}

// requestTarget returns the request line's target from its path on, exactly
// as it was sent: that is what was signed.
func requestTarget(ctx *fasthttp.RequestCtx) string {
	target := string(ctx.Request.Header.RequestURI())
	if strings.HasPrefix(target, "/") {
		return target
	}
	if _, rest, absolute := strings.Cut(target, "://"); absolute {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
	}
	return target
}

// bodySlack is the room in a body for all but the data of its events: names,
// up to 100 channels, keys.
const bodySlack = 64 << 10

// escapeGrowth is how much longer a text may be as a JSON string: every byte
// written as \u00XX.
const escapeGrowth = 6

// maxBatch is how many events one call to batch_events may carry (vendor
// documentation: "Channels HTTP API").
const maxBatch = 10

// bodyLimit returns how many bytes a request's body may have.
func (a *API) bodyLimit(r *request) int {
	app, ok := a.settings.Apps.ByID(r.appID)
	if !ok {
		return bodySlack
	}
	return app.Limits.EventBytes*escapeGrowth*r.resource.events + bodySlack
}

// MaxBody returns the most bytes that a request's body may have for any of
// those limits. The HTTP server in front refuses longer ones unread.
func MaxBody(limits ...proxy.Limits) int {
	longest := 0
	for _, l := range limits {
		longest = max(longest, l.EventBytes)
	}
	return longest*escapeGrowth*maxBatch + bodySlack
}

// background returns the context of an effect. Not the request's own: fasthttp
// uses that again for other requests, and a backend may look at its context
// after it has answered. Backends bound their own work in time.
func (r *request) background() context.Context { return context.Background() }
