package centrifugo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/centrifugo"
	"github.com/offramp/offramp/translators/translatortest"
)

// TestMain makes the test binary the plugin, too.
func TestMain(m *testing.M) { translatortest.Main(m, centrifugo.New()) }

const (
	apiKey      = "api-key-of-centrifugo"
	tokenSecret = "token-secret-of-centrifugo"
)

// buildServer builds the real server, once per test process; Go's own cache
// makes it quick after the first time.
var buildServer = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), "offramp-test-centrifugo")
	cmd := exec.Command("go", "build", "-o", path, "github.com/centrifugal/centrifugo/v5")
	cmd.Dir = "testdata/server"
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build centrifugo: %w\n%s", err, out)
	}
	return path, nil
})

// server is a running Centrifugo.
type server struct {
	url  string
	kill func()
}

// startServer starts a Centrifugo at an address, or anywhere when it is "",
// with options beside the usual ones.
func startServer(t *testing.T, address string, options ...map[string]any) server {
	t.Helper()
	binary, err := buildServer()
	if err != nil {
		t.Fatal(err)
	}
	if address == "" {
		address = harness.FreeAddr(t)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"address": "127.0.0.1", "port": port, "api_key": apiKey, "token_hmac_secret_key": tokenSecret}
	for _, more := range options {
		maps.Copy(all, more)
	}
	config, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config", path, "--health")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := server{url: "http://" + address, kill: sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})}
	t.Cleanup(s.kill)
	for deadline := time.Now().Add(20 * time.Second); !healthy(s.url); {
		if time.Now().After(deadline) {
			t.Fatal("centrifugo did not start")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return s
}

func healthy(url string) bool {
	response, err := http.Get(url + "/health")
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func settings(s server) translators.Settings {
	return translators.Settings{
		"url": s.url, "api_key": proxy.NewSecret(apiKey), "token_secret": proxy.NewSecret(tokenSecret), "timeout": "1s",
	}
}

func TestConformance(t *testing.T) {
	for _, process := range []bool{false, true} {
		t.Run(fmt.Sprintf("process=%v", process), func(t *testing.T) {
			s := startServer(t, "")
			o := translatortest.Options{Settings: settings(s), Throughput: 50, Outage: func() (func(), error) {
				s.kill()
				return func() { s = startServer(t, strings.TrimPrefix(s.url, "http://")) }, nil
			}}
			if process {
				o.Command = translatortest.Self(t)
			} else {
				o.Translator = centrifugo.New()
			}
			translatortest.Run(t, o)
		})
	}
}

func open(t *testing.T, s translators.Settings) translators.Session {
	t.Helper()
	return translatortest.Open(t, centrifugo.New(), proxy.RoleShadow, s)
}

func TestAnUnknownNamespaceIsRefusedAsSuch(t *testing.T) {
	s := settings(startServer(t, ""))
	s["prefix"] = "nowhere:"
	results := open(t, s).Publish(context.Background(), []translators.Envelope{{ID: proxy.EventID{Seq: 1}, Channel: "room", Event: "e"}})
	if results[0].Code != translators.CodeRejectedName || !strings.Contains(results[0].Detail, "namespace") {
		t.Errorf("answer %+v, want REJECTED_NAME for its namespace", results[0])
	}
}

func TestSubscriptionsSpreadOverConnections(t *testing.T) {
	s := settings(startServer(t, ""))
	s["channels_per_connection"] = 3
	session := open(t, s)
	for i := range 7 {
		translatortest.Watch(t, session, fmt.Sprint("room-", i))
	}
	if n := session.(translators.Reporter).Report().Counters["centrifugo_connections"]; n != 3 {
		t.Errorf("%d connections for 7 channels, 3 on each, want 3", n)
	}
}

// TestRecovery: where the server keeps history, what was missed while a
// connection was away is shown afterwards, and a hole is told only where it
// could not be.
func TestRecovery(t *testing.T) {
	history := map[string]any{"history_size": 1000, "history_ttl": "60s", "force_recovery": true}
	s := startServer(t, "", history)
	session := open(t, settings(s))
	w := translatortest.Watch(t, session, "room")
	publish := func(from, to uint64) {
		t.Helper()
		for seq := from; seq <= to; seq++ {
			translatortest.WaitFor(t, "the server", func() bool {
				return translatortest.Codes(session.Publish(context.Background(), []translators.Envelope{translatortest.Item(seq, "room", "x")})) == "OK"
			})
		}
	}
	publish(1, 10)
	body := strings.NewReader(`{"user":"offramp","disconnect":{"code":3000,"reason":"a test"}}`)
	request, err := http.NewRequest(http.MethodPost, s.url+"/api/disconnect", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-API-Key", apiKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	publish(11, 30)
	translatortest.WaitFor(t, "all events", func() bool { return len(w.Delivered()) >= 30 })
	for i, e := range w.Delivered() {
		if e.ID.Seq != uint64(i+1) {
			t.Errorf("event %d is where %d should be", e.ID.Seq, i+1)
		}
	}
	if told := w.Told(); len(told) != 0 {
		t.Errorf("told %+v, though nothing was missed", told)
	}

	s.kill() // and with it its history
	s = startServer(t, strings.TrimPrefix(s.url, "http://"), history)
	translatortest.WaitFor(t, "word of the hole", func() bool { return len(w.Told()) > 0 })
	if told := w.Told(); told[0].State != translators.StateGap || told[0].To.Before(told[0].From) {
		t.Errorf("told %+v, want GAP", told)
	}
	publish(31, 31)
	translatortest.WaitFor(t, "an event after it", func() bool { return len(w.Delivered()) == 31 })
}

func TestOpenSaysWhatToChange(t *testing.T) {
	s := startServer(t, "")
	for name, tc := range map[string]struct {
		change map[string]any
		want   string
	}{
		"not an address":  {map[string]any{"url": "127.0.0.1:8000"}, "settings.url: is not an address such as"},
		"no server there": {map[string]any{"url": "http://127.0.0.1:1"}, "connect to Centrifugo at http://127.0.0.1:1"},
		"a wrong key":     {map[string]any{"api_key": "wrong-one"}, "is settings.api_key the server's"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := settings(s)
			for key, value := range tc.change {
				changed[key] = value
			}
			_, err := centrifugo.New().Open(context.Background(), translators.Binding{App: "1", Settings: changed, Log: zerolog.Nop()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: %v, want %q in it", err, tc.want)
			}
		})
	}
}
