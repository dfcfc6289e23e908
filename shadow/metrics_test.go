package shadow

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsTellWhatTheCellsTell(t *testing.T) {
	withComparator(t, Config{}, func(ctx context.Context, c *Comparator) {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		exchange(c, 1, time.Millisecond)
		exchange(c, 2, time.Millisecond)
		exchange(c, 3, time.Hour)
		if err := c.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		const want = `
# HELP offramp_shadow_matched_total Events that the candidate delivered with the same bytes.
# TYPE offramp_shadow_matched_total counter
offramp_shadow_matched_total{app="app-id",candidate="nats",reference="engine"} 2
# HELP offramp_shadow_missing_total Events that the candidate took and did not deliver.
# TYPE offramp_shadow_missing_total counter
offramp_shadow_missing_total{app="app-id",candidate="nats",reference="engine"} 1
# HELP offramp_shadow_records_total Records offered to the comparator.
# TYPE offramp_shadow_records_total counter
offramp_shadow_records_total 11
`
		err := testutil.GatherAndCompare(registry, strings.NewReader(want),
			"offramp_shadow_matched_total", "offramp_shadow_missing_total", "offramp_shadow_records_total")
		if err != nil {
			t.Error(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		legs := make(map[string]uint64)
		for _, f := range families {
			if f.GetName() != "offramp_shadow_latency_seconds" {
				continue
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "leg" {
						legs[l.GetValue()] = m.GetHistogram().GetSampleCount()
					}
				}
			}
		}
		if legs["engine"] != 2 || legs["nats"] != 2 {
			t.Errorf("latencies of %v events, want 2 on each leg", legs)
		}
		time.Sleep(time.Hour)
	})
}
