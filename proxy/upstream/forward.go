package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// maxReply bounds the body of the vendor's answer to an API call: more than a
// list of all channels of a large app.
const maxReply = 32 << 20

var (
	errLongReply = fmt.Errorf("upstream: answer longer than %d bytes", maxReply)
	errNotJSON   = errors.New("upstream: answer is not JSON")
)

// ServeAPI answers a request to the HTTP API: the calls of an app that is
// relayed are forwarded as they are, and the vendor's answer is the answer.
func (r *Relay) ServeAPI(ctx *fasthttp.RequestCtx) {
	app := r.calledApp(ctx)
	if app != nil && app.Upstream != nil {
		defer r.settings.Feed.called(app.ID)()
	}
	r.serve(ctx, app)
	if app != nil && fromGateway(viaOf(ctx)) {
		ctx.Response.Header.Set(leadsHeader, r.leads(app.ID))
		r.explored(app, string(ctx.Path()))
	}
}

// servedBy says, in answers while the upstream is down, that the engine stood
// in for it.
const servedBy = "Offramp-Served-By"

func (r *Relay) serve(ctx *fasthttp.RequestCtx, app *proxy.App) {
	switch {
	case app != nil && app.Upstream != nil && r.looped(viaOf(ctx)):
		r.refuseLoop(ctx, app)
	case app != nil && app.Enabled && app.Upstream != nil && r.settings.Hooks != nil && r.hookPath(ctx, app):
		r.serveHook(ctx, app)
	case app != nil && r.takes(app):
		r.relayCall(ctx, app)
	case app != nil && app.Enabled && r.bridged(app):
		r.serveBridged(ctx, app)
		if ctx.IsPost() {
			r.settings.Feed.flush(app.ID)
		}
		if r.FailedOpen(app) {
			ctx.Response.Header.Set(servedBy, string(proxy.LegEngine))
		}
	default:
		r.settings.API.Handler(ctx)
	}
}

// relayCall answers with the vendor's answer.
func (r *Relay) relayCall(ctx *fasthttp.RequestCtx, app *proxy.App) {
	r.settings.Feed.caughtUp(app.ID)
	at := time.Now()
	p, err := r.forward(ctx, app)
	if err != nil {
		r.unanswered(ctx, app, err)
		return
	}
	r.compare(ctx, app, p, at)
	p.writeTo(ctx)
}

// calledApp returns the app of a call: the path's, or of the Python SDK's
// path without one, the key's.
func (r *Relay) calledApp(ctx *fasthttp.RequestCtx) *proxy.App {
	path := strings.TrimPrefix(string(ctx.Path()), r.settings.PathPrefix)
	if rest, ok := strings.CutPrefix(path, "/apps/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		if app, ok := r.settings.Apps.ByID(id); ok {
			return app
		}
		return nil
	}
	app, _, ok := r.settings.Apps.ByKey(string(ctx.QueryArgs().Peek("auth_key")))
	if !ok {
		return nil
	}
	return app
}

// reply is the vendor's answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// result names what came of a call.
func (p reply) result(err error) string {
	if err != nil {
		return trouble(err)
	}
	return strconv.Itoa(p.status)
}

// forward makes the caller's own call of the vendor.
func (r *Relay) forward(ctx *fasthttp.RequestCtx, app *proxy.App) (reply, error) {
	at := time.Now()
	p, err := r.roundTrip(ctx, app)
	r.called(app.ID, p, err, time.Since(at))
	return p, err
}

