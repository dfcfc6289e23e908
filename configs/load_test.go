package configs

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offramp/offramp/proxy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// environment is what the test files refer to.
func environment(name string) (string, bool) {
	value, set := map[string]string{
		"OFFRAMP_TEST_EMPTY":  "",
		"OFFRAMP_ADMIN_TOKEN": "a-token",
		"PUSHER_APP_SECRET":   "its-own-secret",
		"NATS_TOKEN":          "nats-token",
		"ABLY_KEY":            "ably-key",
	}[name]
	return value, set
}

var plugins = []string{"ably", "nats", "redis"}

// TestMistakes: one file per mistake, and everything that is said of it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			problems := Check(file, environment, plugins...)
			if len(problems) == 0 {
				t.Fatal("the mistake was not noticed")
			}
			got := strings.ReplaceAll(problems.Error()+"\n", "testdata/mistakes/", "")
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("problems of %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// TestProblemsAreComplete: every problem says where, what and how to mend it.
func TestProblemsAreComplete(t *testing.T) {
	files, _ := filepath.Glob("testdata/mistakes/*.yaml")
	for _, file := range files {
		for _, p := range Check(file, environment, plugins...) {
			if p.File == "" || p.Problem == "" || p.Fix == "" || strings.HasSuffix(p.Problem, ".") || strings.HasSuffix(p.Fix, ".") {
				t.Errorf("%s: incomplete: %+v", file, p)
			}
			if strings.Contains(p.String(), "hunter2") {
				t.Errorf("%s: the problem shows a password: %s", file, p)
			}
		}
	}
}

func TestLoadReportsAFileThatCannotBeRead(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, []byte("apps: []\n#"+strings.Repeat("x", maxFileBytes)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ path, want string }{
		"no such file":      {"testdata/nowhere.yaml", "There is no such file"},
		"a directory":       {"testdata", "it is a directory"},
		"more than allowed": {large, "the limit is 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(tc.path, environment)
			var problems Problems
			if !errors.As(err, &problems) || len(problems) != 1 || !strings.Contains(problems[0].Problem, tc.want) {
				t.Errorf("Load(%s) = %v, want one problem with %q", tc.path, err, tc.want)
			}
		})
	}
}

func TestTooManyProblemsAreCutShort(t *testing.T) {
	_, problems := parse("t.yaml", []byte(strings.Repeat("x: 1\n", 5*maxProblems)), environment, plugins)
	if len(problems) != maxProblems+1 || !strings.Contains(problems[maxProblems].Problem, "more problems") {
		t.Errorf("%d problems, the last %q; want %d and a note", len(problems), problems[len(problems)-1], maxProblems)
	}
}

// secretText lets the comparison see into secrets.
var secretText = cmp.Transformer("reveal", proxy.Secret.Reveal)

func TestMinimal(t *testing.T) {
	got, err := Load("minimal.yaml", environment)
	if err != nil {
		t.Fatal(err)
	}
	app := proxy.Defaults()
	app.ID = "my-app"
	app.Credentials = []proxy.Credential{{Key: "my-key", Secret: proxy.NewSecret("its-own-secret")}}
	want := &Config{
		File:   "minimal.yaml",
		Listen: "127.0.0.1:6001",
		Admin:  Admin{Listen: "127.0.0.1:6002"},
		Data:   "offramp-data",
		Drain:  Drain{Over: time.Minute},
		Apps:   []*proxy.App{&app},
	}
	if diff := cmp.Diff(want, got, secretText); diff != "" {
		t.Errorf("minimal.yaml (-want +got):\n%s", diff)
	}
}

