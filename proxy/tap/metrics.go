package tap

import "github.com/prometheus/client_golang/prometheus"

// Tap's own counters, read when scraped.
var (
	offeredDesc = prometheus.NewDesc("offramp_tap_offered_total", "Records offered to a watcher.", []string{"sink"}, nil)
	droppedDesc = prometheus.NewDesc("offramp_tap_dropped_total", "Records that a watcher had no room for.", []string{"sink"}, nil)
)

var _ prometheus.Collector = (*Tap)(nil)

// Describe implements prometheus.Collector.
func (t *Tap) Describe(ch chan<- *prometheus.Desc) {
	ch <- offeredDesc
	ch <- droppedDesc
}

// Collect implements prometheus.Collector.
func (t *Tap) Collect(ch chan<- prometheus.Metric) {
	for _, w := range t.watchers {
		ch <- prometheus.MustNewConstMetric(offeredDesc, prometheus.CounterValue, float64(w.offered.Load()), w.Name)
		ch <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(w.dropped.Load()), w.Name)
	}
}

// Metrics of a Feed, read when scraped.
var (
	feedSubscribersDesc = prometheus.NewDesc("offramp_tap_feed_subscribers", "Subscribers of the live feed.", nil, nil)
	feedDroppedDesc     = prometheus.NewDesc("offramp_tap_feed_dropped_total", "Records pushed out of a live feed subscriber's full queue by newer ones.", nil, nil)
)

var _ prometheus.Collector = (*Feed)(nil)

// Describe implements prometheus.Collector.
func (f *Feed) Describe(ch chan<- *prometheus.Desc) {
	ch <- feedSubscribersDesc
	ch <- feedDroppedDesc
}

// Collect implements prometheus.Collector.
func (f *Feed) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(feedSubscribersDesc, prometheus.GaugeValue, float64(len(*f.subscribers.Load())))
	ch <- prometheus.MustNewConstMetric(feedDroppedDesc, prometheus.CounterValue, float64(f.dropped.Load()))
}
