package host_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
)

// counter counts records of the kinds that a benchmark waits for.
type counter struct{ mirrored, delivered atomic.Int64 }

func (c *counter) Offer(r proxy.Record) bool {
	switch r.Kind {
	case proxy.KindMirrored:
		c.mirrored.Add(1)
	case proxy.KindDelivered:
		c.delivered.Add(1)
	}
	return true
}

// BenchmarkBoundary publishes events of 512 bytes on 100 channels through a
// plugin process and waits for every answer, and, where it is observed, every
// delivery.
func BenchmarkBoundary(b *testing.B) {
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true})
	if err != nil {
		b.Fatal(err)
	}
	server.Start()
	defer server.Shutdown()
	server.ReadyForConnections(10 * time.Second)
	for _, bench := range []struct {
		name     string
		plugin   string
		role     proxy.Role
		settings map[string]any
	}{
		{"backend=none/observed=no", "sink", proxy.RoleMirror, nil},
		{"backend=none/observed=yes", "sink", proxy.RoleShadow, nil},
		{"backend=nats/observed=no", "nats", proxy.RoleMirror, map[string]any{"url": server.ClientURL()}},
		{"backend=nats/observed=yes", "nats", proxy.RoleShadow, map[string]any{"url": server.ClientURL()}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			benchmarkBoundary(b, proxy.Backend{
				Name: "candidate", Plugin: bench.plugin, Role: bench.role, Channels: []string{"*"}, Sample: 1, Settings: bench.settings,
			})
		})
	}
}

func benchmarkBoundary(b *testing.B, backend proxy.Backend) {
	executable, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	out := &counter{}
	h, stop := start(b, host.Settings{
		Bindings: []host.Binding{{App: "app", Backend: backend}}, Executable: executable, Builtins: []string{"nats", "sink"},
		Out: out, Log: zerolog.Nop(), QueueBytes: 1 << 30,
	})
	defer stop()
	var p publisher
	data := string(make([]byte, 512))
	channels := make([]string, 100)
	for i := range channels {
		channels[i] = fmt.Sprintf("private-room.%d", i)
	}
	offer := func(n int) {
		for i := range n {
			for r := p.publish(channels[i%len(channels)], "message", data); !h.Offer(r); {
				time.Sleep(100 * time.Microsecond) // a publisher that is pushed back
			}
		}
	}
	offer(len(channels))
	waitFor(b, "the first answers", func() bool { return out.mirrored.Load() == int64(len(channels)) })
	b.ReportAllocs()
	b.ResetTimer()
	offer(b.N)
	want := int64(b.N + len(channels))
	waitFor(b, "all answers", func() bool { return out.mirrored.Load() == want })
	if backend.Role == proxy.RoleShadow {
		waitFor(b, "all deliveries", func() bool { return out.delivered.Load() == want })
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
