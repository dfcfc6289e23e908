package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
)

// execute runs the program with arguments, as the shell would.
func execute(ctx context.Context, stdin string, args ...string) (stdout, stderr string, code int) {
	var out, problems buffer
	root := newRootCommand()
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&problems)
	root.SetArgs(args)
	code = exitCode(&problems, root.ExecuteContext(ctx))
	return out.String(), problems.String(), code
}

// buffer is a bytes.Buffer that may be read while it is written to.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// running starts a gateway in development mode on free ports, and returns the
// flags that lead to it.
func running(t *testing.T) (*gateway, []string) {
	t.Helper()
	config, err := demoConfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config.Drain.Over = 0
	g, err := newGateway(config, gatewayOptions{log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- g.run(ctx, func() { close(started) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		g.close()
	})
	select {
	case <-started:
	case err := <-done:
		done <- err
		t.Fatalf("the gateway ended before it served: %v", err)
	}
	host, port, err := net.SplitHostPort(config.Listen)
	if err != nil {
		t.Fatal(err)
	}
	return g, []string{"--host", host, "--port", port}
}

func TestUsageMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		args string
		code int
		want string // the one sentence
	}{
		"a command that is none":          {"serv", 1, `offramp: there is no command "serv": did you mean serve or users?`},
		"a command like no other":         {"frobnicate", 1, "offramp: there is no command \"frobnicate\": see `offramp --help`"},
		"a flag that is none":             {"serve --prot 1", 1, "offramp: unknown flag: --prot: see `offramp serve --help`"},
		"a flag that check has not":       {"check --fast x", 2, "offramp: unknown flag: --fast: see `offramp check --help`"},
		"a flag without its value":        {"trigger a b --port", 1, "offramp: flag needs an argument: --port: see `offramp trigger --help`"},
		"a flag with a wrong value":       {"trigger a b --port x", 1, "offramp: invalid argument \"x\" for \"--port\" flag"},
		"an argument that is missing":     {"trigger a", 1, "offramp: offramp trigger needs CHANNEL EVENT [DATA], and got 1"},
		"an argument that is too many":    {"version now", 1, `offramp: offramp version takes no arguments, and "now" is one`},
		"a URL in place of a host":        {"channels --host http://x", 1, `offramp: --host "http://x" is not a host`},
		"a port out of range":             {"channels --port 70000", 1, "offramp: --port 70000 is not a port"},
		"a configuration that is missing": {"serve --config nowhere.yaml", 2, "offramp: nowhere.yaml: There is no such file"},
		"a plugin command that is none":   {"plugin lsit", 3, `offramp: there is no command "lsit": did you mean list`},
	} {
		t.Run(name, func(t *testing.T) {
			out, problems, code := execute(t.Context(), "", strings.Fields(tc.args)...)
			if code != tc.code || !strings.HasPrefix(problems, tc.want) {
				t.Errorf("offramp %s = %d %q, want %d %q", tc.args, code, problems, tc.code, tc.want)
			}
			if strings.Count(strings.TrimSpace(problems), "\n") > 0 || out != "" {
				t.Errorf("offramp %s says more than one sentence: %q %q", tc.args, problems, out)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", "apps: [{id: a, key: k, secret: s}]\n")
	bad := write("bad.yaml", "lisen: x\napps: [{id: a, key: k, secret: s, backends: [{name: n, plugin: natz}]}]\n")

	if out, problems, code := execute(t.Context(), "", "check", good); code != 0 || out != good+": no problems\n" || problems != "" {
		t.Errorf("check of a good file = %d %q %q", code, out, problems)
	}
	out, problems, code := execute(t.Context(), "", "check", bad)
	if code != 2 || !strings.Contains(out, bad+":1:1: lisen: There is no such setting. Did you mean listen?") ||
		!strings.Contains(out, "Did you mean nats?") || !strings.HasSuffix(out, "\n2 problems\n") || problems != "" {
		t.Errorf("check of a bad file = %d %q %q", code, out, problems)
	}
	out, _, code = execute(t.Context(), "", "check", "--json", bad)
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 2 || len(list) != 2 || list[0]["path"] != "lisen" || list[0]["line"] != 1.0 {
		t.Errorf("check --json = %d %q", code, out)
	}
	if _, problems, code := execute(t.Context(), "", "serve", "--config", bad); code != 2 || !strings.Contains(problems, "Did you mean listen?") {
		t.Errorf("serve with a bad file = %d %q", code, problems)
	}
}

func TestVersion(t *testing.T) {
	out, _, code := execute(t.Context(), "", "version")
	for _, want := range []string{"offramp ", "\ncommit ", "\ngo go1.", "\nplugin contract 1\n"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("version = %d %q, want %q in it", code, out, want)
		}
	}
}

// TestToolsAgainstAGateway: a person's tools, against the real thing.
func TestToolsAgainstAGateway(t *testing.T) {
	g, at := running(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	run := func(stdin string, args ...string) (string, string, int) {
		return execute(ctx, stdin, append(args, at...)...)
	}

	type result struct {
		out, problems string
		code          int
	}
	tailed := make(chan result, 1)
	go func() {
		out, problems, code := run("", "tail", "news", "private-desk", "presence-room", "--user", "ada", "--count", "2", "--json")
		tailed <- result{out, problems, code}
	}()
	await(t, "three subscriptions", func() bool { return g.engine.Stats("app-id").Subscriptions == 3 })

	if out, problems, code := run("", "channels"); code != 0 || !strings.Contains(out, "news") || !strings.Contains(out, "private-desk") {
		t.Errorf("channels = %d %q %q", code, out, problems)
	}
	if out, problems, code := run("", "channels", "--prefix", "presence-"); code != 0 || !strings.Contains(out, "presence-room  1") || strings.Contains(out, "news") {
		t.Errorf("channels --prefix = %d %q %q", code, out, problems)
	}
	if out, problems, code := run("", "users", "presence-room"); code != 0 || out != "ada\n" {
		t.Errorf("users = %d %q %q", code, out, problems)
	}
	if out, problems, code := run("", "trigger", "news,other", "headline", `{"text":"x"}`); code != 0 || out != "accepted: headline on news,other, 12 bytes\n" {
		t.Errorf("trigger = %d %q %q", code, out, problems)
	}
	if _, problems, code := run("from standard input", "trigger", "private-desk", "memo", "-"); code != 0 {
		t.Errorf("trigger - = %d %q", code, problems)
	}
	got := <-tailed
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	if got.code != 0 || len(lines) != 2 || !strings.Contains(lines[0], `"channel":"news","event":"headline","data":"{\"text\":\"x\"}"`) ||
		!strings.Contains(lines[1], `"channel":"private-desk","event":"memo","data":"from standard input"`) {
		t.Errorf("tail = %d %q %q", got.code, got.out, got.problems)
	}

	wrong := []string{"--secret", "another"}
	if _, problems, code := run("", append([]string{"trigger", "news", "headline"}, wrong...)...); code != 1 || !strings.Contains(problems, "401") || strings.Contains(problems, "another") {
		t.Errorf("trigger with a wrong secret = %d %q", code, problems)
	}
	if _, problems, code := run("", append([]string{"tail", "private-desk"}, wrong...)...); code != 1 || !strings.Contains(problems, "refused") {
		t.Errorf("tail with a wrong secret = %d %q", code, problems)
	}
	if _, problems, code := run("", "tail", "news", "--key", "another"); code != 1 || !strings.Contains(problems, "another") {
		t.Errorf("tail with a wrong key = %d %q", code, problems)
	}
	if out, problems, code := run("", "tail", "news", "--for", "50ms"); code != 0 || out != "" {
		t.Errorf("tail --for = %d %q %q", code, out, problems)
	}
}

func TestToolsWithoutAServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"trigger a b", "tail a", "channels", "users presence-a"} {
		_, problems, code := execute(t.Context(), "", append(strings.Fields(args), "--port", port)...)
		if code != 1 || !strings.Contains(problems, "at 127.0.0.1:"+port+":") || !strings.Contains(problems, "refused") || strings.Contains(problems, "auth_signature") {
			t.Errorf("offramp %s = %d %q, want one sentence with the address", args, code, problems)
		}
	}
}

func TestDoctorOnAGateway(t *testing.T) {
	_, at := running(t)
	out, problems, code := execute(t.Context(), "", append([]string{"doctor"}, at...)...)
	if code != 0 || problems != "" {
		t.Errorf("doctor = %d %q %q", code, out, problems)
	}
	for _, want := range []string{
		"ok    port: 127.0.0.1:", "ok    signed request: GET /apps/app-id/channels is accepted",
		"ok    clock: the server's clock agrees", "ok    websocket: it is established after", "ok    http fallback: a stream delivers at once",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out)
		}
	}
	out, _, code = execute(t.Context(), "", append([]string{"doctor", "--secret", "another"}, at...)...)
	if code != 1 || !strings.Contains(out, "fail  signed request: the signature is refused") {
		t.Errorf("doctor with a wrong secret = %d:\n%s", code, out)
	}
	out, _, code = execute(t.Context(), `new Pusher("k", {cluster: "eu", wsHost: "ws.example.com"})`, "doctor", "-")
	if code != 1 || !strings.Contains(out, "connected to the wrong network") || strings.Contains(out, "signed request") {
		t.Errorf("doctor of a client alone = %d:\n%s", code, out)
	}
}

