package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/offramp/offramp/bench"
)

// curve varies one quantity of a test and leaves the rest.
type curve struct {
	name    string // of its cases, before the number
	what    string // what is varied
	test    string
	points  []int
	set     func(l *bench.Load, n int)
	metrics []metric
}

// allCurves shows how Offramp's cost grows. They run with -curves.
func allCurves() []curve {
	delivering := []metric{deliveries, p50, p99, cpu, rss}
	return []curve{
		{"subscribers-", "subscribers of one channel, 128 bytes, 16 in flight", "fanout",
			[]int{1, 10, 100, 1000, 5000, 10_000},
			func(l *bench.Load, n int) { l.Subscribers = n }, delivering},
		{"payload-", "bytes of an event's data, 1,000 subscribers, 16 in flight", "fanout",
			[]int{16, 128, 512, 1024, 2048, 5120, 10_240},
			func(l *bench.Load, n int) { l.Payload = n }, delivering},
		{"channels-", "channels published to in turn, one subscriber each", "channels",
			[]int{1, 10, 100, 1000, 10_000, 100_000},
			func(l *bench.Load, n int) { l.Channels, l.Subscribers = n, min(n, 10_000) }, delivering},
		{"connections-", "idle clients, each subscribed to its own channel", "idle",
			[]int{100, 1000, 5000, 10_000, 15_000},
			func(l *bench.Load, n int) { l.Subscribers, l.Extra = n, 0 }, []metric{rss, perClient, rate, idleCPU}},
	}
}

// cases returns the curve's points as cases that Offramp runs alone.
func (c curve) cases() []benchCase {
	list := make([]benchCase, len(c.points))
	for i, n := range c.points {
		list[i] = benchCase{
			name: c.caseName(n), servers: []string{offramp}, metrics: c.metrics,
			load: with(c.test, func(l *bench.Load) { c.set(l, n) }),
		}
	}
	return list
}

func (c curve) caseName(n int) string { return fmt.Sprintf("curve-%s%d", c.name, n) }

func curveCases() []benchCase {
	var list []benchCase
	for _, c := range allCurves() {
		list = append(list, c.cases()...)
	}
	return list
}

// printCurves prints a table of medians for each curve that was run.
func printCurves(w io.Writer, lines []line) {
	for _, c := range allCurves() {
		tab := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
		empty := true
		for _, n := range c.points {
			var runs []line
			for _, l := range lines {
				if l.Case == c.caseName(n) {
					runs = append(runs, l)
				}
			}
			if len(runs) == 0 {
				continue
			}
			if empty {
				c.printHead(w, tab)
				empty = false
			}
			fmt.Fprintf(tab, "| %d\t", n)
			for _, m := range c.metrics {
				fmt.Fprintf(tab, "| %s\t", figure(median(sorted(m, runs))))
			}
			fmt.Fprintf(tab, "| %d\t|\n", wrongDeliveries(runs))
		}
		// The writer below decides whether printing works; there is nobody to tell.
		_ = tab.Flush()
	}
}

func (c curve) printHead(w io.Writer, tab *tabwriter.Writer) {
	fmt.Fprintf(w, "\n## %s\n\n", c.what)
	fmt.Fprintf(tab, "| %s\t", strings.TrimSuffix(c.name, "-"))
	for _, m := range c.metrics {
		fmt.Fprintf(tab, "| %s\t", heading(m))
	}
	fmt.Fprintf(tab, "| lost, doubled, out of order\t|\n|---\t%s|---\t|\n", strings.Repeat("|---\t", len(c.metrics)))
}
