package admin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
)

func (s *Server) showStage(w http.ResponseWriter, r *http.Request) {
	app, ok := s.migrating(w, r)
	if !ok {
		return
	}
	value, err := s.Stages.Show(r.Context(), app.ID)
	s.outcome(w, value, err)
}

func (s *Server) setStage(w http.ResponseWriter, r *http.Request) {
	app, ok := s.migrating(w, r)
	if !ok {
		return
	}
	var c StageChange
	if !decode(w, r, &c) || !c.valid(w) {
		return
	}
	s.Log.Info().Str("app", app.ID).Str("stage", c.Stage).Str("channels", clip(c.Channels, 200)).
		Bool("dry_run", c.DryRun).Bool("force", c.Force).Str("remote", r.RemoteAddr).Msg("stage change requested")
	c.Who = author(c.Who)
	value, err := s.Stages.Set(r.Context(), app.ID, c)
	s.outcome(w, value, err)
}

func (s *Server) rollBack(w http.ResponseWriter, r *http.Request) {
	s.undo(w, r, "rollback", Stages.Rollback)
}

func (s *Server) rearm(w http.ResponseWriter, r *http.Request) {
	s.undo(w, r, "rearming", Stages.Rearm)
}

func (s *Server) undo(w http.ResponseWriter, r *http.Request, what string, do func(Stages, context.Context, string, StageUndo) (any, error)) {
	app, ok := s.migrating(w, r)
	if !ok {
		return
	}
	var u StageUndo
	if !decode(w, r, &u) {
		return
	}
	u.Who, u.Why = author(u.Who), clip(u.Why, maxWhy)
	s.Log.Info().Str("app", app.ID).Str("remote", r.RemoteAddr).Msg(what + " requested")
	value, err := do(s.Stages, r.Context(), app.ID, u)
	s.outcome(w, value, err)
}

// migrating returns the path's app, or answers that there is none or that
// nothing migrates here.
func (s *Server) migrating(w http.ResponseWriter, r *http.Request) (*proxy.App, bool) {
	if s.Stages == nil {
		absent(w, "migration")
		return nil, false
	}
	return s.app(w, r)
}

// outcome answers with what a source returned.
func (s *Server) outcome(w http.ResponseWriter, value any, err error) {
	if err != nil {
		s.failure(w, err)
		return
	}
	s.reply(w, http.StatusOK, value)
}

// author names who makes a change, for the journal.
func author(who string) string {
	if who = strings.TrimSpace(who); who == "" {
		return "admin"
	}
	return clip(who, maxWho)
}

// maxWho bounds the name that is kept with a change, in bytes.
const maxWho = 100

// maxWhy bounds the reason that is kept with a change, in bytes.
const maxWhy = 1000

// valid refuses what no migration could mean.
func (c *StageChange) valid(w http.ResponseWriter) bool {
	_, err := proxy.ParseStage(c.Stage)
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, err.Error(), "")
	case c.Percent != nil && (*c.Percent < 0 || *c.Percent > 100):
		fail(w, http.StatusBadRequest, "percent is out of range", "use 0 to 100")
	case c.Percent != nil && c.Stage != proxy.StageCanary.String():
		fail(w, http.StatusBadRequest, "a share is taken in the canary stage only", "leave percent out, or set stage canary")
	case c.By != "" && c.By != proxy.ByChannel && c.By != proxy.ByUser:
		fail(w, http.StatusBadRequest, "by is neither channel nor user", "use one of them")
	case len(c.Why) > maxWhy:
		fail(w, http.StatusBadRequest, "why is longer than "+strconv.Itoa(maxWhy)+" bytes", "shorten it")
	default:
		return true
	}
	return false
}

// document answers with a JSON document about an app.
func (s *Server) document(name string, read Document) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if read == nil {
			absent(w, name)
			return
		}
		app, ok := s.app(w, r)
		if !ok {
			return
		}
		since, ok := sinceOf(w, r)
		if !ok {
			return
		}
		text, err := read(r.Context(), app.ID, since)
		s.outcome(w, text, err)
	}
}

// sinceOf reads ?since=, a time (RFC 3339) or a span before now such as 24h.
func sinceOf(w http.ResponseWriter, r *http.Request) (time.Time, bool) {
	text := strings.TrimSpace(r.FormValue("since"))
	if text == "" {
		return time.Time{}, true
	}
	if span, err := time.ParseDuration(text); err == nil && span >= 0 {
		return time.Now().Add(-span), true
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		fail(w, http.StatusBadRequest, "since "+clip(text, 40)+" is not a time", "write 2006-01-02T15:04:05Z, or a span such as 24h")
		return time.Time{}, false
	}
	return at, true
}