func TestExample(t *testing.T) {
	got, err := Load("example.yaml", environment, plugins...)
	if err != nil {
		t.Fatal(err)
	}
	app := proxy.Defaults()
	app.ID = "1001"
	app.Credentials = []proxy.Credential{
		{Key: "6c0a0f2b7d8e4c19ab5d", Secret: proxy.NewSecret("its-own-secret")},
		{Key: "0f9d2a7754c34be68e1b", Secret: proxy.NewSecret("not-a-secret-of-anyone")},
	}
	app.ClientEvents, app.SubscriptionCounting, app.Watchlist = true, true, true
	app.Origins = []string{"https://app.example.com", "https://*.example.com"}
	app.Webhooks = []proxy.Webhook{{URL: "https://app.example.com/pusher/webhooks", Events: proxy.WebhookTypes(), Batch: true}}
	app.Upstream = &proxy.Upstream{WebSocket: "wss://ws-eu.pusher.com", API: "https://api-eu.pusher.com", WhenDown: proxy.WhenDownRefuse, Tripwire: 7 * 24 * time.Hour}
	app.Stage = proxy.StageObserve
	app.Rules = []proxy.Rule{
		{Channels: "presence-room-*", Stage: proxy.StageCanary, Percent: 10, By: proxy.ByChannel},
		{Channels: "private-internal-*", Stage: proxy.StageExited, By: proxy.ByChannel},
	}
	app.Backends = []proxy.Backend{{
		Name: "nats", Plugin: "nats", Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1,
		Settings: map[string]any{"url": "nats://127.0.0.1:4222", "token": proxy.NewSecret("nats-token")},
	}}
	want := &Config{
		File:   "example.yaml",
		Listen: "127.0.0.1:6001",
		Admin:  Admin{Listen: "127.0.0.1:6002", Token: proxy.NewSecret("a-token")},
		Data:   "offramp-data",
		Drain:  Drain{Over: time.Minute},
		Apps:   []*proxy.App{&app},
	}
	if diff := cmp.Diff(want, got, secretText); diff != "" {
		t.Errorf("example.yaml (-want +got):\n%s", diff)
	}
}

// TestExampleIsComplete: every setting stands in the example, as a setting or
// in a comment.
func TestExampleIsComplete(t *testing.T) {
	text, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Settings() {
		key := s.Path[strings.LastIndexByte(s.Path, '.')+1:]
		if !strings.Contains(string(text), key+":") {
			t.Errorf("example.yaml does not mention %s", s.Path)
		}
	}
}

// TestValuesThatAreFine: what looks odd and is meant.
func TestValuesThatAreFine(t *testing.T) {
	const app = "{id: a, key: k, secret: s"
	for name, tc := range map[string]struct {
		text string
		want func(*Config) bool
	}{
		"an id and a key that look like numbers are text": {
			"apps: [{id: 007, key: 12e5, secret: 1234}]",
			func(c *Config) bool {
				a := c.Apps[0]
				return a.ID == "007" && a.Credentials[0].Key == "12e5" && a.Credentials[0].Secret.Reveal() == "1234"
			},
		},
		"the canary share of a whole app is a last rule": {
			"apps: [" + app + ", upstream: {cluster: mt1}, stage: canary, percent: 25, by: user, rules: [{channels: 'x*', stage: exited}]}]",
			func(c *Config) bool {
				rules := c.Apps[0].Rules
				return len(rules) == 2 && rules[1] == proxy.Rule{Channels: "*", Stage: proxy.StageCanary, Percent: 25, By: proxy.ByUser}
			},
		},
		"both listeners on free ports": {
			"listen: 127.0.0.1:0\nadmin: {listen: '127.0.0.1:0'}\napps: [" + app + "}]",
			func(c *Config) bool { return c.Listen == "127.0.0.1:0" && c.Admin.Listen == "127.0.0.1:0" },
		},
		"the development secret on every kind of loopback": {
			"listen: '[::1]:6001'\nadmin: {listen: 'localhost:6002'}\napps: [{id: app-id, key: app-key, secret: app-secret}]",
			func(c *Config) bool { return c.Listen == "[::1]:6001" },
		},
		"settings of a plugin keep their types": {
			"apps: [" + app + ", backends: [{name: n, plugin: nats, settings: {a: 1, b: [x, {env: NATS_TOKEN}], c: {d: 2001-01-01, e: true}}}]}]",
			func(c *Config) bool {
				return cmp.Equal(c.Apps[0].Backends[0].Settings, map[string]any{
					"a": 1, "b": []any{"x", proxy.NewSecret("nats-token")}, "c": map[string]any{"d": "2001-01-01", "e": true},
				}, secretText)
			},
		},
		"two Windows line ends": {
			"apps:\r\n  - " + app + "}\r\n",
			func(c *Config) bool { return c.Apps[0].ID == "a" },
		},
		"a rule for every channel": {
			"apps: [" + app + ", upstream: {cluster: eu}, rules: [{channels: '*', stage: observe}]}]",
			func(c *Config) bool { return c.Apps[0].Rules[0].Stage == proxy.StageObserve },
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, problems := parse("t.yaml", []byte(tc.text), environment, plugins)
			if len(problems) > 0 {
				t.Fatalf("problems:\n%v", problems)
			}
			if !tc.want(cfg) {
				t.Errorf("read as %+v, app %+v", cfg, cfg.Apps[0])
			}
		})
	}
}

