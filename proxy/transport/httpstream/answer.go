package httpstream

import "github.com/valyala/fasthttp"

const (
	framesType = "application/javascript; charset=UTF-8"
	textType   = "text/plain; charset=UTF-8"
	noCache    = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
)

// allowPages lets browser pages of any origin read the answer. No credentials
// are allowed with it; which origins an app takes is checked on connecting.
func allowPages(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Access-Control-Allow-Origin", "*")
	ctx.Response.Header.Set("Cache-Control", noCache)
}

// preflight answers what browsers ask before a POST with a content type.
func preflight(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("Access-Control-Allow-Methods", "OPTIONS, POST")
	if asked := ctx.Request.Header.Peek("Access-Control-Request-Headers"); len(asked) > 0 {
		h.SetBytesV("Access-Control-Allow-Headers", asked)
		h.Set("Vary", "Access-Control-Request-Headers")
	}
	h.Set("Access-Control-Max-Age", "31536000")
	h.Set("Cache-Control", "public, max-age=31536000")
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

func plain(ctx *fasthttp.RequestCtx, status int, body string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType(textType)
	ctx.SetBodyString(body)
}
