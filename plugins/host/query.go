package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// Errors of Query.
var (
	ErrNoBackend    = errors.New("there is no such backend")
	ErrNotRunning   = errors.New("the backend's plugin is not running")
	ErrCannotAnswer = errors.New("the backend's plugin declares no query")
)

// session is what a running plugin can be asked.
type session struct {
	client *plugins.Client
	query  bool
}

// Query asks a backend what it knows of a channel: who is there by its own
// account, which may be others than the gateway's clients.
func (h *Host) Query(ctx context.Context, app, backend string, channel protocol.ChannelName) (translators.Occupancy, error) {
	links := h.byApp[app]
	at := slices.IndexFunc(links, func(l *link) bool { return l.binding.Backend.Name == backend })
	if at < 0 {
		return translators.Occupancy{}, ErrNoBackend
	}
	s := links[at].session.Load()
	switch {
	case s == nil:
		return translators.Occupancy{}, ErrNotRunning
	case !s.query:
		return translators.Occupancy{}, ErrCannotAnswer
	}
	o, err := s.client.Query(ctx, channel)
	if err != nil {
		return translators.Occupancy{}, fmt.Errorf("ask %s about %s: %w", backend, channel, err)
	}
	return o, nil
}
