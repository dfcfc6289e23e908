package admin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/offramp/offramp/proxy"
)

func (s *Server) listBackends(w http.ResponseWriter, _ *http.Request) {
	var list any = []struct{}{}
	if s.Backends != nil {
		list = s.Backends()
	}
	s.reply(w, http.StatusOK, list)
}

func (s *Server) listWebhooks(w http.ResponseWriter, _ *http.Request) {
	var list any = []struct{}{}
	if s.Webhooks != nil {
		list = s.Webhooks.Status()
	}
	s.reply(w, http.StatusOK, list)
}

func (s *Server) listDead(w http.ResponseWriter, r *http.Request) {
	if s.Webhooks == nil {
		absent(w, "webhooks")
		return
	}
	limit, ok := limitOf(w, r)
	if !ok {
		return
	}
	f := WebhookFilter{
		App: r.FormValue("app"), Receiver: r.FormValue("receiver"), Type: proxy.WebhookType(r.FormValue("type")),
		Channel: r.FormValue("channel"), Limit: limit,
	}
	letters, err := s.Webhooks.Dead(f)
	s.outcome(w, letters, err)
}

func (s *Server) replay(w http.ResponseWriter, r *http.Request) {
	if s.Webhooks == nil {
		absent(w, "webhooks")
		return
	}
	var f WebhookFilter
	if !decode(w, r, &f) {
		return
	}
	if f.Limit < 0 || f.Type != "" && !slices.Contains(proxy.WebhookTypes(), f.Type) {
		fail(w, http.StatusBadRequest, "limit must not be negative, and type must be the name of a webhook event", "leave them out for all")
		return
	}
	n, err := s.Webhooks.Replay(r.Context(), f)
	if err != nil {
		s.failure(w, err)
		return
	}
	s.Log.Info().Int("letters", n).Str("app", clip(f.App, 128)).Str("remote", r.RemoteAddr).Msg("dead letters replayed")
	s.reply(w, http.StatusOK, struct {
		Replayed int `json:"replayed"`
	}{n})
}

// kindsOf reads ?kinds=published,delivered.
func kindsOf(w http.ResponseWriter, r *http.Request) (proxy.Kinds, bool) {
	text := r.FormValue("kinds")
	if text == "" {
		return 0, true
	}
	var kinds proxy.Kinds
	for _, name := range strings.Split(text, ",") {
		kind, ok := kindByName(name)
		if !ok {
			fail(w, http.StatusBadRequest, "there is no kind of record "+clip(name, 40), "use some of "+strings.Join(kindNames(), ","))
			return 0, false
		}
		kinds |= proxy.KindsOf(kind)
	}
	return kinds, true
}

func kindByName(name string) (proxy.Kind, bool) {
	i := slices.Index(kindNames(), name)
	return proxy.Kind(max(i, 0)), i >= 0
}

func kindNames() []string {
	var names []string
	for k := proxy.Kind(0); proxy.AllKinds.Has(k); k++ {
		names = append(names, k.String())
	}
	return names
}
