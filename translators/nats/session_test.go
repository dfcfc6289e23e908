package nats_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/nats"
	"github.com/offramp/offramp/translators/translatortest"
)

// TestMain makes the test binary a NATS server when it is run as "BINARY
// nats-server PORT", and thus a server of its own that can be killed, and the
// plugin when it is run as "BINARY plugin".
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != "nats-server" {
		translatortest.Main(m, nats.New())
	}
	var port int
	if _, err := fmt.Sscan(os.Args[2], &port); err != nil {
		os.Exit(2)
	}
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: port, NoSigs: true})
	if err != nil {
		os.Exit(2)
	}
	server.Start()
	server.ReadyForConnections(10 * time.Second)
	fmt.Println(server.ClientURL())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
}

// embedded starts a server within the test.
func embedded(t *testing.T, o *natsserver.Options) *natsserver.Server {
	t.Helper()
	o.Host, o.NoSigs = "127.0.0.1", true
	if o.Port == 0 {
		o.Port = natsserver.RANDOM_PORT
	}
	server, err := natsserver.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Shutdown)
	if !server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	return server
}

func open(t *testing.T, settings translators.Settings) translators.Session {
	t.Helper()
	return translatortest.Open(t, nats.New(), proxy.RoleShadow, settings)
}

func TestSession(t *testing.T) {
	t.Run("what is published is observed, byte for byte", func(t *testing.T) {
		s := open(t, translators.Settings{"url": embedded(t, &natsserver.Options{}).ClientURL()})
		w := translatortest.Watch(t, s, "private-a..b")
		sent := translatortest.Item(1, "private-a..b", "\x00\xff not JSON")
		if got := translatortest.Codes(s.Publish(context.Background(), []translators.Envelope{sent})); got != "OK" {
			t.Fatalf("results %s, want OK", got)
		}
		translatortest.WaitFor(t, "the delivery", func() bool { return len(w.Delivered()) == 1 })
		got := w.Delivered()[0]
		if got.ID != sent.ID || got.Event != sent.Event || string(got.Data) != string(sent.Data) || got.Origin != "offramp" {
			t.Errorf("delivered %+v, want %+v", got, sent)
		}
	})

	t.Run("too large an item is refused, and those around it pass", func(t *testing.T) {
		s := open(t, translators.Settings{"url": embedded(t, &natsserver.Options{MaxPayload: 1024}).ClientURL()})
		batch := []translators.Envelope{translatortest.Item(1, "a", "small"), translatortest.Item(2, "a", strings.Repeat("x", 2000)), translatortest.Item(3, "a", "small")}
		if got := translatortest.Codes(s.Publish(context.Background(), batch)); got != "OK REJECTED_SIZE OK" {
			t.Errorf("results %s", got)
		}
	})

	t.Run("a subject without permission is refused as such", func(t *testing.T) {
		server := embedded(t, &natsserver.Options{Users: []*natsserver.User{{
			Username: "u", Password: "p", Permissions: &natsserver.Permissions{
				Publish:   &natsserver.SubjectPermission{Deny: []string{"offramp.app.secret"}},
				Subscribe: &natsserver.SubjectPermission{Deny: []string{"offramp.app.secret"}},
			},
		}}})
		s := open(t, translators.Settings{"url": server.ClientURL(), "user": "u", "password": "p"})
		batch := []translators.Envelope{translatortest.Item(1, "open", "x"), translatortest.Item(2, "secret", "x"), translatortest.Item(3, "open", "x")}
		if got := translatortest.Codes(s.Publish(context.Background(), batch)); got != "OK REJECTED_AUTH OK" {
			t.Errorf("results %s", got)
		}
		if _, err := s.(translators.Subscriber).Subscribe(context.Background(), "secret", &translatortest.Watcher{}); err == nil {
			t.Error("the subscription was confirmed without permission")
		}
	})

	t.Run("JetStream recognises a repeat, and observers see it once", func(t *testing.T) {
		server := embedded(t, &natsserver.Options{JetStream: true, StoreDir: t.TempDir()})
		s := open(t, translators.Settings{"url": server.ClientURL(), "mode": "jetstream"})
		w := translatortest.Watch(t, s, "a")
		first, second := translatortest.Item(1, "a", "x"), translatortest.Item(2, "a", "y")
		if got := translatortest.Codes(s.Publish(context.Background(), []translators.Envelope{first, second})); got != "OK OK" {
			t.Fatalf("results %s", got)
		}
		if got := translatortest.Codes(s.Publish(context.Background(), []translators.Envelope{first})); got != "DUPLICATE" {
			t.Errorf("results %s for the repeat, want DUPLICATE", got)
		}
		s.Publish(context.Background(), []translators.Envelope{translatortest.Item(3, "a", "z")})
		translatortest.WaitFor(t, "the deliveries", func() bool { return len(w.Delivered()) >= 3 })
		if got := w.Delivered(); len(got) != 3 || got[2].ID.Seq != 3 {
			t.Errorf("%d deliveries, want 3, the last of them the last sent", len(got))
		}
	})

	t.Run("a server that goes away is told, and nothing is acknowledged meanwhile", func(t *testing.T) {
		url, kill := separate(t, natsserver.RANDOM_PORT)
		s := open(t, translators.Settings{"url": url, "timeout": "500ms"})
		w := translatortest.Watch(t, s, "a")
		kill()
		translatortest.WaitFor(t, "the disconnection", func() bool { return len(w.Told()) == 1 })
		if got := translatortest.Codes(s.Publish(context.Background(), []translators.Envelope{translatortest.Item(1, "a", "x"), translatortest.Item(2, "b", "x")})); got != "TRANSIENT TRANSIENT" {
			t.Errorf("results %s while the server is away, want TRANSIENT", got)
		}
		if r := s.(translators.Reporter).Report(); r.Healthy {
			t.Error("the session reports that it is healthy")
		}
		var port int
		if _, err := fmt.Sscanf(url, "nats://127.0.0.1:%d", &port); err != nil {
			t.Fatal(err)
		}
		_, _ = separate(t, port)
		translatortest.WaitFor(t, "the reconnection", func() bool { return len(w.Told()) == 2 })
		if got := w.Told(); got[0].State != translators.StateDetached || got[1].State != translators.StateAttached {
			t.Errorf("states %v, want DETACHED and ATTACHED", got)
		}
		if got := translatortest.Codes(s.Publish(context.Background(), []translators.Envelope{translatortest.Item(3, "a", "x")})); got != "OK" {
			t.Errorf("results %s after the reconnection, want OK", got)
		}
		translatortest.WaitFor(t, "a delivery again", func() bool { return len(w.Delivered()) == 1 })
	})
}

