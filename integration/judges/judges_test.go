package judges

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offramp/offramp/integration/conformance"
	"github.com/offramp/offramp/integration/harness"
)

// patience bounds one rig.
const patience = 4 * time.Minute

// TestJudges runs every rig against one gateway, at the same time, as
// customers would.
func TestJudges(t *testing.T) {
	hooks := newHooks(t)
	gateway := harness.Start(t, harness.DefaultApps+hooks.config())
	node := func(args ...string) func(*testing.T) {
		return func(t *testing.T) { judge(t, gateway, hooks, "node", "node", args...) }
	}
	rigs := map[string]func(*testing.T){
		"pusher-js 8":  node("pusher-js.mjs", "pusher-js"),
		"pusher-js 7":  node("pusher-js.mjs", "pusher-js-7"),
		"pusher-js 4":  node("pusher-js.mjs", "pusher-js-4"),
		"laravel-echo": node("echo.mjs"),
		"npm pusher":   node("server.mjs"),
		"pip pusher": func(t *testing.T) {
			judge(t, gateway, hooks, "python", filepath.Join("venv", "bin", "python"), "server.py")
		},
		"pip pysher": func(t *testing.T) {
			judge(t, gateway, hooks, "python", filepath.Join("venv", "bin", "python"), "client.py")
		},
		"java": func(t *testing.T) {
			judge(t, gateway, hooks, "java", "java", "-cp", filepath.Join("target", "dependency", "*"), "Judge.java")
		},
		"go":                       func(t *testing.T) { goServer(t, gateway, hooks) },
		"pusher-js 8 in a browser": func(t *testing.T) { browser(t, gateway, "pusher-js") },
		"pusher-js 4 in a browser": func(t *testing.T) { browser(t, gateway, "pusher-js-4") },
	}
	for name, run := range rigs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}

// check is one line of a rig.
type check struct {
	ID     string `json:"id"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

var conformanceID = regexp.MustCompile(`^T\d{3}$`)

// judge runs a rig in a folder beside this file and makes a subtest of each
// of its checks.
func judge(t *testing.T, gateway *harness.Gateway, hooks *hooks, dir, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if strings.ContainsRune(program, filepath.Separator) {
		program = filepath.Join(absolute(t, dir), program)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), environment(t, gateway, hooks)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the rig: %v; integration/judges/install.sh installs what it needs", err)
	}
	done := report(t, out)
	if err := cmd.Wait(); err != nil || !done {
		t.Errorf("the rig ended early: %v\n%s", err, stderr.String())
	}
}

func absolute(t *testing.T, dir string) string {
	t.Helper()
	path, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// report makes subtests of a rig's lines, and reports whether it came to its
// end. Lines that are no checks are the SDK's own chatter.
func report(t *testing.T, out io.Reader) (done bool) {
	t.Helper()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c check
		if json.Unmarshal(lines.Bytes(), &c) != nil || c.ID == "" {
			t.Logf("%s", lines.Text())
			continue
		}
		if c.ID == "done" {
			return true
		}
		t.Run(c.ID, func(t *testing.T) {
			if id, _, _ := strings.Cut(c.ID, " "); conformanceID.MatchString(id) {
				conformance.Record(t, id)
			}
			if !c.OK {
				t.Error(c.Detail)
			}
		})
	}
	return false
}

func environment(t *testing.T, gateway *harness.Gateway, hooks *hooks) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(gateway.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"JUDGE_HOST=" + host, "JUDGE_PORT=" + port, "JUDGE_APP_ID=" + harness.AppID, "JUDGE_KEY=" + harness.Key,
		"JUDGE_SECRET=" + harness.Secret, "JUDGE_WEBHOOKS=" + hooks.url + "/received",
	}
}

// hooks is the customer's webhook receiver. It takes down every request and
// leaves it to the rigs' SDKs to say whether it is valid.
type hooks struct {
	url string

	mu       sync.Mutex
	requests []hookRequest
}

// hookRequest is a webhook request as received.
type hookRequest struct {
	Key         string `json:"key"`
	Signature   string `json:"signature"`
	ContentType string `json:"content_type"`
	Body        string `json:"body"`
}

func newHooks(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hooks", h.receive)
	mux.HandleFunc("GET /received", h.list)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	h.url = srv.URL
	return h
}

// config is the webhooks section of an app: one receiver of each kind.
func (h *hooks) config() string {
	return `    webhooks:
      - url: ` + h.url + `/hooks
        events: [channel_occupied, channel_vacated, member_added, member_removed]
        batch: true
      - url: ` + h.url + `/hooks
        events: [client_event, cache_miss, subscription_count]
`
}

func (h *hooks) receive(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, hookRequest{
		Key: req.Header.Get("X-Pusher-Key"), Signature: req.Header.Get("X-Pusher-Signature"),
		ContentType: req.Header.Get("Content-Type"), Body: string(body),
	})
}

func (h *hooks) list(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h.received())
}

func (h *hooks) received() []hookRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]hookRequest{}, h.requests...) // never null in JSON
}
