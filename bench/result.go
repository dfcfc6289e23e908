package bench

import (
	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is a distribution in microseconds.
type Latency struct {
	P50  int64 `json:"p50_us"`
	P99  int64 `json:"p99_us"`
	P999 int64 `json:"p999_us"`
	Max  int64 `json:"max_us"`
}

func quantiles(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	return &Latency{
		P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99),
		P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	}
}

// Result is one line of output. A field that a test does not measure is left out.
type Result struct {
	Server  string  `json:"server"`
	Test    string  `json:"test"`
	Seconds float64 `json:"seconds"` // of measuring

	// Delivering tests.
	DeliveriesPerSecond float64  `json:"deliveries_per_s,omitempty"`
	EventsPerSecond     float64  `json:"events_per_s,omitempty"` // published
	Latency             *Latency `json:"latency,omitempty"`      // of deliveries; publish test: of answers
	CPUPerMillion       float64  `json:"cpu_s_per_million,omitempty"`
	CPUShare            float64  `json:"cpu_share,omitempty"` // of one CPU
	RSS                 int64    `json:"rss_bytes,omitempty"`
	FramesPerRead       float64  `json:"frames_per_read,omitempty"` // as many as the server joined in a write, at least

	// Correctness.
	Lost       int64  `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	Disordered uint64 `json:"disordered"`
	Unknown    uint64 `json:"unknown"`
	Failed     uint64 `json:"failed_requests"`
	Closed     int    `json:"closed_clients"` // by the server, unasked
	Trouble    string `json:"trouble,omitempty"`

	// Idle and churn tests.
	BaseRSS              int64   `json:"base_rss_bytes,omitempty"`
	BytesPerClient       float64 `json:"bytes_per_client,omitempty"`
	BytesPerSubscription float64 `json:"bytes_per_subscription,omitempty"`
	RSSAfterLeaving      int64   `json:"rss_after_leaving_bytes,omitempty"`
	IdleCPU              float64 `json:"idle_cpu,omitempty"` // share of one CPU
	ClientsPerSecond     float64 `json:"clients_per_s,omitempty"`
	CPUPerClient         float64 `json:"cpu_us_per_client,omitempty"`
	DescriptorsBefore    int     `json:"descriptors_before,omitempty"`
	DescriptorsAfter     int     `json:"descriptors_after,omitempty"`

	// Presence and storm tests.
	JoinSeconds  float64  `json:"join_s,omitempty"`  // until every member knows every member
	LeaveSeconds float64  `json:"leave_s,omitempty"` // until the rest knows who left
	OneJoin      *Latency `json:"one_join,omitempty"`
	BackSeconds  float64  `json:"back_s,omitempty"` // storm: until the last client is back
	Back         *Latency `json:"back,omitempty"`   // storm: each client
	Retries      int      `json:"retries,omitempty"`

	// Slow-consumer test.
	Before      *Latency `json:"before,omitempty"` // with everybody reading
	SlowClients int      `json:"slow_clients,omitempty"`
	SlowClosed  int      `json:"slow_closed,omitempty"` // of those, by the server
	RSSPeak     int64    `json:"rss_peak_bytes,omitempty"`

	// The generator itself: far below 1 means that it waited for the server.
	ReadsPerPoll float64 `json:"generator_reads_per_poll"`
}
