package translatortest

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// pluginArgument makes a test binary the plugin.
const pluginArgument = "plugin"

// Main is a TestMain that makes the test binary the plugin, too: Self says how
// to run it as such. It ends the process.
func Main(m *testing.M, t translators.Translator) {
	if len(os.Args) != 2 || os.Args[1] != pluginArgument {
		// The race detector keeps each process for a second at its end, and the
		// kit starts dozens.
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
		os.Exit(m.Run())
	}
	if err := plugins.Serve(t); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// Self returns how to run a test binary whose TestMain calls Main as the
// plugin, in a process of its own.
func Self(t testing.TB) host.Command {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return host.Command{Path: executable, Args: []string{pluginArgument}, Environment: []string{"GORACE"}}
}

// Open opens a session for a test, as the gateway "offramp" does for the app
// "app". It is closed when the test ends.
func Open(t testing.TB, translator translators.Translator, role proxy.Role, settings translators.Settings) translators.Session {
	t.Helper()
	s, err := translator.Open(context.Background(), translators.Binding{
		App: "app", Backend: "other", Role: role, Gateway: "offramp", Settings: settings, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// Item returns an event called "message" of the gateway "offramp".
func Item(seq uint64, channel, data string) translators.Envelope {
	return translators.Envelope{
		ID: proxy.EventID{Node: 1, Seq: seq}, App: "app", Channel: protocol.ChannelName(channel), Event: "message",
		Data: []byte(data), Origin: "offramp",
	}
}

// Codes returns the codes of results in one text, such as "OK THROTTLED".
func Codes(results []translators.Result) string {
	texts := make([]string, len(results))
	for i, r := range results {
		texts[i] = r.Code.String()
	}
	return strings.Join(texts, " ")
}

// Watcher is an observer that keeps what it is shown.
type Watcher struct {
	mu     sync.Mutex
	items  []translators.Envelope
	states []translators.ChannelState
}

// Deliver implements translators.Observer.
func (w *Watcher) Deliver(e translators.Envelope) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.items = append(w.items, e)
}

// State implements translators.Observer.
func (w *Watcher) State(s translators.ChannelState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = append(w.states, s)
}

// Delivered returns the events so far.
func (w *Watcher) Delivered() []translators.Envelope {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]translators.Envelope(nil), w.items...)
}

// Told returns the changes of state so far.
func (w *Watcher) Told() []translators.ChannelState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]translators.ChannelState(nil), w.states...)
}

// Watch subscribes to a channel until the test ends.
func Watch(t testing.TB, s translators.Session, channel string) *Watcher {
	t.Helper()
	w := &Watcher{}
	stop, err := s.(translators.Subscriber).Subscribe(context.Background(), protocol.ChannelName(channel), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return w
}

// WaitFor waits for something that a backend does in its own time, and fails
// the test when it does not.
func WaitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
