package ably_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/ably"
	"github.com/offramp/offramp/translators/ably/ablytest"
)

// TestMain makes the test binary the plugin when it is run as "BINARY plugin".
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "plugin" {
		if err := plugins.Serve(ably.New()); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// standIn starts a stand-in for Ably.
func standIn(t *testing.T, o ablytest.Options) *ablytest.Server {
	t.Helper()
	server, err := ablytest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func settings(server *ablytest.Server, more ...any) translators.Settings {
	s := translators.Settings{"key": proxy.NewSecret(server.Key()), "host": server.Addr(), "tls": false, "retry": "200ms"}
	for i := 0; i < len(more); i += 2 {
		s[more[i].(string)] = more[i+1]
	}
	return s
}

func open(t *testing.T, role proxy.Role, settings translators.Settings) translators.Session {
	t.Helper()
	s, err := ably.New().Open(t.Context(), translators.Binding{
		App: "app", Backend: "ably", Role: role, Gateway: "offramp", Settings: settings, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func item(seq uint64, channel, data string) translators.Envelope {
	return translators.Envelope{
		ID: proxy.EventID{Node: 1, Seq: seq}, App: "app", Channel: protocol.ChannelName(channel), Event: "message",
		Data: []byte(data), Origin: "offramp",
	}
}

func codes(results []translators.Result) string {
	texts := make([]string, len(results))
	for i, r := range results {
		texts[i] = r.Code.String()
	}
	return strings.Join(texts, " ")
}

// watcher is an observer that tells what it is shown.
type watcher struct {
	mu     sync.Mutex
	items  []translators.Envelope
	states []translators.ChannelState
}

func (w *watcher) Deliver(e translators.Envelope) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.items = append(w.items, e)
}

func (w *watcher) State(s translators.ChannelState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = append(w.states, s)
}

func (w *watcher) delivered() []translators.Envelope {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]translators.Envelope(nil), w.items...)
}

func (w *watcher) told() []translators.ChannelState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]translators.ChannelState(nil), w.states...)
}

func subscribe(t *testing.T, s translators.Session, channel string) *watcher {
	t.Helper()
	w := &watcher{}
	stop, err := s.(translators.Subscriber).Subscribe(t.Context(), protocol.ChannelName(channel), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return w
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
