package main

import (
	"time"

	"github.com/offramp/offramp/bench"
)

// metric reads one figure of a result.
type metric struct {
	name  string
	unit  string
	value func(bench.Result) float64
}

var (
	deliveries = metric{"deliveries", "/s", func(r bench.Result) float64 { return r.DeliveriesPerSecond }}
	events     = metric{"events", "/s", func(r bench.Result) float64 { return r.EventsPerSecond }}
	p50        = metric{"p50", "µs", func(r bench.Result) float64 { return latency(r.Latency).p50 }}
	p99        = metric{"p99", "µs", func(r bench.Result) float64 { return latency(r.Latency).p99 }}
	cpu        = metric{"CPU", "s/M", func(r bench.Result) float64 { return r.CPUPerMillion }}
	perClient  = metric{"memory a client", "B", func(r bench.Result) float64 { return r.BytesPerClient }}
	perChannel = metric{"memory a further subscription", "B", func(r bench.Result) float64 { return r.BytesPerSubscription }}
	rss        = metric{"RSS", "B", func(r bench.Result) float64 { return float64(r.RSS) }}
	rate       = metric{"whole clients", "/s", func(r bench.Result) float64 { return r.ClientsPerSecond }}
	idleCPU    = metric{"idle CPU", "of one", func(r bench.Result) float64 { return r.IdleCPU }}
	joinTime   = metric{"all joined", "s", func(r bench.Result) float64 { return r.JoinSeconds }}
	oneJoin    = metric{"one join, p99", "µs", func(r bench.Result) float64 { return latency(r.OneJoin).p99 }}
	leaveTime  = metric{"half left", "s", func(r bench.Result) float64 { return r.LeaveSeconds }}
	backTime   = metric{"all back", "s", func(r bench.Result) float64 { return r.BackSeconds }}
	slowRatio  = metric{"p99 with slow readers / before", "", func(r bench.Result) float64 {
		return latency(r.Latency).p99 / max(latency(r.Before).p99, 1)
	}}
	slowClosed = metric{"slow readers closed", "of all", func(r bench.Result) float64 {
		return float64(r.SlowClosed) / max(float64(r.SlowClients), 1)
	}}
	keptMemory = metric{"RSS after / before", "", func(r bench.Result) float64 {
		return float64(r.RSSAfterLeaving) / max(float64(r.BaseRSS), 1)
	}}
	keptFiles = metric{"descriptors after - before", "", func(r bench.Result) float64 {
		return float64(r.DescriptorsAfter - r.DescriptorsBefore)
	}}
)

type percentiles struct{ p50, p99 float64 }

func latency(l *bench.Latency) percentiles {
	if l == nil {
		return percentiles{}
	}
	return percentiles{float64(l.P50), float64(l.P99)}
}

// bar is a ratio that Offramp is to reach: at least, or at most, factor
// times the peer's figure. Without a peer, factor is the figure itself.
type bar struct {
	metric  metric
	atLeast bool
	factor  float64
	peer    string
	server  string // that is to reach it
}

func atLeast(m metric, factor float64, peer string) bar { return bar{m, true, factor, peer, offramp} }
func atMost(m metric, factor float64, peer string) bar  { return bar{m, false, factor, peer, offramp} }

// of returns the bar for another server than Offramp alone.
func (b bar) of(server string) bar {
	b.server = server
	return b
}

// benchCase is one row of the table.
type benchCase struct {
	name     string
	load     bench.Load
	unpinned bool
	servers  []string
	metrics  []metric
	bars     []bar
}

// with returns the default load of a test, changed.
func with(test string, change func(*bench.Load)) bench.Load {
	l, err := bench.DefaultLoad(test)
	if err != nil {
		return bench.Load{Test: test} // refused by the generator, by name
	}
	l.Spin = true
	if change != nil {
		change(&l)
	}
	return l
}

// allCases is the side-by-side table with the bars the project has set itself.
func allCases() []benchCase {
	return append(fanoutCases(), append(publishCases(), connectionCases()...)...)
}

