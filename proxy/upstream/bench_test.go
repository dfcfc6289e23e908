package upstream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// BenchmarkRelay asks the vendor and waits for its answer, directly and
// through a raw relay: the difference is what the relay adds to both ways.
func BenchmarkRelay(b *testing.B) {
	for _, way := range []string{"direct", "relayed", "shadowed"} {
		b.Run("way="+way, func(b *testing.B) {
			stage := proxy.StageObserve
			if way == "shadowed" {
				stage = proxy.StageShadow
			}
			r := open(b, stage)
			addr := r.gateway.addr
			if way == "direct" {
				addr = r.vendor.addr
			}
			c := dial(b, addr, query)
			took := make([]time.Duration, 0, 1<<16)
			for b.Loop() {
				start := time.Now()
				c.send(`{"event":"pusher:ping","data":{}}`)
				c.await("pusher:pong")
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
