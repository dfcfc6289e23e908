package front

import "github.com/prometheus/client_golang/prometheus"

var (
	connectionsDesc = prometheus.NewDesc("offramp_http_connections", "Open connections of the public port that ask for HTTP, or have not asked yet.", nil, nil)
	panicsDesc      = prometheus.NewDesc("offramp_http_panics_total", "Requests that ended with status 500 because answering them panicked.", nil, nil)
)

var _ prometheus.Collector = (*Front)(nil)

// Describe implements prometheus.Collector.
func (f *Front) Describe(ch chan<- *prometheus.Desc) {
	ch <- connectionsDesc
	ch <- panicsDesc
}

// Collect implements prometheus.Collector.
func (f *Front) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(max(f.server.GetOpenConnectionsCount(), 0)))
	ch <- prometheus.MustNewConstMetric(panicsDesc, prometheus.CounterValue, float64(f.panics.Load()))
}
