package session

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

type metrics struct {
	open    *prometheus.GaugeVec
	opens   *prometheus.CounterVec
	closes  *prometheus.CounterVec
	refuses *prometheus.CounterVec
	panics  prometheus.Counter
}

func newMetrics() metrics {
	byTransport := []string{"app", "transport"}
	return metrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "offramp_connections", Help: "Open client connections."}, byTransport),
		opens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_connections_opened_total", Help: "Client connections that were established."}, byTransport),
		closes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_connections_closed_total", Help: "Client connections that ended, by close code; 1006 stands for a lost connection."},
			[]string{"app", "transport", "code"}),
		refuses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_connections_refused_total", Help: "Connection attempts that were refused, by close code. app is empty for an unknown one."},
			[]string{"app", "transport", "code"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "offramp_connection_panics_total", Help: "Connections that were ended because handling them panicked."}),
	}
}

func (m *metrics) opened(s *Session) {
	m.open.WithLabelValues(s.app.ID, s.transport).Inc()
	m.opens.WithLabelValues(s.app.ID, s.transport).Inc()
}

func (m *metrics) closed(s *Session, code int) {
	m.open.WithLabelValues(s.app.ID, s.transport).Dec()
	m.closes.WithLabelValues(s.app.ID, s.transport, codeLabel(code)).Inc()
}

func (m *metrics) refused(app *proxy.App, c proxy.Client, err *protocol.Error) {
	id := ""
	if app != nil {
		id = app.ID
	}
	m.refuses.WithLabelValues(id, c.Transport, strconv.Itoa(err.Code)).Inc()
}

// codeLabel keeps the number of label values small: peers may send any code.
// Told apart are those of RFC 6455 and those that the gateway closes with.
func codeLabel(code int) string {
	switch code {
	case 0:
		return "1006"
	case protocol.CodeUnauthorized, protocol.CodeOverCapacity, protocol.CodeReconnect, protocol.CodePongTimeout:
		return strconv.Itoa(code)
	}
	if code >= 1000 && code <= 1015 {
		return strconv.Itoa(code)
	}
	return "other"
}

var _ prometheus.Collector = (*Server)(nil)

// Describe implements prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.metrics.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.metrics.all() {
		c.Collect(ch)
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.open, m.opens, m.closes, m.refuses, m.panics}
}
