package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// server is the plugin's end of the contract: it gives a synchronous
// translator the life that the wire asks for.
type server struct {
	wire.UnimplementedBackendServer

	translator translators.Translator
	log        zerolog.Logger
	lease      *lease
	box        atomic.Pointer[outbox] // of the subscribe stream; nil before it

	// Guarded by mu.
	mu      sync.Mutex
	claimed bool                // Open was called
	session translators.Session // nil until opened, and again once closed
	lanes   *lanes              // nil until opened
}

func newServer(t translators.Translator, log zerolog.Logger) *server {
	return &server{translator: t, log: log, lease: newLease()}
}

// ended turns the regular end of a stream into no error.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Describe implements wire.BackendServer.
func (s *server) Describe(context.Context, *wire.DescribeRequest) (*wire.DescribeResponse, error) {
	return wire.FromDescription(s.translator.Describe(), ContractMinor)
}

// Validate implements wire.BackendServer.
func (s *server) Validate(_ context.Context, r *wire.ValidateRequest) (*wire.ValidateResponse, error) {
	settings, err := wire.ToSettings(r.GetSettings())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	problems := s.translator.Describe().Settings.Validate(settings)
	return &wire.ValidateResponse{Problems: wire.FromProblems(problems)}, nil
}

// Open implements wire.BackendServer.
func (s *server) Open(ctx context.Context, r *wire.OpenRequest) (*wire.OpenResponse, error) {
	settings, err := wire.ToSettings(r.GetSettings())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if problems := s.translator.Describe().Settings.Validate(settings); len(problems) > 0 {
		return &wire.OpenResponse{Problems: wire.FromProblems(problems)}, nil
	}
	if !s.claim() {
		return nil, status.Error(codes.FailedPrecondition, "a plugin process opens one session")
	}
	session, err := s.translator.Open(ctx, translators.Binding{
		App: r.GetAppId(), Backend: r.GetBackend(), Role: proxy.Role(r.GetRole()), Gateway: r.GetGateway(),
		Settings: settings, Log: s.log,
	})
	if problems, ok := errors.AsType[translators.Problems](err); ok {
		return &wire.OpenResponse{Problems: wire.FromProblems(problems)}, nil
	}
	if err != nil {
		return &wire.OpenResponse{Error: err.Error()}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.lanes = session, newLanes(session)
	response := &wire.OpenResponse{Abilities: abilities(session), Credit: creditWindow}
	if limited, ok := translators.Find[translators.Limited](session); ok {
		response.Limits = wire.FromLimits(limited.Limits())
	}
	return response, nil
}

// claim reports whether the caller may open the process's session.
func (s *server) claim() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed {
		return false
	}
	s.claimed = true
	return true
}

// opened returns the open session.
func (s *server) opened() (translators.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil, status.Error(codes.FailedPrecondition, "no session is open")
	}
	return s.session, nil
}

// Translate implements wire.BackendServer.
func (s *server) Translate(_ context.Context, r *wire.TranslateRequest) (*wire.TranslateResponse, error) {
	previewer, err := find[translators.Previewer](s, AbilityPreview)
	if err != nil {
		return nil, err
	}
	native, losses := previewer.Preview(wire.ToEnvelope(r.GetItem()))
	return wire.FromNative(native, losses), nil
}

// Query implements wire.BackendServer.
func (s *server) Query(ctx context.Context, r *wire.QueryRequest) (*wire.QueryResponse, error) {
	querier, err := find[translators.Querier](s, AbilityQuery)
	if err != nil {
		return nil, err
	}
	o, err := querier.Query(ctx, protocol.ChannelName(r.GetChannel()))
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &wire.QueryResponse{
		Occupied: o.Occupied, Subscriptions: int32(o.Subscriptions),
		Members: wire.FromMembers(o.Members),
	}, nil
}

// find returns an ability of the open session.
func find[T any](s *server, ability string) (T, error) {
	var none T
	session, err := s.opened()
	if err != nil {
		return none, err
	}
	found, ok := translators.Find[T](session)
	if !ok {
		return none, status.Error(codes.Unimplemented, fmt.Sprintf("this backend has no %s", ability))
	}
	return found, nil
}

// Drain implements wire.BackendServer.
func (s *server) Drain(ctx context.Context, r *wire.DrainRequest) (*wire.DrainResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.GetWithinMs())*time.Millisecond)
	defer cancel()
	leftover, report := s.drain(ctx)
	return &wire.DrainResponse{Leftover: uint32(leftover), Status: wire.FromReport(report)}, nil
}

// drain stops intake, waits for what is under way, and closes the session. It
// returns the number of items without an answer, and the last report.
func (s *server) drain(ctx context.Context) (int, translators.Report) {
	s.mu.Lock()
	session, lanes := s.session, s.lanes
	s.mu.Unlock()
	if session == nil {
		return 0, translators.Report{Healthy: true}
	}
	leftover := lanes.drain(ctx)
	if err := session.Close(ctx); err != nil {
		s.log.Warn().Err(err).Msg("session did not close cleanly")
	}
	report := s.report()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = nil
	return leftover, report
}
