package host

import (
	"github.com/prometheus/client_golang/prometheus"
)

// descs are the metrics of a host, each with the labels app and backend.
var descs = struct {
	up, healthy, restarts, quarantined, queued, outstanding, channels, results, refusals, dropped, resent, delivered, gaps,
	swaps, refused, denied, calls, failures, pending, cut, circled, bridged, withheld, loops, open *prometheus.Desc
}{
	up:          desc("up", "1 while the plugin process runs and its session is open."),
	healthy:     desc("healthy", "1 while the plugin says that its backend is reachable."),
	restarts:    desc("restarts_total", "Starts of the plugin after a failure."),
	quarantined: desc("quarantined", "1 while the plugin is down because it failed too often."),
	queued:      desc("queue_items", "Events waiting for the plugin."),
	outstanding: desc("outstanding_items", "Events with the plugin, not answered."),
	channels:    desc("channels", "Channels observed on the backend."),
	results:     desc("results_total", "Answers for events, by result code.", "code"),
	refusals:    desc("refused_total", "Answers that the gateway gave in the plugin's place, as events exceed what it takes."),
	dropped:     desc("dropped_total", "Events dropped because the queue was full or the plugin quarantined."),
	resent:      desc("resent_total", "Events sent again after the plugin died."),
	delivered:   desc("delivered_total", "Events observed on the backend."),
	gaps:        desc("gaps_total", "Stretches reported as not observed."),
	swaps:       desc("swaps_total", "Times that a new executable of the plugin took over from the old one."),
	refused:     desc("swaps_refused_total", "Times that a new executable was not fit to take over, and the old one went on."),
	denied:      desc("channels_denied", "Channels not observed because the plugin declares that it can observe no more."),
	calls:       desc("presence_calls_total", "Sets of a channel's members that the backend has taken."),
	failures:    desc("presence_failures_total", "Calls with a channel's members that failed and are made again."),
	pending:     desc("presence_pending_channels", "Channels whose members are to be told to the backend."),
	cut:         desc("presence_cut_total", "Members left out, as the backend takes no more on a channel."),
	circled:     desc("circled_total", "Events not sent to the backend as they had come through too many gateways."),
	bridged:     desc("bridged_total", "Events of the backend that a bridge has brought to clients."),
	withheld:    desc("withheld_total", "Events of the backend that a bridge has not brought to clients, by reason.", "reason"),
	loops:       desc("loops_total", "How often the loop breaker of the app's bridges has opened for a channel."),
	open:        desc("loop_open_channels", "Channels for which the loop breaker is open."),
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("offramp_plugin_"+name, help, append([]string{"app", "backend"}, labels...), nil)
}

var _ prometheus.Collector = (*Host)(nil)

// Describe implements prometheus.Collector.
func (*Host) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descs.up, descs.healthy, descs.restarts, descs.quarantined, descs.queued, descs.outstanding, descs.channels, descs.results,
		descs.refusals, descs.dropped, descs.resent, descs.delivered, descs.gaps, descs.swaps, descs.refused,
		descs.denied, descs.calls, descs.failures, descs.pending, descs.cut, descs.circled, descs.bridged, descs.withheld, descs.loops, descs.open,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (h *Host) Collect(out chan<- prometheus.Metric) {
	for _, s := range h.Status() {
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.App, s.Backend)
		}
		counter := func(d *prometheus.Desc, v uint64, labels ...string) {
			labels = append([]string{s.App, s.Backend}, labels...)
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
		}
		gauge(descs.up, truth(s.State == StateRunning))
		gauge(descs.healthy, truth(s.State == StateRunning && s.Healthy))
		gauge(descs.quarantined, truth(s.State == StateQuarantined))
		gauge(descs.queued, float64(s.Queued))
		gauge(descs.outstanding, float64(s.Outstanding))
		gauge(descs.channels, float64(s.Channels))
		gauge(descs.denied, float64(s.ChannelsDenied))
		counter(descs.restarts, uint64(s.Restarts))
		for code, n := range s.Results {
			counter(descs.results, n, code)
		}
		counter(descs.refusals, s.Refused)
		counter(descs.dropped, s.Dropped)
		counter(descs.resent, s.Resent)
		counter(descs.delivered, s.Delivered)
		counter(descs.gaps, s.Gaps)
		counter(descs.swaps, uint64(s.Swaps))
		counter(descs.refused, uint64(s.SwapsRefused))
		if p := s.Presence; p != nil {
			counter(descs.calls, p.Calls)
			counter(descs.failures, p.Failures)
			counter(descs.cut, p.Cut)
			gauge(descs.pending, float64(p.Pending))
		}
		counter(descs.circled, s.Circled)
		if b := s.Bridge; b != nil {
			counter(descs.bridged, b.Published)
			for reason, n := range b.Withheld {
				counter(descs.withheld, n, reason)
			}
			counter(descs.loops, b.Loops)
			gauge(descs.open, float64(len(b.Open)))
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
