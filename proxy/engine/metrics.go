package engine

import "github.com/prometheus/client_golang/prometheus"

var _ prometheus.Collector = (*Engine)(nil)

// The metrics of an engine, read off its live state when they are asked for.
var (
	descConnections   = desc("connections", "Open client connections.", "app")
	descChannels      = desc("channels", "Occupied channels.", "app")
	descSubscriptions = desc("subscriptions", "Subscriptions of connections to channels.", "app")
	descEvents        = desc("events_total", "Events accepted, per channel.", "app", "publisher")
	descDeliveries    = desc("deliveries_total", "Event frames queued for subscribers.", "app")
	descRefusals      = desc("refusals_total", "Commands and connections refused.", "app")
	descBackendErrors = desc("backend_errors_total", "Calls of the broker or presence that failed.")
	descWaiting       = desc("waiting", "Entries that wait to fall due.", "for")
	descDraining      = desc("draining", "1 while connections are being drained.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("offramp_engine_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (e *Engine) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descConnections, descChannels, descSubscriptions, descEvents, descDeliveries, descRefusals,
		descBackendErrors, descWaiting, descDraining,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for app, t := range *e.tenants.Load() {
		s := t.stats()
		gauge(descConnections, s.Connections, app)
		gauge(descChannels, s.Channels, app)
		gauge(descSubscriptions, s.Subscriptions, app)
		counter(descEvents, s.ServerEvents, app, "server")
		counter(descEvents, s.ClientEvents, app, "client")
		counter(descDeliveries, s.Deliveries, app)
		counter(descRefusals, s.Refusals, app)
	}
	counter(descBackendErrors, e.backendErrors.Load())
	gauge(descWaiting, e.unauthorised.len(), "authorisation")
	gauge(descWaiting, e.counts.len(), "subscription_count")
	gauge(descWaiting, e.repairs.len(), "repair")
	draining := 0
	if e.Draining() {
		draining = 1
	}
	gauge(descDraining, draining)
}
