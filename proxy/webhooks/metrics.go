package webhooks

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events       *prometheus.CounterVec
	attempts     *prometheus.CounterVec
	dead         *prometheus.CounterVec
	discarded    *prometheus.CounterVec
	dropped      prometheus.Counter
	commitErrors prometheus.Counter
	commit       prometheus.Histogram
	delivery     prometheus.Histogram
}

func newMetrics() *metrics {
	receiver := []string{"app", "receiver"}
	return &metrics{
		events:       counters("offramp_webhook_events_total", "Webhook events accepted for at least one receiver.", "app", "type"),
		attempts:     counters("offramp_webhook_attempts_total", "Tries to deliver a request, by how they ended: delivered, refused (not 2xx), timeout, network, forbidden (address not allowed).", append(receiver, "result")...),
		dead:         counters("offramp_webhook_dead_letters_total", "Events that became dead letters.", receiver...),
		discarded:    counters("offramp_webhook_discarded_total", "Dead letters discarded because their room was full.", receiver...),
		dropped:      prometheus.NewCounter(prometheus.CounterOpts{Name: "offramp_webhook_dropped_total", Help: "Records lost because the queue to the outbox was full."}),
		commitErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "offramp_webhook_commit_errors_total", Help: "Failed transactions of the outbox; each is tried again."}),
		commit:       histogram("offramp_webhook_commit_seconds", "Duration of the outbox's transactions.", 0.0005),
		delivery:     histogram("offramp_webhook_delivery_seconds", "Time from an event's acceptance to its delivery.", 0.002),
	}
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// histogram has buckets that double from least seconds, 18 of them.
func histogram(name, help string, least float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(least, 2, 18)})
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.events, m.attempts, m.dead, m.discarded, m.dropped, m.commitErrors, m.commit, m.delivery}
}

// Gauges of each receiver, read when scraped.
var (
	pendingDesc      = receiverDesc("offramp_webhook_pending_events", "Events on disk that wait for delivery.")
	pendingBytesDesc = receiverDesc("offramp_webhook_pending_bytes", "What they occupy.")
	deadDesc         = receiverDesc("offramp_webhook_dead_letters", "Dead letters kept.")
	downDesc         = receiverDesc("offramp_webhook_receiver_down", "1 while nothing gets through to a receiver.")
)

func receiverDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"app", "receiver"}, nil)
}

var _ prometheus.Collector = (*Outbox)(nil)

// Describe implements prometheus.Collector.
func (o *Outbox) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range o.metrics.all() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{pendingDesc, pendingBytesDesc, deadDesc, downDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (o *Outbox) Collect(ch chan<- prometheus.Metric) {
	for _, c := range o.metrics.all() {
		c.Collect(ch)
	}
	for _, s := range o.Status() {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.App, s.Receiver)
		}
		gauge(pendingDesc, float64(s.Pending))
		gauge(pendingBytesDesc, float64(s.PendingBytes))
		gauge(deadDesc, float64(s.Dead))
		if s.Down {
			gauge(downDesc, 1)
		} else {
			gauge(downDesc, 0)
		}
	}
}
