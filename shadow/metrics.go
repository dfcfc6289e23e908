package shadow

import (
	"github.com/prometheus/client_golang/prometheus"
)

// The comparator's metrics. Those of a pair are labelled with the app, the
// reference and the candidate.
var (
	pairLabels = []string{"app", "reference", "candidate"}

	pairCounters = []struct {
		desc *prometheus.Desc
		of   func(*Counts) int64
	}{
		{pairDesc("expected_total", "Events compared."), func(c *Counts) int64 { return c.Expected }},
		{pairDesc("matched_total", "Events that the candidate delivered with the same bytes."), func(c *Counts) int64 { return c.Matched }},
		{pairDesc("missing_total", "Events that the candidate took and did not deliver."), func(c *Counts) int64 { return c.Missing }},
		{pairDesc("duplicate_total", "Further deliveries of an event by the candidate."), func(c *Counts) int64 { return c.Duplicate }},
		{pairDesc("reordered_total", "Events that the candidate delivered out of order."), func(c *Counts) int64 { return c.Reordered }},
		{pairDesc("payload_differs_total", "Events that the candidate delivered with other bytes."), func(c *Counts) int64 { return c.PayloadDiffers }},
		{pairDesc("extra_total", "Events that only the candidate delivered."), func(c *Counts) int64 { return c.Extra }},
		{pairDesc("unknown_total", "Events that could not be compared."), func(c *Counts) int64 { return c.Unknown }},
		{pairDesc("decisions_differ_total", "Questions that the legs decided differently."), differentDecisions},
		{pairDesc("webhooks_matched_total", "Webhooks that both legs sent, or would have."), func(c *Counts) int64 { return c.Webhooks.Matched }},
		{pairDesc("webhooks_differ_total", "Webhooks that only one leg sent, or would have, of what both should tell."), differentWebhooks},
		{pairDesc("presence_episodes_total", "Stretches of presence divergence beyond the grace."), func(c *Counts) int64 { return c.Presence.Episodes }},
	}
	rejectedDesc = prometheus.NewDesc("offramp_shadow_rejected_total", "Events that the candidate refused, by result code.",
		append(pairLabels[:3:3], "code"), nil)
	divergenceDesc = pairDesc("presence_divergence_ratio", "Mean divergence of presence member sets over the evidence held.")

	latencyDesc = prometheus.NewDesc("offramp_shadow_latency_seconds", "Time from publish to delivery on a leg, of the events of a pair.",
		append(pairLabels[:3:3], "leg"), nil)

	recordsDesc = prometheus.NewDesc("offramp_shadow_records_total", "Records offered to the comparator.", nil, nil)
	shedDesc    = prometheus.NewDesc("offramp_shadow_shed_total", "Records dropped because the comparator's queue was full.", nil, nil)
	lagDesc     = prometheus.NewDesc("offramp_shadow_lag_seconds", "Age of the oldest record when the queue was last emptied.", nil, nil)
	openDesc    = prometheus.NewDesc("offramp_shadow_open", "Events and arrivals whose comparison is open.", nil, nil)
)

func pairDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("offramp_shadow_"+name, help, pairLabels, nil)
}

// Describe implements prometheus.Collector.
func (c *Comparator) Describe(out chan<- *prometheus.Desc) {
	for _, counter := range pairCounters {
		out <- counter.desc
	}
	for _, d := range []*prometheus.Desc{rejectedDesc, divergenceDesc, latencyDesc, recordsDesc, shedDesc, lagDesc, openDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector. Counters count since the start of
// the evidence that the journal held when the process began.
func (c *Comparator) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	totals, open, lag := c.state.ledger.totals(), c.state.open, c.lag
	c.mu.Unlock()
	offered, shed := c.queue.totals()
	out <- prometheus.MustNewConstMetric(recordsDesc, prometheus.CounterValue, float64(offered))
	out <- prometheus.MustNewConstMetric(shedDesc, prometheus.CounterValue, float64(shed))
	out <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, lag.Seconds())
	out <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(open))
	for pair, counts := range totals {
		labels := []string{pair.App, string(pair.Reference), string(pair.Candidate)}
		for _, counter := range pairCounters {
			out <- prometheus.MustNewConstMetric(counter.desc, prometheus.CounterValue, float64(counter.of(counts)), labels...)
		}
		for code, n := range counts.Rejected {
			out <- prometheus.MustNewConstMetric(rejectedDesc, prometheus.CounterValue, float64(n), append(labels[:3:3], code)...)
		}
		if d := counts.Delays; d != nil {
			out <- histogram(d.Reference[:], d.ReferenceSum, append(labels[:3:3], string(pair.Reference))...)
			out <- histogram(d.Candidate[:], d.CandidateSum, append(labels[:3:3], string(pair.Candidate))...)
		}
		if p := counts.Presence; p.Seconds > 0 {
			out <- prometheus.MustNewConstMetric(divergenceDesc, prometheus.GaugeValue, p.Divergence/p.Seconds, labels...)
		}
	}
}

// histogram turns the classes of delays into Prometheus's cumulative buckets.
func histogram(classes []uint64, sum float64, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(legEdges))
	var count uint64
	for i, n := range classes {
		count += n
		if i < len(legEdges) {
			buckets[legEdges[i].Seconds()] = count
		}
	}
	return prometheus.MustNewConstHistogram(latencyDesc, count, sum, buckets, labels...)
}

func differentDecisions(c *Counts) int64 {
	var n int64
	for both, k := range c.Decisions {
		if reference, candidate := SplitDecision(both); allows(reference) != allows(candidate) {
			n += k
		}
	}
	return n
}

func differentWebhooks(c *Counts) int64 { return c.Webhooks.Missing + c.Webhooks.Extra }

func allows(decision string) bool { return decision == "allow" }
