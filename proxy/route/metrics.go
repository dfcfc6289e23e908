package route

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offramp/offramp/proxy"
)

var stageDesc = prometheus.NewDesc("offramp_stage",
	"Stage of an app, and of the channels of its rules: 1 observe, 2 shadow, 3 mirror, 4 canary, 5 cutover, 6 exited.",
	[]string{"app", "channels"}, nil)

var shareDesc = prometheus.NewDesc("offramp_stage_canary_percent",
	"Share that a canary puts on the engine.", []string{"app", "channels"}, nil)

var _ prometheus.Collector = (*Router)(nil)

// Describe implements prometheus.Collector.
func (r *Router) Describe(ch chan<- *prometheus.Desc) {
	ch <- stageDesc
	ch <- shareDesc
}

// Collect implements prometheus.Collector.
func (r *Router) Collect(ch chan<- prometheus.Metric) {
	for _, app := range r.settings.Apps.All() {
		p := r.Position(app)
		ch <- prometheus.MustNewConstMetric(stageDesc, prometheus.GaugeValue, float64(p.Stage), app.ID, "")
		for i, rule := range p.Rules {
			if slices.ContainsFunc(p.Rules[:i], func(r proxy.Rule) bool { return r.Channels == rule.Channels }) {
				continue // never reached
			}
			ch <- prometheus.MustNewConstMetric(stageDesc, prometheus.GaugeValue, float64(rule.Stage), app.ID, rule.Channels)
			if rule.Stage == proxy.StageCanary {
				ch <- prometheus.MustNewConstMetric(shareDesc, prometheus.GaugeValue, float64(rule.Percent), app.ID, rule.Channels)
			}
		}
	}
}
