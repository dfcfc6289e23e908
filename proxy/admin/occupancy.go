package admin

import (
	"context"
	"net/http"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Occupancy returns what a backend of an app knows of a channel, by its own
// account. It returns ErrNotFound when there is no such backend, and
// ErrInvalid when it cannot be asked.
type Occupancy func(ctx context.Context, t proxy.Topic, backend string) (any, error)

func (s *Server) showOccupancy(w http.ResponseWriter, r *http.Request) {
	if s.Occupancy == nil {
		absent(w, "backends")
		return
	}
	app, ok := s.app(w, r)
	if !ok {
		return
	}
	channel := protocol.ChannelName(r.PathValue("channel"))
	if !channel.Valid(app.Limits.ChannelNameLength) {
		fail(w, http.StatusBadRequest, clip(string(channel), 100)+" is not the name of a channel", "GET /api/v1/apps/"+app.ID+"/channels lists them")
		return
	}
	o, err := s.Occupancy(r.Context(), proxy.Topic{App: app.ID, Channel: channel}, r.PathValue("backend"))
	s.outcome(w, o, err)
}