// TestAdminShowsTheGateway: the admin listener's sources are wired to the real
// parts.
func TestAdminShowsTheGateway(t *testing.T) {
	g, at := running(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		execute(watching, "", append([]string{"tail", "presence-room", "--user", "ada"}, at...)...)
	}()
	defer func() { stop(); <-ended }()
	await(t, "a subscription", func() bool { return g.engine.Stats("app-id").Subscriptions == 1 })

	shown := traffic{g.engine}
	if got := shown.Connections("app-id"); len(got) != 1 || got[0].Library != "offramp-tail" || got[0].Transport != "ws" {
		t.Errorf("connections %+v", got)
	}
	if got, err := shown.Channels(ctx, "app-id", ""); err != nil || len(got) != 1 || got[0].Kind != "presence" || got[0].Users != 1 {
		t.Errorf("channels %+v, %v", got, err)
	}
	if got, err := shown.Users(ctx, proxy.Topic{App: "app-id", Channel: "presence-room"}); err != nil || fmt.Sprint(got) != "[ada]" {
		t.Errorf("users %v, %v", got, err)
	}
	if text, err := g.report(ctx, "app-id", time.Time{}); err != nil || !strings.Contains(string(text), `"offramp.report/v1"`) {
		t.Errorf("report %s, %v", text, err)
	}
	if why := g.ready(ctx); len(why) != 0 {
		t.Errorf("not ready: %v", why)
	}
}

// await polls until done reports true; the gateway's own clock is real here.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