func (r *Relay) roundTrip(ctx *fasthttp.RequestCtx, app *proxy.App) (reply, error) {
	base, err := url.Parse(app.Upstream.API)
	if err != nil {
		return reply{}, fmt.Errorf("upstream.api of app %q: %w", app.ID, err)
	}
	// Not the request's own context, which fasthttp uses again while the
	// transport may still be writing.
	calling, cancel := context.WithTimeout(context.Background(), r.settings.CallWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(calling, string(ctx.Method()), base.String(), bytes.NewReader(bytes.Clone(ctx.Request.Body())))
	if err != nil {
		return reply{}, err
	}
	path, query, _ := strings.Cut(string(ctx.Request.Header.RequestURI()), "?")
	// What was signed must arrive as it was sent: no part of it is parsed.
	request.URL.Opaque = strings.TrimRight(base.EscapedPath(), "/") + strings.TrimPrefix(path, r.settings.PathPrefix)
	request.URL.RawQuery = query
	for key, value := range ctx.Request.Header.All() {
		if name := string(key); passes(name) {
			request.Header.Add(name, string(value))
		}
	}
	request.Header.Set(protocol.ViaHeader, r.onward(viaOf(ctx)))
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "") // none, instead of the HTTP library's
	}
	response, err := r.calls.RoundTrip(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := readReply(response.Body)
	return reply{response.StatusCode, response.Header, body}, err
}

// passes reports whether a header is the caller's or the vendor's word, and
// not one about the connection it came over (RFC 9110, section 7.6.1).
func passes(name string) bool {
	switch strings.ToLower(name) {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
		"transfer-encoding", "upgrade", "content-length", "host", "expect", "offramp-leads-to":
		return false
	default:
		return true
	}
}

func (p reply) writeTo(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(p.status)
	for name, values := range p.header {
		if !passes(name) {
			continue
		}
		for _, value := range values {
			if name == "Content-Type" {
				ctx.Response.Header.SetContentType(value)
				continue
			}
			ctx.Response.Header.Add(name, value)
		}
	}
	ctx.Response.SetBodyRaw(p.body)
}

// unanswered says that the vendor gave no answer, in the way of its own
// texts. Whether a publish was done is not known, so nothing is copied.
func (r *Relay) unanswered(ctx *fasthttp.RequestCtx, app *proxy.App, err error) {
	status, text := http.StatusBadGateway, "Upstream not reachable, please try again"
	if trouble(err) == "timeout" {
		status, text = http.StatusGatewayTimeout, "Upstream did not answer in time"
	}
	r.settings.Log.Warn().Err(err).Str("app", app.ID).Str("upstream", app.Upstream.API).Msg("api call not answered by the upstream")
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(text + "\n")
}

// callVendor makes an API call of the gateway's own. body is nil for a query.
func (r *Relay) callVendor(ctx context.Context, app *proxy.App, method, path string, body []byte) (reply, error) {
	return r.callOnward(ctx, app, "", method, path, body)
}

// callOnward makes a call for what came through other gateways.
func (r *Relay) callOnward(ctx context.Context, app *proxy.App, via, method, path string, body []byte) (reply, error) {
	base, err := url.Parse(app.Upstream.API)
	if err != nil {
		return reply{}, fmt.Errorf("upstream.api of app %q: %w", app.ID, err)
	}
	credential := app.Credentials[0]
	query := "auth_key=" + credential.Key + "&auth_timestamp=" + strconv.FormatInt(time.Now().Unix(), 10) +
		"&auth_version=1.0"
	if body != nil {
		query += "&body_md5=" + protocol.BodyMD5(body)
	}
	query += "&auth_signature=" + protocol.Sign(credential.Secret.Reveal(), protocol.RequestString(method, path, protocol.ParseQuery(query)))
	ctx, cancel := context.WithTimeout(ctx, r.settings.CallWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, base.String(), bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.URL.Path, request.URL.RawQuery = strings.TrimRight(base.Path, "/")+path, query
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", library)
	request.Header.Set(protocol.ViaHeader, r.onward(via))
	at := time.Now()
	response, err := r.calls.RoundTrip(request)
	if err != nil {
		r.called(app.ID, reply{}, err, time.Since(at))
		return reply{}, err
	}
	defer response.Body.Close()
	r.learn(app.ID, response.Header)
	answer, err := readReply(response.Body)
	r.called(app.ID, reply{status: response.StatusCode, body: answer}, nil, time.Since(at))
	if response.StatusCode >= 300 {
		err = nil // it has failed, whatever it says
	}
	return reply{response.StatusCode, response.Header, answer}, err
}

// readReply reads the body of an answer.
func readReply(from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, maxReply+1))
	if err == nil && len(body) > maxReply {
		err = errLongReply
	}
	return body, err
}