func fanoutCases() []benchCase {
	throughput := []metric{deliveries, p50, p99, cpu}
	return []benchCase{
		{"fanout-1000", with("fanout", nil), false, allServers, throughput, []bar{
			atLeast(deliveries, 9, soketi), atLeast(deliveries, 3.3, centrifugo),
			atLeast(deliveries, 1, uws), atLeast(deliveries, 0.9, floorJoined),
			atMost(p99, 0.2, centrifugo), atMost(cpu, 0.11, soketi),
		}},
		{"fanout-100", with("fanout", func(l *bench.Load) { l.Subscribers = 100 }), false, allServers, throughput, []bar{
			atLeast(deliveries, 8, soketi), atLeast(deliveries, 1.35, centrifugo), atLeast(deliveries, 0.8, uws),
		}},
		{"fanout-5000", with("fanout", func(l *bench.Load) { l.Subscribers = 5000 }), false, allServers, throughput, []bar{
			atLeast(deliveries, 9, soketi), atLeast(deliveries, 2.5, centrifugo), atLeast(deliveries, 0.8, uws),
		}},
		{"fanout-window-64", with("fanout", func(l *bench.Load) { l.Publishers, l.Window = 64, 64 }), false, allServers, throughput, []bar{
			atLeast(deliveries, 33, soketi), atLeast(deliveries, 10, centrifugo),
		}},
		{"fanout-window-1", with("fanout", func(l *bench.Load) { l.Publishers, l.Window = 1, 1 }), false, allServers, throughput, []bar{
			atLeast(deliveries, 1.4, soketi), atLeast(deliveries, 1.4, centrifugo), atLeast(deliveries, 0.85, floorJoined),
		}},
		{"fanout-2kB", with("fanout", func(l *bench.Load) { l.Payload = 2048 }), false, allServers, throughput, []bar{
			atLeast(deliveries, 10, soketi), atLeast(deliveries, 2.5, centrifugo),
		}},
		{"rate-50-to-1000", with("rate", nil), false, allServers, throughput, []bar{
			atMost(p50, 0.75, soketi), atMost(p99, 0.75, soketi),
		}},
		{"rate-500-to-100", with("rate", func(l *bench.Load) { l.Rate, l.Subscribers = 500, 100 }), false, allServers, throughput, []bar{
			atMost(p99, 0.25, soketi), atMost(p99, 0.8, centrifugo),
		}},
		{"fanout-unpinned", with("fanout", func(l *bench.Load) { l.Spin = false }), true, allServers, throughput, []bar{
			atLeast(deliveries, 11, soketi), atLeast(deliveries, 1.1, uws),
		}},
	}
}

func publishCases() []benchCase {
	withoutJoined := []string{offramp, soketi, centrifugo, uws, floorWrite}
	return []benchCase{
		{"client-events", with("client-events", nil), false, withoutJoined, []metric{deliveries, p50, p99, cpu}, []bar{
			atLeast(deliveries, 7, soketi), atLeast(deliveries, 1, centrifugo), atLeast(deliveries, 0.4, uws),
		}},
		{"channels-2000", with("channels", nil), false, withoutJoined, []metric{deliveries, p50, p99, cpu}, []bar{
			atLeast(deliveries, 3.5, soketi), atLeast(deliveries, 1.55, centrifugo),
		}},
		{"publish", with("publish", nil), false, withoutJoined, []metric{events, p50, p99, cpu}, []bar{
			atLeast(events, 4.5, soketi), atLeast(events, 1.5, centrifugo),
		}},
		{"publish-batch-10", with("publish", func(l *bench.Load) { l.Batch = 10 }), false, withoutJoined, []metric{events, p50, p99, cpu}, []bar{
			atLeast(events, 3.2, soketi), atLeast(events, 2.4, centrifugo),
		}},
	}
}

func connectionCases() []benchCase {
	withoutJoined := []string{offramp, soketi, centrifugo, uws, floorWrite}
	return []benchCase{
		{"idle-10000", with("idle", nil), false, withoutJoined,
			[]metric{perClient, rss, perChannel, rate, idleCPU, keptMemory}, []bar{
				atMost(perClient, 6000, ""), atMost(perClient, 0.1, centrifugo), atMost(rss, 0.5, soketi),
				atLeast(rate, 1.8, centrifugo), atMost(idleCPU, 0.02, ""), atMost(perChannel, 350, ""),
			}},
		{"presence-500", with("presence", nil), false, []string{offramp, soketi},
			[]metric{joinTime, oneJoin, leaveTime}, []bar{
				atMost(joinTime, 0.35, soketi), atMost(oneJoin, 0.65, soketi), atMost(leaveTime, 0.35, soketi),
			}},
		{"storm-5000", with("storm", nil), false, withoutJoined, []metric{backTime}, []bar{
			atMost(backTime, 0.15, soketi), atMost(backTime, 0.65, centrifugo),
		}},
		{"storm-9000", with("storm", func(l *bench.Load) { l.Subscribers = 9000 }), false, withoutJoined, []metric{backTime}, []bar{
			atMost(backTime, 0.6, centrifugo),
		}},
		{"slow-readers", with("slow", nil), false, []string{offramp},
			[]metric{slowRatio, slowClosed, p99}, []bar{
				atMost(slowRatio, 1.2, ""), atLeast(slowClosed, 1, ""),
			}},
		{"churn", with("churn", func(l *bench.Load) { l.Duration = 20 * time.Second }), false, []string{offramp, centrifugo},
			[]metric{rate, keptMemory, keptFiles}, []bar{
				atMost(keptMemory, 1.05, ""), atMost(keptFiles, 0, ""),
			}},
	}
}
