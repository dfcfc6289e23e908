package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/shadow/report"
)

// clusterReport asks one node for the report on all.
func clusterReport(t *testing.T, g *harness.Gateway) *report.Report {
	t.Helper()
	text, _ := adminGet(t, g, "/api/v1/apps/"+harness.AppID+"/report")
	r := new(report.Report)
	if err := json.Unmarshal([]byte(text), r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return r
}

// move asks a node for a move, and returns its answer.
func move(t *testing.T, g *harness.Gateway, change string) (answer string, status int) {
	t.Helper()
	return adminDo(t, g, http.MethodPut, "/api/v1/apps/"+harness.AppID+"/stage", change)
}

// compared is how many events of a channel pattern or name a report has.
func compared(r *report.Report, channel string) (n int64) {
	for _, p := range r.Pairs {
		for i := range p.Cells {
			if c := &p.Cells[i]; c.Pattern == channel {
				n += c.Expected + c.Unknown
			}
		}
	}
	return n
}

// TestGatesReadTheEvidenceOfAllNodes: a move on one node is judged by what all
// have seen, and one of which nothing is known keeps it from being made.
func TestGatesReadTheEvidenceOfAllNodes(t *testing.T) {
	vendor := harness.Start(t, harness.DefaultApps)
	nodes, _ := startCluster(t, 2, strings.TrimRight(harness.DefaultApps, "\n")+fmt.Sprintf(`
    stage: shadow
    upstream: {websocket: "ws://%s", api: "http://%s"}
`, vendor.Addr, vendor.Addr))
	for i, channel := range []string{"here", "there"} {
		conn := connect(t, nodes[i])
		subscribe(t, conn, channel)
		for n := range 3 {
			trigger(t, nodes[i], channel, "n", n)
			if frame := readEvent(t, conn); !strings.Contains(frame, channel) {
				t.Fatalf("got %s", frame)
			}
		}
	}
	whole := func() {
		t.Helper()
		for _, g := range nodes {
			patiently(t, "a report has what both nodes have seen", func() bool {
				r := clusterReport(t, g)
				return len(r.Run.Nodes) == 2 && len(r.Run.MissingNodes) == 0 && compared(r, "here") >= 3 && compared(r, "there") >= 3
			})
		}
	}
	whole()
	if out, _ := run(t, "report", "--admin", "http://"+nodes[1].Admin); !strings.Contains(out, "as 2 of 2 nodes saw it") {
		t.Errorf("the report does not say whose it is:\n%s", out)
	}

	// A node sleeps for less than its lease: it lives, and says nothing.
	asleep := func(change string) (string, int) {
		t.Helper()
		nodes[1].Signal(t, syscall.SIGSTOP)
		defer nodes[1].Signal(t, syscall.SIGCONT)
		return move(t, nodes[0], change)
	}
	answer, status := asleep(`{"stage":"mirror","who":"drill"}`)
	if status != http.StatusConflict || !strings.Contains(answer, "the evidence of a node is missing") || !strings.Contains(answer, nodes[1].Addr) {
		t.Errorf("a move without the evidence of a node is answered with %d: %s", status, answer)
	}
	whole()
	if answer, status = asleep(`{"stage":"mirror","who":"drill","force":true}`); status != http.StatusOK {
		t.Errorf("with force it is answered with %d: %s", status, answer)
	}
	if history, _ := adminGet(t, nodes[0], "/api/v1/apps/"+harness.AppID+"/stage"); !strings.Contains(history, "the evidence of a node is missing") {
		t.Errorf("the journal does not say what was overridden: %s", history)
	}
	patiently(t, "the node that slept is moved", func() bool { return stageOf(t, nodes[1]).Stage == "mirror" })

	nodes[1].Stop(t)
	if r := clusterReport(t, nodes[0]); len(r.Run.Nodes) != 1 || len(r.Run.MissingNodes) != 0 {
		t.Errorf("after a node has ended, the report is on %q without %q", r.Run.Nodes, r.Run.MissingNodes)
	}
}
