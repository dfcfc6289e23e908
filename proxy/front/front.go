package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy/transport/hijack"
)

// Limits of the HTTP side.
const (
	// DefaultRequestTimeout is the patience with a request that comes slowly.
	DefaultRequestTimeout = 10 * time.Second

	writeTimeout   = 30 * time.Second
	idleTimeout    = 90 * time.Second
	idleWorker     = 2 * time.Second // how long a goroutine waits for the next connection
	maxHeaderBytes = 8 << 10
	// DefaultMaxBodyBytes holds the largest batch of the HTTP API: ten events
	// of 10 KiB, each byte of which may be escaped as six.
	DefaultMaxBodyBytes = 1 << 20
)

// Upgrades answers requests to become a WebSocket connection.
type Upgrades interface {
	// Serve answers one for the app with that key.
	Serve(ctx *fasthttp.RequestCtx, key string)
	// ServeUnknown answers one for a path that is no app's.
	ServeUnknown(ctx *fasthttp.RequestCtx)
}

// Streams answers the requests of the HTTP fallback transports.
type Streams interface {
	// Serve answers a request for prefix/pusher/app/{key}/rest.
	Serve(ctx *fasthttp.RequestCtx, key, rest string)
}

// Settings are what a Front is made of.
type Settings struct {
	Prefix    string // in front of every path, such as "/ws"; empty: none
	WebSocket Upgrades
	Stream    Streams                 // nil: no HTTP fallback
	API       fasthttp.RequestHandler // everything below prefix/apps/ and prefix/users/
	// ClientConfig answers prefix/client-config/{key}; nil: nobody does.
	ClientConfig func(ctx *fasthttp.RequestCtx, key string)
	TLS          *tls.Config // nil: plain TCP
	MaxBodyBytes int         // of a request; 0: DefaultMaxBodyBytes
	// RequestTimeout is the time a peer has for a whole request, counted from
	// its connection's first moment, and for further requests from the first
	// byte. 0: DefaultRequestTimeout.
	RequestTimeout time.Duration
	Log            zerolog.Logger
}

// Front serves the public port.
type Front struct {
	settings Settings
	server   *fasthttp.Server
	serving  atomic.Bool
	panics   atomic.Uint64
}

// New returns a front. It starts nothing.
func New(s Settings) *Front {
	if s.MaxBodyBytes == 0 {
		s.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if s.RequestTimeout == 0 {
		s.RequestTimeout = DefaultRequestTimeout
	}
	f := &Front{settings: s}
	f.server = &fasthttp.Server{
		Handler:                      f.contained,
		ErrorHandler:                 f.refuse,
		Logger:                       logger{s.Log},
		ReadTimeout:                  s.RequestTimeout,
		MaxIdleWorkerDuration:        idleWorker,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               maxHeaderBytes,
		MaxRequestBodySize:           s.MaxBodyBytes,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
		LazyRequestTime:              true,
		CloseOnShutdown:              true,
	}
	return f
}

var errEnded = errors.New("no connections are accepted any more")

// contained answers a request. A panic while doing so ends that request and
// nothing else.
func (f *Front) contained(ctx *fasthttp.RequestCtx) {
	defer func() {
		if cause := recover(); cause != nil {
			f.panics.Add(1)
			f.settings.Log.Error().Bytes("path", ctx.Path()).Interface("panic", cause).Bytes("stack", debug.Stack()).
				Msg("a request failed")
			ctx.Response.Reset()
			plain(ctx, fasthttp.StatusInternalServerError, "Internal error")
		}
	}()
	f.route(ctx)
}

// Serving reports whether the front accepts connections.
func (f *Front) Serving() bool { return f.serving.Load() }

// Run serves the listeners until ctx ends. Then it accepts no more, waits for
// the requests under way, and returns. WebSocket connections are not its
// business: drain them before, with their sessions. It closes the listeners.
func (f *Front) Run(ctx context.Context, listeners []net.Listener) error {
	failed := make(chan error, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() {
			err := f.server.Serve(hijack.Listen(l, f.settings.TLS))
			if err != nil || ctx.Err() == nil { // also an end without an error comes too early
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), errors.Join(err, errEnded))
			}
		})
	}
	f.serving.Store(true)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	f.serving.Store(false)
	for _, l := range listeners {
		_ = l.Close() // the HTTP server closes those it has begun to serve; a second close is harmless
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if e := f.server.ShutdownWithContext(stopping); e != nil && !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("end the requests under way: %w", e))
	}
	serving.Wait()
	return err
}

// logger passes on what the HTTP server has to say.
type logger struct{ log zerolog.Logger }

// Printf implements fasthttp.Logger.
func (l logger) Printf(format string, args ...any) { l.log.Debug().Msgf("http: "+format, args...) }
