package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/offramp/offramp/bench"
)

// The gateway with a backend, as servers of their own beside the one without.
const (
	mirrored    = "mirrored" // every publish copied
	shadowed    = "shadowed" // copied, observed and compared
	mirrorSlow  = "slow"     // each call takes its time
	mirrorHung  = "hung"     // no call returns
	mirrorFroze = "frozen"   // the process is stopped under load
	mirrorKill  = "killed"   // it kills itself under load, each time it is started
	mirrorGreed = "greedy"   // it burns a CPU beside its work
)

// backends says how each of them differs: the backend's role, and what the
// plugin bench/sink does.
var backends = map[string]struct{ role, mode string }{
	mirrored: {"mirror", "well"}, shadowed: {"shadow", "well"}, mirrorSlow: {"mirror", "slow"}, mirrorHung: {"mirror", "hung"},
	mirrorFroze: {"mirror", "frozen"}, mirrorKill: {"mirror", "killed"}, mirrorGreed: {"mirror", "greedy"},
}

const backendConfig = `    backends:
      - name: sink
        plugin: %s
        role: %s
        channels: ["*"]
        settings: {mode: %s}
`

// withBackend returns the configuration of a gateway with that backend.
func (p programs) withBackend(name, dir string) (string, error) {
	plugin, err := filepath.Abs(p.sink)
	if err != nil {
		return "", fmt.Errorf("find the plugin: %w", err)
	}
	b := backends[name]
	return fmt.Sprintf(offrampConfig, filepath.Join(dir, "data")) + fmt.Sprintf(backendConfig, plugin, b.role, b.mode), nil
}

// mirroringCases show what a backend costs the gateway, and what one that
// misbehaves costs its clients. The plugin shares the gateway's CPU, which is
// the worst that can happen to either.
func mirroringCases() []benchCase {
	well := []string{offramp, mirrored, shadowed}
	everyone := append([]string{offramp}, slices.Sorted(maps.Keys(backends))...)
	throughput, latencies := []metric{deliveries, p50, p99, cpu}, []metric{p50, p99, cpu}
	costs := func(name string, l bench.Load) benchCase {
		return benchCase{name: name, load: l, servers: well, metrics: throughput, bars: []bar{
			atLeast(deliveries, 0.9, offramp).of(mirrored), atLeast(deliveries, 0.9, offramp).of(shadowed),
			atMost(cpu, 1.1, offramp).of(mirrored), atMost(cpu, 1.1, offramp).of(shadowed),
		}}
	}
	harm := benchCase{
		name: "backend-rate", load: with("rate", func(l *bench.Load) { l.Rate, l.Subscribers = 500, 100 }),
		servers: everyone, metrics: latencies,
	}
	for _, name := range everyone[1:] {
		harm.bars = append(harm.bars, atMost(p99, 1.1, offramp).of(name))
	}
	return []benchCase{
		costs("backend-fanout-1000", with("fanout", nil)),
		costs("backend-fanout-100", with("fanout", func(l *bench.Load) { l.Subscribers = 100 })),
		{
			name: "backend-publish", load: with("publish", nil), servers: well, metrics: []metric{events, p50, p99, cpu}, bars: []bar{
				atLeast(events, 0.9, offramp).of(mirrored), atLeast(events, 0.9, offramp).of(shadowed),
				atMost(cpu, 1.1, offramp).of(mirrored), atMost(cpu, 1.1, offramp).of(shadowed),
			},
		},
		harm,
	}
}

// everyCase is what results may be of.
func everyCase() []benchCase { return slices.Concat(allCases(), mirroringCases(), curveCases()) }
