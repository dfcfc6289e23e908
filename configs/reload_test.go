package configs

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offramp/offramp/proxy"
)

const runningText = `
apps:
  - {id: a, key: a, secret: one, backends: [{name: n, plugin: nats}]}
  - {id: b, key: b, secret: two}
`

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	cfg, problems := parse("t.yaml", []byte(text), environment, plugins)
	if len(problems) > 0 {
		t.Fatalf("problems:\n%v", problems)
	}
	return cfg
}

func TestDiff(t *testing.T) {
	for name, tc := range map[string]struct {
		next string
		want []Change
	}{
		"nothing": {runningText, nil},
		"a listener needs a restart, the drain does not": {
			"listen: 127.0.0.1:7001\ndrain: {over: 5s}" + runningText,
			[]Change{{"listen", "changed", true}, {"drain", "changed", false}},
		},
		"an app's secret and limit": {
			strings.Replace(runningText, "secret: two", "secret: three, limits: {connections: 5}", 1),
			[]Change{{"apps[b].credentials", "changed", false}, {"apps[b].limits", "changed", false}},
		},
		"a backend needs a restart": {
			strings.Replace(runningText, "plugin: nats", "plugin: redis", 1),
			[]Change{{"apps[a].backends", "changed", true}},
		},
		"a backend takes other channels at once": {
			strings.Replace(runningText, "plugin: nats", "plugin: nats, channels: [room-*], sample: 0.5", 1),
			[]Change{{"apps[a].backends[].channels", "changed", false}},
		},
		"an app goes and one comes": {
			strings.Replace(runningText, "id: b", "id: c", 1),
			[]Change{{"apps[b]", "removed", false}, {"apps[c]", "added", false}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Diff(mustParse(t, runningText), mustParse(t, tc.next))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Diff (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWatchKeepsWhatNeedsARestart(t *testing.T) {
	next := "listen: 127.0.0.1:7001\n" + strings.NewReplacer("plugin: nats", "plugin: redis, channels: [room]", "secret: two", "secret: three").Replace(runningText)
	loads := []func() (*Config, error){
		func() (*Config, error) { return nil, errors.New("broken") },
		func() (*Config, error) { return mustParse(t, next), nil },
		func() (*Config, error) { return mustParse(t, next), nil },
	}
	triggers := make(chan os.Signal, len(loads))
	for range loads {
		triggers <- syscall.SIGHUP
	}
	close(triggers)
	var got []Reload
	Watch(context.Background(), mustParse(t, runningText), triggers, func() (*Config, error) {
		load := loads[0]
		loads = loads[1:]
		return load()
	}, func(r Reload) { got = append(got, r) })

	if len(got) != 3 || got[0].Err == nil || got[0].Config != nil {
		t.Fatalf("outcomes %+v, want an error and two configurations", got)
	}
	second := got[1].Config
	if second.Listen != DefaultListen || second.Apps[0].Backends[0].Plugin != "nats" {
		t.Errorf("listen %s, plugin %s: what needs a restart took effect", second.Listen, second.Apps[0].Backends[0].Plugin)
	}
	if channels := second.Apps[0].Backends[0].Channels; len(channels) != 1 || channels[0] != "room" {
		t.Errorf("the backend takes %q, want the new channels", channels)
	}
	if secret := second.Apps[1].Credentials[0].Secret.Reveal(); secret != "three" {
		t.Errorf("secret %q, want the new one", secret)
	}
	want := []Change{{"listen", "changed", true}, {"apps[a].backends", "changed", true}}
	if diff := cmp.Diff(want, got[2].Changes); diff != "" {
		t.Errorf("second reload of the same file: what still waits for a restart (-want +got):\n%s", diff)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	Watch(ctx, Development(), make(chan os.Signal), nil, nil) // returns
}

// TestDiffSeesEverySetting: whatever is added to Config or App later is
// compared too.
func TestDiffSeesEverySetting(t *testing.T) {
	covers := func(path string, paths []string) bool {
		for _, p := range paths {
			if path == p || strings.HasPrefix(path, p+".") || strings.HasPrefix(path, p+"[]") || strings.HasPrefix(p, path+".") {
				return true
			}
		}
		return false
	}
	var top, app []string
	for _, p := range parts {
		top = append(top, p.path)
	}
	for _, p := range appParts {
		app = append(app, p.path)
	}
	elsewhere := map[string]string{"key": "credentials", "secret": "credentials", "more_keys": "credentials", "percent": "rules", "by": "rules"}
	for _, s := range Settings() {
		path, paths := s.Path, top
		if rest, ok := strings.CutPrefix(path, "apps[]."); ok {
			head, _, _ := strings.Cut(strings.ReplaceAll(rest, "[]", ""), ".")
			path, paths = head, app
			if other, ok := elsewhere[head]; ok {
				path = other
			}
			if head == "id" {
				continue
			}
		}
		if path != "apps" && !covers(path, paths) {
			t.Errorf("Diff does not compare %s", s.Path)
		}
	}
	if got, want := reflect.TypeFor[proxy.App]().NumField(), len(appParts)+1; got != want {
		t.Errorf("proxy.App has %d fields, Diff compares %d: add the new one to appParts", got, want)
	}
}
