package upstream

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// maxGateways is how many gateways a request may come through: a circle of
// several nodes that each hide behind one address is longer than it looks.
const maxGateways = 4

// gatewayMark names a gateway in a CDN-Loop header (RFC 8586); services in
// front of the gateway have marks of their own there.
const gatewayMark = library + ";node="

// leadsHeader tells another gateway, in the answer to its call, which
// gateways it leads to: this one, and those that this one's upstream names.
const leadsHeader = "Offramp-Leads-To"

// errLoop tells a client that its connection would lead back here. It comes
// back, for the mistake may be mended meanwhile.
var errLoop = &protocol.Error{Code: protocol.CodeOverCapacity, Message: "The upstream leads back to this gateway, please try again"}

// loopError is the error of a call or a connection that would go in a circle.
type loopError struct{ via string }

// Error implements error.
func (e loopError) Error() string {
	return fmt.Sprintf("it came through %q already: this gateway and its upstream lead to each other", e.via)
}

func (r *Relay) mark() string { return gatewayMark + strconv.FormatUint(r.settings.Node, 16) }

// onward returns the header of what is sent on from here.
func (r *Relay) onward(via string) string {
	if via == "" {
		return r.mark()
	}
	return protocol.ClipVia(via + ", " + r.mark())
}

// looped reports whether what came through those gateways was here before, or
// has been through more than any order of things needs.
func (r *Relay) looped(via string) bool {
	return fromGateway(via) && (contains(via, r.mark()) || strings.Count(via, gatewayMark) >= maxGateways)
}

// fromGateway reports whether another gateway is on the way.
func fromGateway(via string) bool { return strings.Contains(via, gatewayMark) }

func contains(list, mark string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(name) == mark {
			return true
		}
	}
	return false
}

func viaOf(ctx *fasthttp.RequestCtx) string {
	return protocol.ClipVia(string(ctx.Request.Header.Peek(protocol.ViaHeader)))
}

// refuseLoop answers a call that has been here before (RFC 8586, section 2).
// That a signed one has is proof of a circle.
func (r *Relay) refuseLoop(ctx *fasthttp.RequestCtx, app *proxy.App) {
	cause := loopError{viaOf(ctx)}
	r.metrics.loops.WithLabelValues(app.ID).Inc()
	if r.settings.API.Judge(ctx).Status < http.StatusBadRequest {
		r.circle(app.ID, "a call came back: "+cause.Error())
	}
	r.settings.Log.Warn().Err(cause).Str("app", app.ID).Str("upstream", app.Upstream.API).Msg("api call refused: it goes in a circle")
	ctx.SetStatusCode(fasthttp.StatusLoopDetected)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("Loop detected: this gateway and its upstream lead to each other\n")
}

// leads names the gateways that an app's calls lead to from here on.
func (r *Relay) leads(app string) string {
	if beyond, ok := r.beyond.Load(app); ok && beyond.(string) != "" {
		return r.mark() + ", " + beyond.(string)
	}
	return r.mark()
}

// learn reads in an answer where the upstream leads to.
func (r *Relay) learn(app string, answer http.Header) {
	beyond := protocol.ClipVia(answer.Get(leadsHeader))
	r.beyond.Store(app, beyond)
	if contains(beyond, r.mark()) {
		r.circle(app, "the upstream is a gateway that leads back to this one")
	}
}

// exploring is a query whose answer does not matter.
const exploring = "/channels/" + library

// askedAgain is the least time between two calls that ask for no more than
// where the upstream leads to.
const askedAgain = time.Second

// explore asks the upstream where it leads to: when the bridge opens, before
// much has passed it, and when it is itself asked by another gateway.
func (b *bridge) explore(ctx context.Context) {
	for {
		if app, ok := b.app(); ok {
			// What comes of it is learnt on the way.
			_, _ = b.relay.callVendor(ctx, app, http.MethodGet, "/apps/"+app.ID+exploring, nil)
		}
		select {
		case <-time.After(askedAgain):
		case <-ctx.Done():
			return
		}
		select {
		case <-b.asked:
		case <-ctx.Done():
			return
		}
	}
}

// explored notes that another gateway has asked where this one leads to: its
// bridge has just opened, and what lies beyond may be new.
func (r *Relay) explored(app *proxy.App, path string) {
	b := r.bridgeOf(app.ID)
	if b == nil || !strings.HasSuffix(path, exploring) {
		return
	}
	select {
	case b.asked <- struct{}{}:
	default: // it is about to ask in turn
	}
}
