package httpapi

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec // by resource and status
	limited  *prometheus.CounterVec // by app
	skew     prometheus.Histogram
	done     map[*resource]prometheus.Counter // requests that were done
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_http_requests_total", Help: "Requests to the HTTP API that were answered.",
		}, []string{"resource", "status"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_http_publishes_limited_total", Help: "Publishes refused because the app published more events a second than it may.",
		}, []string{"app"}),
		skew: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "offramp_http_clock_skew_seconds", Help: "How much older than this clock the accepted signatures' timestamps were; refused from 600 on.",
			Buckets: []float64{-300, -60, -10, -2, 2, 10, 60, 300},
		}),
		done: map[*resource]prometheus.Counter{},
	}
	for _, res := range []*resource{
		&eventsResource, &batchResource, &channelsResource, &channelResource,
		&usersResource, &terminateResource, &legacyResource, &statsResource,
	} {
		m.done[res] = m.requests.WithLabelValues(res.name, strconv.Itoa(res.status))
	}
	return m
}

func (m *metrics) refused(resource string, status int) {
	m.requests.WithLabelValues(resource, strconv.Itoa(status)).Inc()
}

var _ prometheus.Collector = (*API)(nil)

// Describe implements prometheus.Collector.
func (a *API) Describe(ch chan<- *prometheus.Desc) {
	a.metrics.requests.Describe(ch)
	a.metrics.limited.Describe(ch)
	a.metrics.skew.Describe(ch)
}

// Collect implements prometheus.Collector.
func (a *API) Collect(ch chan<- prometheus.Metric) {
	a.metrics.requests.Collect(ch)
	a.metrics.limited.Collect(ch)
	a.metrics.skew.Collect(ch)
}
