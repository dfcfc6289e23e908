package plugins

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/translators"
)

// lease is when the gateway last gave a sign of life.
type lease struct {
	mu      sync.Mutex
	expires time.Time
}

func newLease() *lease { return &lease{expires: time.Now().Add(startPatience)} }

func (l *lease) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expires = time.Now().Add(LeaseExpiry)
}

func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.expires)
}

// lost returns a channel that is closed when the lease has expired.
func (l *lease) lost(ctx context.Context) <-chan struct{} {
	expired := make(chan struct{})
	go func() {
		for {
			left := l.left()
			if left <= 0 {
				close(expired)
				return
			}
			select {
			case <-time.After(min(left, time.Second)): // the first beat brings the end nearer
			case <-ctx.Done():
				return
			}
		}
	}()
	return expired
}

// Lease implements wire.BackendServer: each beat is answered with the
// session's report.
func (s *server) Lease(stream grpc.BidiStreamingServer[wire.Beat, wire.Status]) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return ended(err)
		}
		s.lease.renew()
		if err := stream.Send(wire.FromReport(s.report())); err != nil {
			return err
		}
	}
}

func (s *server) report() translators.Report {
	session, err := s.opened()
	if err != nil {
		return translators.Report{Healthy: true}
	}
	reporter, ok := translators.Find[translators.Reporter](session)
	if !ok {
		return translators.Report{Healthy: true}
	}
	return reporter.Report()
}
