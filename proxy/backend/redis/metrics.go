package redis

import "github.com/prometheus/client_golang/prometheus"

var _ prometheus.Collector = (*Backend)(nil)

var (
	descUp       = desc("up", "1 while the node is one with the others.", "part")
	descReaped   = desc("reaped_total", "Entries of dead nodes that this one has removed.")
	descFenced   = desc("fenced_total", "Times that this node was taken for dead by the others.")
	descRefused  = desc("refused_frames_total", "Messages on the bus that were no events.")
	descReplayed = desc("replayed_events_total", "Events that others published while this node had no link to Redis, and that came late.")
	descGaps     = desc("gaps_total", "Times that events may have been missed for good, and clients were sent away.")
	descWaiting  = desc("own_events", "Events published here that have not come back from Redis yet.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("offramp_redis_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (b *Backend) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descUp, descReaped, descFenced, descRefused, descReplayed, descGaps, descWaiting} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *Backend) Collect(ch chan<- prometheus.Metric) {
	up := func(part string, err error) {
		v := 1.0
		if err != nil {
			v = 0
		}
		ch <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, v, part)
	}
	up("bus", b.Broker.Healthy())
	up("presence", b.Ledger.Healthy())
	counter := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	counter(descReaped, b.Ledger.reaped.Load())
	counter(descFenced, b.Ledger.fenced.Load())
	counter(descRefused, b.Broker.refused.Load())
	counter(descReplayed, b.Broker.replayed.Load())
	counter(descGaps, b.Broker.gaps.Load())
	b.Broker.mu.Lock()
	waiting := len(b.Broker.own)
	b.Broker.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descWaiting, prometheus.GaugeValue, float64(waiting))
}
