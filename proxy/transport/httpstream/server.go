package httpstream

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
)

// Timings and bounds.
const (
	// HeartbeatEvery is the customary interval of SockJS; proxies end answers
	// that are silent for 30 seconds or more.
	HeartbeatEvery = 25 * time.Second
	// Grace is how long a session lives without a request that receives.
	Grace = 5 * time.Second

	sweepEvery  = time.Second
	maxNameSize = 64 // bytes of the session name that a client makes up
)

// Settings are what a Server is made of.
type Settings struct {
	Sessions        *session.Server
	MaxSessions     int // open at a time, over all apps; 0: DefaultMaxSessions
	MaxMessageBytes int // of an inbound message; 0: DefaultMaxMessageBytes
	Log             zerolog.Logger
}

// Defaults of the Settings. A fallback session costs some ten times the
// memory of a WebSocket.
const (
	DefaultMaxSessions     = 10000
	DefaultMaxMessageBytes = 128 << 10
)

// Server answers the requests of the HTTP fallback transports. It is safe for
// concurrent use.
type Server struct {
	settings  Settings
	receivers sync.WaitGroup // streaming answers under way

	mu      sync.Mutex
	streams map[string]*stream // by app key and session name; bounded by MaxSessions
	stopped bool               // Run has ended
}

// New returns a server. It starts nothing.
func New(s Settings) *Server {
	if s.MaxSessions == 0 {
		s.MaxSessions = DefaultMaxSessions
	}
	if s.MaxMessageBytes == 0 {
		s.MaxMessageBytes = DefaultMaxMessageBytes
	}
	return &Server{settings: s, streams: make(map[string]*stream)}
}

// Run ends sessions whose client is gone, until ctx ends; then it ends all.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.closeAll()
			s.receivers.Wait()
			return nil
		case now := <-ticker.C:
			s.sweep(now)
		}
	}
}

// Serve answers a request for pusher/app/{key}/{rest}.
func (s *Server) Serve(ctx *fasthttp.RequestCtx, key, rest string) {
	name, action, ok := cutName(rest)
	if !ok {
		plain(ctx, fasthttp.StatusNotFound, "Not found\n")
		return
	}
	allowPages(ctx)
	id := key + "/" + name
	switch {
	case action != "xhr_streaming" && action != "xhr" && action != "xhr_send":
		plain(ctx, fasthttp.StatusNotFound, "Not found\n")
	case ctx.IsOptions():
		preflight(ctx)
	case !ctx.IsPost():
		ctx.Response.Header.Set("Allow", "OPTIONS, POST")
		plain(ctx, fasthttp.StatusMethodNotAllowed, "Method not allowed\n")
	case action == "xhr_streaming":
		s.serveStreaming(ctx, key, id)
	case action == "xhr":
		s.servePolling(ctx, key, id)
	default:
		s.serveSend(ctx, id)
	}
}

// cutName splits "server/session/action". The server's number is there for
// load balancers only; the session's name tells sessions apart.
func cutName(rest string) (name, action string, ok bool) {
	server, rest, _ := strings.Cut(rest, "/")
	name, action, _ = strings.Cut(rest, "/")
	if server == "" || name == "" || len(name) > maxNameSize || strings.Contains(server+name, ".") {
		return "", "", false
	}
	return name, action, true
}

// find returns an open session.
func (s *Server) find(id string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

// receive claims the receiving end of a session, which it opens if there is
// none of that name yet. The answer to a client that is refused is a session
// too, of its own, which holds nothing but the refusal.
func (s *Server) receive(ctx *fasthttp.RequestCtx, key, id, transport string) (*stream, *receiver) {
	if st := s.find(id); st != nil {
		return st.claim()
	}
	app, client, err := s.settings.Sessions.Admit(request(ctx, key, transport))
	st := newStream()
	_, r := st.claim()
	if err != nil {
		session.Refuse(st, client, err)
		return st, r
	}
	switch other, err := s.add(id, st); {
	case other != nil: // two first requests at once
		return other.claim()
	case err != nil:
		session.Refuse(st, client, err)
	default:
		st.open(s.settings.Sessions.Open(app, client, st))
	}
	return st, r
}

var errTooMany = &protocol.Error{Code: protocol.CodeOverCapacity, Message: "Too many HTTP fallback sessions"}

// add lists a session, unless there is one of that name or no room.
func (s *Server) add(id string, st *stream) (other *stream, err *protocol.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch other := s.streams[id]; {
	case other != nil:
		return other, nil
	case s.stopped:
		return nil, protocol.ErrReconnect
	case len(s.streams) >= s.settings.MaxSessions:
		return nil, errTooMany
	}
	s.streams[id] = st
	return nil, nil
}

// receiverStarts counts a streaming answer that Run waits for.
func (s *Server) receiverStarts() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.receivers.Add(1)
	return true
}

// sweep takes out the sessions that have had no receiver for too long. Those
// that were closed stay for as long, so that a late request is told why.
func (s *Server) sweep(now time.Time) {
	var gone []*stream
	s.mu.Lock()
	for id, st := range s.streams {
		if st.abandoned(now) {
			delete(s.streams, id)
			gone = append(gone, st)
		}
	}
	s.mu.Unlock()
	for _, st := range gone {
		st.end()
	}
}

func (s *Server) closeAll() {
	s.mu.Lock()
	all := s.streams
	s.streams, s.stopped = make(map[string]*stream), true
	s.mu.Unlock()
	for _, st := range all {
		st.Close(protocol.ErrReconnect.Code, protocol.ErrReconnect.Message)
		st.end()
	}
}

func request(ctx *fasthttp.RequestCtx, key, transport string) session.Request {
	args := ctx.QueryArgs()
	r := session.Request{
		Key:       key,
		Library:   string(args.Peek("client")),
		Version:   string(args.Peek("version")),
		Origin:    string(ctx.Request.Header.Peek("Origin")),
		Remote:    ctx.RemoteAddr().String(),
		Transport: transport,
		TLS:       ctx.IsTLS(),
		Via:       string(ctx.Request.Header.Peek(protocol.ViaHeader)),
	}
	if args.Has("protocol") {
		version := string(args.Peek("protocol"))
		r.Protocol = &version
	}
	return r
}