func TestDevelopment(t *testing.T) {
	cfg := Development()
	app := cfg.Apps[0]
	if !Loopback(cfg.Listen) || !Loopback(cfg.Admin.Listen) {
		t.Errorf("development listens on %s and %s, want loopback", cfg.Listen, cfg.Admin.Listen)
	}
	if app.ID != "app-id" || app.Credentials[0].Key != "app-key" || app.Credentials[0].Secret.Reveal() != "app-secret" {
		t.Errorf("development app is %+v", app)
	}
	if !app.ClientEvents || !app.SubscriptionCounting || !app.Watchlist || app.Upstream != nil || app.Stage != proxy.StageExited {
		t.Errorf("development app is %+v, want everything on and no upstream", app)
	}
}

func TestFromEnvironment(t *testing.T) {
	full := map[string]string{
		"PUSHER_APP_ID": "1", "PUSHER_APP_KEY": "k", "PUSHER_APP_SECRET": "s", "PUSHER_APP_CLUSTER": "eu",
	}
	lookup := func(without string) Environment {
		return func(name string) (string, bool) {
			value, set := full[name]
			return value, set && name != without
		}
	}
	for name := range full {
		if _, ok := FromEnvironment(lookup(name)); ok {
			t.Errorf("FromEnvironment without %s = true, want false", name)
		}
	}
	cfg, ok := FromEnvironment(lookup(""))
	if !ok {
		t.Fatal("FromEnvironment with all four = false, want true")
	}
	app := cfg.Apps[0]
	if app.ID != "1" || app.Credentials[0].Key != "k" || app.Credentials[0].Secret.Reveal() != "s" ||
		app.Upstream.WebSocket != "wss://ws-eu.pusher.com" || app.Upstream.API != "https://api-eu.pusher.com" {
		t.Errorf("app is %+v with upstream %+v", app, app.Upstream)
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "LocalHost:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.example.com:1": false, "nonsense": false,
	} {
		if got := Loopback(address); got != want {
			t.Errorf("Loopback(%q) = %v, want %v", address, got, want)
		}
	}
}

// FuzzLoad: any bytes are either a configuration or a list of complete
// problems, soon.
func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/mistakes/*.yaml")
	for _, file := range append(files, "example.yaml", "minimal.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, problems := parse("fuzz.yaml", text, environment, plugins)
		for _, p := range problems {
			if p.Problem == "" || p.Fix == "" || p.Line < 0 {
				t.Errorf("incomplete problem %+v", p)
			}
		}
		if len(problems) > maxProblems+1 {
			t.Errorf("%d problems, want at most %d", len(problems), maxProblems+1)
		}
		if len(problems) > 0 {
			return
		}
		if len(cfg.Apps) == 0 {
			t.Error("a configuration without apps has no problems")
		}
		for _, app := range cfg.Apps {
			if app.ID == "" || len(app.Credentials) == 0 || app.Credentials[0].Secret.IsZero() || app.Limits.EventBytes < 1 {
				t.Errorf("an incomplete app has no problems: %+v", app)
			}
		}
	})
}
