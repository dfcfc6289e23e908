package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/integration/harness"
)

// stageSeen is what a node's admin API says of the app's stage.
type stageSeen struct {
	Stage   string
	Behind  string
	History []struct{ Seq, Undoes uint64 }
}

func stageOf(t *testing.T, g *harness.Gateway) (seen stageSeen) {
	t.Helper()
	text, _ := adminGet(t, g, "/api/v1/apps/"+harness.AppID+"/stage")
	if err := json.Unmarshal([]byte(text), &seen); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return seen
}

func adminGet(t *testing.T, g *harness.Gateway, path string) (body string, status int) {
	t.Helper()
	return adminDo(t, g, http.MethodGet, path, "")
}

// adminDo asks an admin listener, with JSON if there is some.
func adminDo(t *testing.T, g *harness.Gateway, method, path, body string) (answer string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.Admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), resp.StatusCode
}

// TestAStageIsOneOnAllNodes: a move on one node is everybody's, also of one
// that comes later, and nothing is moved while not all could be told.
func TestAStageIsOneOnAllNodes(t *testing.T) {
	vendor := harness.Start(t, harness.DefaultApps)
	nodes, redis := startCluster(t, 2, strings.TrimRight(harness.DefaultApps, "\n")+fmt.Sprintf(`
    stage: observe
    upstream: {websocket: "ws://%s", api: "http://%s"}
`, vendor.Addr, vendor.Addr))
	all := func(want string, moves int) {
		t.Helper()
		for i, g := range nodes {
			patiently(t, fmt.Sprintf("node %d is at %s after %d moves", i, want, moves), func() bool {
				s := stageOf(t, g)
				return s.Stage == want && len(s.History) == moves
			})
		}
	}
	relayed := connect(t, nodes[1])
	stage(t, nodes[0], "set", "cutover", "--force")
	all("cutover", 1)
	if err := ending(relayed); !websocket.IsCloseError(err, 4200) {
		t.Errorf("the other node's client ended with %v, want to be told to come back", err)
	}
	here, there := connect(t, nodes[1]), connect(t, vendor)
	subscribe(t, here, "news")
	subscribe(t, there, "news")
	trigger(t, nodes[0], "news", "n", 1)
	expect(t, here, "n", 1)
	expect(t, there, "n", 1)

	stage(t, nodes[1], "rollback")
	all("observe", 2)
	if s := stageOf(t, nodes[0]); s.History[1].Seq != 2 || s.History[1].Undoes != 1 {
		t.Errorf("the journal of the first node has %+v", s.History)
	}

	nodes[1].Kill(t)
	stage(t, nodes[0], "set", "shadow")
	nodes[1].Run(t)
	if s := stageOf(t, nodes[1]); s.Stage != "shadow" || len(s.History) != 3 {
		t.Errorf("a node that is ready again is at %s, after %d moves", s.Stage, len(s.History))
	}

	// One node is given another configuration, and then both.
	differs := func(node int) bool {
		ready, status := adminGet(t, nodes[node], "/ready")
		return status == http.StatusOK && strings.Contains(ready, "other nodes are at other stages") && strings.Contains(ready, nodes[1-node].Addr)
	}
	rewrite(t, nodes[0], "stage: observe", "stage: mirror")
	patiently(t, "both nodes say that they differ", func() bool { return differs(0) && differs(1) })
	rewrite(t, nodes[1], "stage: observe", "stage: mirror")
	patiently(t, "both nodes agree", func() bool {
		metrics, _ := adminGet(t, nodes[0], "/metrics")
		return !differs(0) && !differs(1) && strings.Contains(metrics, "offramp_stage_disagreeing_nodes 0")
	})
	for _, g := range nodes {
		rewrite(t, g, "stage: mirror", "stage: observe")
	}
	all("shadow", 3)

	redis.kill()
	out, status := run(t, "stage", "set", "observe", "--admin", "http://"+nodes[0].Admin)
	if status != 3 || !strings.Contains(out, "nothing can be moved now") {
		t.Errorf("without Redis a move ends with %d: %s", status, out)
	}
	for i, g := range nodes {
		patiently(t, fmt.Sprintf("node %d says that it may be behind", i), func() bool {
			ready, _ := adminGet(t, g, "/ready")
			return stageOf(t, g).Behind != "" && strings.Contains(ready, "nothing can be moved now")
		})
	}
	all("shadow", 3)

	redis.start() // with nothing in it
	patiently(t, "moves are made again", func() bool {
		_, status := run(t, "stage", "rollback", "--admin", "http://"+nodes[1].Admin)
		return status == 0
	})
	all("observe", 4)
}
