package upstream_test

import (
	"slices"
	"sync"
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
			reportP99(b, took)
		})
	}
}

func reportP99(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkRelayCrowd is the same for a hundred clients who ask at their own
// times, 2000 times a second together.
func BenchmarkRelayCrowd(b *testing.B) {
	const clients, each = 100, 50 * time.Millisecond
	for _, way := range []string{"direct", "relayed"} {
		b.Run("way="+way, func(b *testing.B) {
			r := open(b, proxy.StageObserve)
			addr := r.gateway.addr
			if way == "direct" {
				addr = r.vendor.addr
			}
			var asking sync.WaitGroup
			took := make([][]time.Duration, clients)
			for i := range clients {
				c := dial(b, addr, query)
				asking.Go(func() {
					time.Sleep(each * time.Duration(i) / clients)
					due := time.NewTicker(each)
					defer due.Stop()
					for range max(b.N/clients, 1) {
						<-due.C
						start := time.Now()
						c.send(`{"event":"pusher:ping","data":{}}`)
						if _, err := c.read(); err != nil {
							b.Error(err)
							return
						}
						took[i] = append(took[i], time.Since(start))
					}
				})
			}
			asking.Wait()
			reportP99(b, slices.Concat(took...))
		})
	}
}