// separate starts a server as a process of its own.
func separate(t *testing.T, port int) (url string, kill func()) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "nats-server", fmt.Sprint(port))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = stdin.Close()
		})
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the NATS server process said nothing: %v", err)
	}
	return strings.TrimSpace(line), kill
}

func TestOpenSaysWhatToChange(t *testing.T) {
	server := embedded(t, &natsserver.Options{Username: "u", Password: "p"})
	for name, tc := range map[string]struct {
		settings translators.Settings
		want     string
	}{
		"no url":             {translators.Settings{}, "settings.url: is required"},
		"an unknown setting": {translators.Settings{"url": "x", "ulr": 1}, "settings.ulr: is not a setting; there are url"},
		"a wrong mode":       {translators.Settings{"url": "x", "mode": "corr"}, "settings.mode: is \"corr\"; it must be one of core, jetstream"},
		"a wildcard prefix":  {translators.Settings{"url": "x", "prefix": "a.*"}, "settings.prefix: is \"a.*\"; it must be a subject"},
		"no server there":    {translators.Settings{"url": "nats://127.0.0.1:1"}, "connect to NATS at nats://127.0.0.1:1"},
		"wrong password":     {translators.Settings{"url": server.ClientURL(), "user": "u", "password": "wrong-one"}, "Authorization Violation"},
		"no JetStream there": {
			translators.Settings{"url": server.ClientURL(), "user": "u", "password": "p", "mode": "jetstream"},
			"is JetStream enabled on the server?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := nats.New().Open(context.Background(), translators.Binding{App: "app", Settings: tc.settings, Log: zerolog.Nop()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: %v, want %q in it", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "wrong-one") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestDescriptionIsInOrder(t *testing.T) {
	if err := nats.New().Describe().Check(); err != nil {
		t.Error(err)
	}
	var problems translators.Problems
	_, err := nats.New().Open(context.Background(), translators.Binding{Settings: translators.Settings{}})
	if !errors.As(err, &problems) {
		t.Errorf("Open without settings: %T, want translators.Problems", err)
	}
}
