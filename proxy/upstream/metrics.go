package upstream

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	open       *prometheus.GaugeVec
	dials      *prometheus.CounterVec
	closes     *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	up, down   prometheus.Counter // of bytes
	calls      *prometheus.CounterVec
	lost       *prometheus.CounterVec
	bridged    *prometheus.CounterVec
	repeated   *prometheus.CounterVec
	hooks      *prometheus.CounterVec
	loops      *prometheus.CounterVec
	trouble    *prometheus.CounterVec
	stragglers *prometheus.GaugeVec
}

func newMetrics() *metrics {
	m := &metrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "offramp_upstream_connections", Help: "Relayed client connections."}, []string{"app"}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_upstream_dials_total", Help: "Connections to the upstream, by what came of them."}, []string{"app", "result"}),
		closes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_upstream_closed_total", Help: "Relayed connections that ended, by close code; 1006 stands for a lost connection."}, []string{"app", "code"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_upstream_bytes_total", Help: "Bytes that were relayed, to the upstream (up) and to clients (down)."}, []string{"direction"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_upstream_calls_total", Help: "HTTP API calls that were forwarded, by the upstream's status, or what went wrong."}, []string{"app", "result"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offramp_upstream_lost_total", Help: "Frames that were not watched and events that were not copied, as there were too many at once or the other side did not take them."}, []string{"app"}),
	}
	m.bridged = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "offramp_upstream_bridged_total", Help: "Events brought from here to the upstream (up) and from there to here (down)."}, []string{"app", "direction"})
	m.repeated = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "offramp_upstream_repeated_total", Help: "Copies that were brought to the upstream once more, as it did not say whether it had taken them."}, []string{"app"})
	m.hooks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "offramp_upstream_webhooks_total", Help: "Webhooks of the upstream that came here, by the status they were answered with."}, []string{"app", "status"})
	m.loops = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "offramp_upstream_loops_total", Help: "Calls, connections and events that were stopped because they had been here before."}, []string{"app"})
	m.trouble = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "offramp_upstream_trouble_total", Help: "Trouble that was met at the upstream: down, slow, over quota, connection limit, credentials, certificate, loop."}, []string{"app", "kind"})
	m.stragglers = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "offramp_upstream_stragglers", Help: "Channels that were still occupied at the upstream when the tripwire after the exit looked last."}, []string{"app"})
	m.up, m.down = m.bytes.WithLabelValues("up"), m.bytes.WithLabelValues("down")
	return m
}

// closed counts an end. Peers may send any code: only known ones have a label
// of their own.
func (m *metrics) closed(app string, code int) {
	label := "other"
	switch {
	case code == 0:
		label = "1006"
	case code >= 1000 && code <= 1015, code >= 4000 && code <= 4399:
		label = strconv.Itoa(code)
	}
	m.closes.WithLabelValues(app, label).Inc()
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.open, m.dials, m.closes, m.bytes, m.calls, m.lost, m.bridged, m.repeated, m.hooks, m.loops, m.trouble, m.stragglers}
}

var _ prometheus.Collector = (*Relay)(nil)

// Of copies that are kept on disk, read when scraped.
var (
	waitingDesc = prometheus.NewDesc("offramp_upstream_copies_waiting", "Copies that wait to be brought to the upstream, on disk.", []string{"app"}, nil)
	unkeptDesc  = prometheus.NewDesc("offramp_upstream_copies_unkept_total", "Copies that waited in memory only: there was no room for them on disk, or it could not be written.", []string{"app"}, nil)
)

// Describe implements prometheus.Collector.
func (r *Relay) Describe(ch chan<- *prometheus.Desc) {
	ch <- waitingDesc
	ch <- unkeptDesc
	for _, c := range r.metrics.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (r *Relay) Collect(ch chan<- prometheus.Metric) {
	for _, app := range r.settings.Apps.All() {
		if app.Upstream != nil {
			waiting, unkept := r.settings.Feed.spooled(app.ID)
			ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(waiting), app.ID)
			ch <- prometheus.MustNewConstMetric(unkeptDesc, prometheus.CounterValue, float64(unkept), app.ID)
		}
	}
	for _, c := range r.metrics.all() {
		c.Collect(ch)
	}
}
