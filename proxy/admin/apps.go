package admin

import (
	"net/http"
	"net/url"

	"github.com/offramp/offramp/proxy"
)

// appView is an app as the API shows it: no secrets.
type appView struct {
	ID      string   `json:"id"`
	Keys    []string `json:"keys"`
	Enabled bool     `json:"enabled"`

	ClientEvents          bool     `json:"client_events"`
	SubscriptionCounting  bool     `json:"subscription_counting"`
	Watchlist             bool     `json:"watchlist"`
	AuthorizedConnections bool     `json:"authorized_connections"`
	TLSOnly               bool     `json:"tls_only"`
	Origins               []string `json:"origins"`

	ActivityTimeout float64    `json:"activity_timeout_seconds"`
	Limits          limitsView `json:"limits"`

	Upstream *upstreamView `json:"upstream"`
	Stage    proxy.Stage   `json:"stage"` // as configured; /stage has the current one
	Rules    []ruleView    `json:"rules"`
	Backends []backendView `json:"backends"`
	Webhooks []webhookView `json:"webhooks"`

	Stats Stats `json:"stats"`
}

type limitsView struct {
	Connections           int `json:"connections"`
	EventBytes            int `json:"event_bytes"`
	ClientEventsPerSecond int `json:"client_events_per_second"`
	PresenceMembers       int `json:"presence_members"`
	PresenceUserInfoBytes int `json:"presence_user_info_bytes"`
	ChannelNameLength     int `json:"channel_name_length"`
	PublishesPerSecond    int `json:"publishes_per_second"`
}

type upstreamView struct {
	WebSocket string `json:"websocket"`
	API       string `json:"api"`
}

type ruleView struct {
	Channels string       `json:"channels"`
	Stage    proxy.Stage  `json:"stage"`
	Percent  int          `json:"percent,omitempty"`
	By       proxy.Sticky `json:"by,omitempty"`
}

type backendView struct {
	Name     string     `json:"name"`
	Plugin   string     `json:"plugin"`
	Role     proxy.Role `json:"role"`
	Channels []string   `json:"channels"`
	Sample   float64    `json:"sample"`
}

type webhookView struct {
	URL    string              `json:"url"`
	Events []proxy.WebhookType `json:"events"`
	Batch  bool                `json:"batch"`
}

func (s *Server) listApps(w http.ResponseWriter, _ *http.Request) {
	views := []appView{}
	for _, app := range s.Apps.All() {
		views = append(views, s.view(app))
	}
	s.reply(w, http.StatusOK, views)
}

func (s *Server) showApp(w http.ResponseWriter, r *http.Request) {
	if app, ok := s.app(w, r); ok {
		s.reply(w, http.StatusOK, s.view(app))
	}
}

// app returns the app that the path names, or answers that there is none.
func (s *Server) app(w http.ResponseWriter, r *http.Request) (*proxy.App, bool) {
	id := r.PathValue("id")
	app, ok := s.Apps.ByID(id)
	if !ok {
		fail(w, http.StatusNotFound, "there is no app "+clip(id, 100), "GET /api/v1/apps lists them")
	}
	return app, ok
}

func (s *Server) view(app *proxy.App) appView {
	v := appView{
		ID: app.ID, Enabled: app.Enabled,
		ClientEvents: app.ClientEvents, SubscriptionCounting: app.SubscriptionCounting, Watchlist: app.Watchlist,
		AuthorizedConnections: app.AuthorizedConnections, TLSOnly: app.TLSOnly,
		Origins:         append([]string{}, app.Origins...),
		ActivityTimeout: app.ActivityTimeout.Seconds(),
		Limits:          limitsView(app.Limits),
		Stage:           app.Stage,
		Rules:           []ruleView{}, Backends: []backendView{}, Webhooks: []webhookView{},
	}
	for _, c := range app.Credentials {
		v.Keys = append(v.Keys, c.Key)
	}
	if u := app.Upstream; u != nil {
		v.Upstream = &upstreamView{redact(u.WebSocket), redact(u.API)}
	}
	for _, rule := range app.Rules {
		v.Rules = append(v.Rules, ruleView(rule))
	}
	for _, b := range app.Backends {
		v.Backends = append(v.Backends, backendView{b.Name, b.Plugin, b.Role, b.Channels, b.Sample})
	}
	for _, h := range app.Webhooks {
		v.Webhooks = append(v.Webhooks, webhookView{redact(h.URL), h.Events, h.Batch})
	}
	if s.Traffic != nil {
		v.Stats = s.Traffic.Stats(app.ID)
	}
	return v
}

// redact removes what may be secret in a URL: password and query.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.RawQuery = ""
	return u.Redacted()
}
