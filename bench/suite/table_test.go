package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/offramp/offramp/bench"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func result(server string, deliveries, cpu float64, p99 int64) line {
	return line{Case: "fanout-1000", Result: bench.Result{
		Server: server, Test: "fanout", DeliveriesPerSecond: deliveries, CPUPerMillion: cpu,
		Latency: &bench.Latency{P50: p99 / 2, P99: p99},
	}}
}

func TestPrintTable(t *testing.T) {
	wrong := result(centrifugo, 300_000, 3, 100_000)
	wrong.Result.Lost, wrong.Result.Duplicated = 3, 1
	disturbed := result(offramp, 900_000, 0.9, 15_000)
	disturbed.Disturbed = true
	lines := []line{
		result(offramp, 1_200_000, 0.8, 14_000), disturbed, result(offramp, 1_300_000, 0.7, 13_000),
		result(soketi, 130_000, 7.6, 76_000), result(soketi, 120_000, 7.8, 78_000),
		wrong,
		result(floorJoined, 1_500_000, 0.6, 12_000),
	}
	var got bytes.Buffer
	printTable(&got, lines)
	golden := filepath.Join("testdata", "table.golden")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("table:\n%s\nwant:\n%s", &got, want)
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		sorted []float64
		want   float64
	}{{[]float64{4}, 4}, {[]float64{1, 3}, 2}, {[]float64{1, 2, 90}, 2}} {
		if got := median(tc.sorted); got != tc.want {
			t.Errorf("median(%v) = %v, want %v", tc.sorted, got, tc.want)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{
		1_234_567: "1.23M", 56_789: "57k", 5_678: "5678", 123.4: "123", 1.2345: "1.23", 0.01: "0.01", 0: "0",
	} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %s, want %s", v, got, want)
		}
	}
}

// TestCases: every case can be run, and its bars name servers that run in it.
func TestCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range everyCase() {
		if seen[c.name] {
			t.Errorf("two cases are called %s", c.name)
		}
		seen[c.name] = true
		if _, err := bench.DefaultLoad(c.load.Test); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		servers := map[string]bool{"": true}
		for _, name := range c.servers {
			servers[name] = true
		}
		for _, b := range c.bars {
			if !servers[b.peer] {
				t.Errorf("%s: a bar is held against %s, which does not run", c.name, b.peer)
			}
		}
	}
}
