package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// describedMetric takes apart what prometheus.Desc prints of itself, which is
// the only way to a description's name.
var describedMetric = regexp.MustCompile(`fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", (?:unit: "[^"]*", )?constLabels: \{[^}]*\}, variableLabels: \{([^}]*)\}`)

// described lists the metrics of our own that a gateway has, each as a row of
// the catalogue.
func described(t *testing.T) []string {
	t.Helper()
	config, err := demoConfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config.Cluster.Redis = &configs.Redis{URL: proxy.NewSecret("redis://127.0.0.1:1/0")} // is not asked
	g, err := newGateway(config, gatewayOptions{log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		g.metrics.Describe(descriptions)
	}()
	var rows []string
	for d := range descriptions {
		m := describedMetric.FindStringSubmatch(d.String())
		switch {
		case m == nil:
			t.Errorf("a metric describes itself as %s", d)
		case strings.HasPrefix(m[1], "go_") || strings.HasPrefix(m[1], "process_"):
		case !strings.HasPrefix(m[1], "offramp_"):
			t.Errorf("%s does not begin with offramp_", m[1])
		case m[2] == "":
			t.Errorf("%s has no help text", m[1])
		default:
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", m[1], strings.ReplaceAll(m[3], ",", ", "), m[2]))
		}
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

// TestMetrics: dashboards and alerts rely on names and labels, so a change of
// any shows as a change of the catalogue in docs/operations.md, which -update
// rewrites.
func TestMetrics(t *testing.T) {
	const (
		page  = "../../docs/operations.md"
		begin = "| metric | labels | meaning |\n|---|---|---|\n"
		end   = "\n\n"
	)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	if !found {
		t.Fatalf("%s has no catalogue of metrics", page)
	}
	want, after, _ := strings.Cut(rest, end)
	got := strings.Join(described(t), "\n")
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+got+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		want = got
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the catalogue of metrics in %s (-documented +real), rewritten by go test ./cmd/offramp -run TestMetrics -update:\n%s", page, diff)
	}
}
