package admin

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Bounds of a list in one answer.
const (
	defaultListed = 1000
	maxListed     = 10_000
)

// listConnections answers with the newest connections.
func (s *Server) listConnections(w http.ResponseWriter, r *http.Request) {
	app, limit, ok := s.list(w, r)
	if !ok {
		return
	}
	all := s.Traffic.Connections(app.ID)
	slices.Reverse(all)
	replyFirst(s, w, all, limit)
}

// listChannels answers with the channels that have most subscriptions.
func (s *Server) listChannels(w http.ResponseWriter, r *http.Request) {
	app, limit, ok := s.list(w, r)
	if !ok {
		return
	}
	all, err := s.Traffic.Channels(r.Context(), app.ID, r.FormValue("prefix"))
	if err != nil {
		s.failure(w, err)
		return
	}
	slices.SortFunc(all, func(a, b Channel) int {
		return cmp.Or(cmp.Compare(b.Subscriptions, a.Subscriptions), cmp.Compare(a.Name, b.Name))
	})
	replyFirst(s, w, all, limit)
}

// listUsers answers with the users of a presence channel.
func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) {
	app, limit, ok := s.list(w, r)
	if !ok {
		return
	}
	channel := protocol.ChannelName(r.PathValue("channel"))
	if channel.Kind() != protocol.Presence || !channel.Valid(protocol.MaxChannelNameLength) {
		fail(w, http.StatusBadRequest, clip(string(channel), 100)+" is not the name of a presence channel", "only those have users")
		return
	}
	users, err := s.Traffic.Users(r.Context(), proxy.Topic{App: app.ID, Channel: channel})
	if err != nil {
		s.failure(w, err)
		return
	}
	replyFirst(s, w, users, limit)
}

// list reads what every list has: the app, and how much of it is wanted.
func (s *Server) list(w http.ResponseWriter, r *http.Request) (app *proxy.App, limit int, ok bool) {
	if s.Traffic == nil {
		absent(w, "engine")
		return nil, 0, false
	}
	if app, ok = s.app(w, r); !ok {
		return nil, 0, false
	}
	limit, ok = limitOf(w, r)
	return app, limit, ok
}

// limitOf reads ?limit=.
func limitOf(w http.ResponseWriter, r *http.Request) (int, bool) {
	text := r.FormValue("limit")
	if text == "" {
		return defaultListed, true
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxListed {
		fail(w, http.StatusBadRequest, "limit "+clip(text, 20)+" is out of range", "use 1 to "+strconv.Itoa(maxListed))
		return 0, false
	}
	return limit, true
}

// replyFirst answers with at most limit elements of a list, and says in a
// header how many there are.
func replyFirst[T any](s *Server, w http.ResponseWriter, list []T, limit int) {
	w.Header().Set("X-Total-Count", strconv.Itoa(len(list)))
	s.reply(w, http.StatusOK, append([]T{}, list[:min(limit, len(list))]...))
}
