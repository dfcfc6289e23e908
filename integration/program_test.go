package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

// run runs the built program and returns its output and exit status.
func run(t *testing.T, args ...string) (output string, status int) {
	t.Helper()
	cmd := exec.Command(harness.Binary(t), args...)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	defer timer.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// demoReport is what the tests read of the demo's JSON report.
type demoReport struct {
	Schema  string
	Verdict struct {
		State   string
		Reasons []struct{ Gate, Text string }
	}
	Pairs []struct {
		Reference, Candidate string
		Total                struct {
			Expected, Matched, Missing, Duplicate, Reordered, Unknown int64
			PayloadDiffers                                            int64 `json:"payload_differs"`
		}
	}
}

func runDemo(t *testing.T, args ...string) (demoReport, string, int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	out, status := run(t, append([]string{"demo", "--json", file}, args...)...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("the demo wrote no report: %v\n%s", err, out)
	}
	var r demoReport
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if r.Schema != "offramp.report/v1" || len(r.Pairs) == 0 {
		t.Fatalf("report has schema %q and %d pairs\n%s", r.Schema, len(r.Pairs), out)
	}
	return r, out, status
}

func TestDemoWithoutFaults(t *testing.T) {
	html := filepath.Join(t.TempDir(), "report.html")
	r, out, status := runDemo(t, "--for", "10s", "--report", html)
	// A machine that is busy with other tests may be too slow to see enough,
	// or to see it soon enough: that is all the verdict may complain of.
	for _, reason := range r.Verdict.Reasons {
		if reason.Gate != "paired_p99" {
			t.Errorf("the verdict's reason is %+v\n%s", reason, out)
		}
	}
	if want := map[string]int{"READY": 0, "NOT_READY": 1, "INSUFFICIENT_DATA": 2}[r.Verdict.State]; status != want {
		t.Errorf("demo says %s and ends with %d, want %d", r.Verdict.State, status, want)
	}
	for _, p := range r.Pairs {
		c := p.Total
		if c.Matched == 0 || c.Matched != c.Expected || c.Missing+c.Duplicate+c.Reordered+c.PayloadDiffers+c.Unknown != 0 {
			t.Errorf("%s beside %s: %+v, want everything matched\n%s", p.Candidate, p.Reference, c, out)
		}
	}
	page, err := os.ReadFile(html)
	if err != nil || !bytes.Contains(page, []byte("<svg")) || bytes.Contains(page, []byte("src=\"http")) {
		t.Errorf("the HTML report is missing, without a verdict, or needs a network: %v", err)
	}
}

func TestDemoCountsTheFaultsItInjects(t *testing.T) {
	r, out, status := runDemo(t, "--for", "10s", "--rate", "400", "--faults", "drop=0.04,dup=0.03,reorder=0.03,corrupt=0.03")
	if status != 1 || r.Verdict.State != "NOT_READY" {
		t.Errorf("demo says %s and ends with %d, want NOT_READY and 1", r.Verdict.State, status)
	}
	rows := regexp.MustCompile(`(?m)^(missing|duplicate|reordered|payload differs) +(\d+) +(\d+)$`).FindAllStringSubmatch(out, -1)
	if len(rows) != 4 {
		t.Fatalf("no table of four faults in:\n%s", out)
	}
	found := map[string]int64{}
	for _, row := range rows {
		injected, _ := strconv.ParseInt(row[2], 10, 64)
		counted, _ := strconv.ParseInt(row[3], 10, 64)
		if injected == 0 || injected != counted {
			t.Errorf("%s: %d injected, %d found", row[1], injected, counted)
		}
		found[row[1]] = counted
	}
	for _, p := range r.Pairs {
		if p.Candidate != "nats" {
			if p.Total.Missing+p.Total.Duplicate+p.Total.Reordered+p.Total.PayloadDiffers+p.Total.Unknown != 0 {
				t.Errorf("%s is accused of %+v", p.Candidate, p.Total)
			}
			continue
		}
		if p.Total.Missing != found["missing"] || p.Total.Duplicate != found["duplicate"] ||
			p.Total.Reordered != found["reordered"] || p.Total.PayloadDiffers != found["payload differs"] || p.Total.Unknown != 0 {
			t.Errorf("the JSON report has %+v, the terminal %v", p.Total, found)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestBadInputGetsOneClearSentence(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	app := "apps:\n  - {id: one, key: one-key, secret: one-secret}\n"
	backend := func(plugin string) string {
		return fmt.Sprintf("listen: %s\nadmin: {listen: %q}\ndata: %s\napps:\n  - id: one\n    key: one-key\n    secret: one-secret\n    backends:\n      - {name: b, plugin: %s, role: shadow, channels: ['*'], settings: {url: 'nats://127.0.0.1:1'}}\n",
			harness.FreeAddr(t), harness.FreeAddr(t), filepath.Join(dir, "d"+strings.ReplaceAll(plugin, "/", "_")), plugin)
	}

	cases := map[string]struct {
		args   []string
		status int
		says   []string
	}{
		"unknown flag":    {[]string{"serve", "--prot", "1"}, 1, []string{"unknown flag: --prot", "--help"}},
		"unknown command": {[]string{"serv"}, 1, []string{`there is no command "serv"`, "serve"}},
		"broken YAML":     {[]string{"serve", "--config", file("broken.yaml", "apps: [\n")}, 2, []string{"broken.yaml"}},
		"unknown key": {[]string{"serve", "--config", file("key.yaml", "lissten: 127.0.0.1:1\n"+app)}, 2,
			[]string{"key.yaml:1", "lissten", "listen"}},
		"file not there": {[]string{"serve", "--config", filepath.Join(dir, "none.yaml")}, 2, []string{"none.yaml"}},
		"port taken": {[]string{"serve", "--config", file("taken.yaml",
			fmt.Sprintf("listen: %s\nadmin: {listen: %q}\ndata: %s\n%s", taken.Addr(), harness.FreeAddr(t), filepath.Join(dir, "t"), app))}, 1,
			[]string{taken.Addr().String(), "taken by another program", "listen:"}},
		"missing plugin": {[]string{"check", file("plugin.yaml", backend("./no-such-plugin"))}, 2, []string{"There is no such file", ".plugin"}},
		"bad faults":     {[]string{"demo", "--faults", "dorp=1"}, 3, []string{"dorp"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, status := run(t, tc.args...)
			if status != tc.status {
				t.Errorf("exit status %d, want %d", status, tc.status)
			}
			for _, text := range tc.says {
				if !strings.Contains(out, text) {
					t.Errorf("output lacks %q", text)
				}
			}
			if strings.Contains(out, "goroutine ") || strings.Count(out, "\n") > 4 {
				t.Errorf("that is no sentence")
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// connect opens a WebSocket and reads the greeting.
func connect(t *testing.T, g *harness.Gateway) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr+"/app/"+harness.Key+"?protocol=7&client=test&version=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	if frame := readFrame(t, conn); !strings.Contains(frame, "connection_established") {
		t.Fatalf("first frame is %s", frame)
	}
	return conn
}

func readFrame(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, frame, err := conn.ReadMessage()
	if err != nil {
		t.Fatalf("read a frame: %v", err)
	}
	return string(frame)
}

// readEvent reads the next frame that is not about the channel itself.
func readEvent(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	for {
		if frame := readFrame(t, conn); !strings.HasPrefix(frame, `{"event":"pusher_internal:`) {
			return frame
		}
	}
}

func subscribe(t *testing.T, conn *websocket.Conn, channel string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"event":"pusher:subscribe","data":{"channel":"`+channel+`"}}`)); err != nil {
		t.Fatal(err)
	}
	if frame := readFrame(t, conn); !strings.Contains(frame, "subscription_succeeded") {
		t.Fatalf("subscription answered by %s", frame)
	}
}

func TestTermDrainsWith4200(t *testing.T) {
	g := harness.Start(t, harness.DefaultApps)
	var conns []*websocket.Conn
	for range 20 {
		conns = append(conns, connect(t, g))
	}
	g.Signal(t, syscall.SIGTERM)
	began := time.Now()
	var first, last time.Duration
	for i, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		_, _, err := conn.ReadMessage()
		if !websocket.IsCloseError(err, 4200) {
			t.Errorf("connection %d ended with %v, want close 4200", i, err)
		}
		if i == 0 {
			first = time.Since(began)
		}
		last = time.Since(began)
	}
	// The harness drains over one second: not all at once.
	if last-first < 500*time.Millisecond {
		t.Errorf("20 connections closed within %v, want them spread over about 1s", last-first)
	}
	if status := g.Wait(t, 15*time.Second); status != 0 {
		t.Errorf("exit status %d after a drain, want 0", status)
	}
}

// TestKilledPlugin kills a plugin under traffic: clients do not notice, the
// process comes back, and what could not be seen is unknown, not lost.
func TestKilledPlugin(t *testing.T) {
	nats := startNATSProcess(t)
	g := harness.Start(t, strings.TrimRight(harness.DefaultApps, "\n")+fmt.Sprintf(`
    backends:
      - {name: nats, plugin: nats, role: shadow, channels: ["*"], settings: {url: %q}}
`, nats))
	conn := connect(t, g)
	subscribe(t, conn, "scores")
	first := runningPlugin(t, g, 0)

	client := pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: g.Addr}
	const events = 600
	go func() {
		for i := range events {
			_ = client.Trigger("scores", "goal", map[string]int{"n": i}) // a lost one shows below
			time.Sleep(5 * time.Millisecond)
			if i == events/3 {
				_ = syscall.Kill(first, syscall.SIGKILL)
			}
		}
	}()
	for i := range events {
		if frame := readEvent(t, conn); !strings.Contains(frame, fmt.Sprintf(`\"n\":%d}`, i)) {
			t.Fatalf("event %d is %s", i, frame)
		}
	}
	if second := runningPlugin(t, g, first); second == first {
		t.Errorf("the plugin is still process %d", first)
	}

	deadline := time.Now().Add(60 * time.Second)
	for {
		total, gaps := reportTotal(t, g, "nats")
		if total.Missing != 0 || total.Duplicate != 0 || total.Reordered != 0 || total.PayloadDiffers != 0 {
			t.Fatalf("the gap is reported as findings: %+v", total)
		}
		if gaps > 0 && total.Matched > events/2 && total.Matched+total.Unknown == events {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute the report still says %+v, and %d gaps; want at least one, and matched and unknown to make %d", total, gaps, events)
		}
		time.Sleep(time.Second)
	}
}

func startNATSProcess(t *testing.T) (url string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats-server")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	addr := harness.FreeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, "-a", host, "-p", port)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	deadline := time.Now().Add(10 * time.Second)
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return "nats://" + addr
		}
		if time.Now().After(deadline) {
			t.Fatal("nats-server does not listen")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

// runningPlugin waits until the gateway's plugin runs as another process than
// the one given, and returns its process id.
func runningPlugin(t *testing.T, g *harness.Gateway, other int) int {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		var backends []struct {
			State    string
			PID      int
			Channels int
		}
		getJSON(t, "http://"+g.Admin+"/api/v1/backends", &backends)
		if len(backends) == 1 && backends[0].State == "running" && backends[0].PID != other && backends[0].Channels > 0 {
			return backends[0].PID
		}
		if time.Now().After(deadline) {
			t.Fatalf("no plugin got ready: %+v", backends)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

type cell struct {
	Expected, Matched, Missing, Duplicate, Reordered, Unknown, Extra int64
	PayloadDiffers                                                   int64 `json:"payload_differs"`
}

func reportTotal(t *testing.T, g *harness.Gateway, candidate string) (total cell, gaps int64) {
	t.Helper()
	var r struct {
		Measurement struct{ Gaps int64 }
		Pairs       []struct {
			Candidate string
			Total     cell
		}
	}
	getJSON(t, "http://"+g.Admin+"/api/v1/apps/"+harness.AppID+"/report", &r)
	for _, p := range r.Pairs {
		if p.Candidate == candidate {
			return p.Total, r.Measurement.Gaps
		}
	}
	return cell{}, r.Measurement.Gaps
}
