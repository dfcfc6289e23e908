package admin

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// live answers while the process does.
func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, struct {
		Live    bool      `json:"live"`
		Version string    `json:"version"`
		Since   time.Time `json:"since"`
	}{true, s.Version, s.started})
}

// ready answers 200 while the gateway can take connections, and 503 with the
// reasons while it cannot: starting, draining, a broker that is away.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	reasons := []string{}
	if s.Ready != nil {
		reasons = append(reasons, s.Ready(r.Context())...)
	}
	var warnings []string
	if s.Warnings != nil {
		warnings = s.Warnings(r.Context())
	}
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	s.reply(w, status, struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons"`
		// Warnings keep nobody away: every node would have them.
		Warnings []string `json:"warnings,omitempty"`
	}{len(reasons) == 0, reasons, warnings})
}

// exposition serves metrics to Prometheus.
func (s *Server) exposition() http.HandlerFunc {
	if s.Metrics == nil {
		return func(w http.ResponseWriter, _ *http.Request) { absent(w, "metrics") }
	}
	return promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{
		ErrorLog:            standardLog(s.Log),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 8,
		Timeout:             writeTimeout / 2,
	}).ServeHTTP
}
