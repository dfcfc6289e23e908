package host_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// records collects what a host finds out.
type records struct {
	mu  sync.Mutex
	all []proxy.Record
}

func (r *records) Offer(record proxy.Record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record)
	return true
}

func (r *records) of(kind proxy.Kind) []proxy.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []proxy.Record
	for _, record := range r.all {
		if record.Kind == kind {
			found = append(found, record)
		}
	}
	return found
}

// waitFor polls: the other side is a process with a clock of its own.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func backend(plugin string, settings map[string]any) proxy.Backend {
	return proxy.Backend{
		Name: "candidate", Plugin: plugin, Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1, Settings: settings,
	}
}

func settingsFor(t *testing.T, out proxy.Sink, b proxy.Backend) host.Settings {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "host") // a test's own directory has too long a name for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := os.ReadDir(sockets)
		if err != nil || len(left) > 0 {
			t.Errorf("socket directories left behind: %v, %v", left, err)
		}
		_ = os.RemoveAll(sockets)
	})
	return host.Settings{
		Bindings: []host.Binding{{App: "app", Backend: b}}, Executable: executable,
		Builtins: []string{"nats", "ably", "bare", "echo", "reflects", "refuses", "chatty", "stuck", "panics", "narrow"},
		Out:      out, Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel), SocketDir: sockets,
	}
}

// start runs a host until the test ends or stop is called.
func start(t testing.TB, s host.Settings) (h *host.Host, stop func()) {
	t.Helper()
	h, err := host.New(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return h, stop
}

func natsURL(t *testing.T) string {
	t.Helper()
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Shutdown)
	if !server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	return server.ClientURL()
}

// publisher makes events with ids and times as an engine does.
type publisher struct{ seq uint64 }

func (p *publisher) publish(channel, name, data string) proxy.Record {
	p.seq++
	topic := proxy.Topic{App: "app", Channel: protocol.ChannelName(channel)}
	e := &proxy.Event{
		ID: proxy.EventID{Node: 7, Seq: p.seq}, Topic: topic, Name: name, Data: []byte(data), Origin: proxy.LegEngine, At: time.Now(),
	}
	return proxy.Record{Kind: proxy.KindPublished, At: e.At, Leg: proxy.LegEngine, Topic: topic, Event: e}
}

func TestHost(t *testing.T) {
	t.Run("every event is answered and observed once, in order, from the first on", func(t *testing.T) {
		found := &records{}
		h, stop := start(t, settingsFor(t, found, backend("nats", map[string]any{"url": natsURL(t)})))
		var p publisher
		const channels, each = 5, 400
		for i := range each {
			for c := range channels {
				if !h.Offer(p.publish(fmt.Sprintf("room.%d", c), "message", fmt.Sprintf(`{"n":%d}`, i))) {
					t.Fatal("an event was dropped")
				}
			}
		}
		waitFor(t, "all deliveries", func() bool { return len(found.of(proxy.KindDelivered)) >= channels*each })
		stop()
		seen := map[proxy.EventID]int{}
		next := map[protocol.ChannelName]int{}
		for _, r := range found.of(proxy.KindDelivered) {
			seen[r.Event.ID]++
			if want := fmt.Sprintf(`{"n":%d}`, next[r.Topic.Channel]); string(r.Event.Data) != want {
				t.Fatalf("channel %s delivered %s, want %s", r.Topic.Channel, r.Event.Data, want)
			}
			next[r.Topic.Channel]++
			if r.Leg != "candidate" || r.Topic.App != "app" || r.Event.Name != "message" {
				t.Fatalf("delivery %+v lacks what tells where it is from", r)
			}
		}
		if len(seen) != channels*each {
			t.Errorf("%d distinct events were delivered, want %d", len(seen), channels*each)
		}
		if gaps := found.of(proxy.KindGap); len(gaps) != 0 {
			t.Errorf("gaps %+v, want none", gaps)
		}
		mirrored := found.of(proxy.KindMirrored)
		if len(mirrored) != channels*each {
			t.Errorf("%d events were answered, want %d", len(mirrored), channels*each)
		}
		for _, r := range mirrored {
			if r.Text != "OK" || r.Event == nil {
				t.Fatalf("answer %+v, want OK with its event", r)
			}
		}
		if s := h.Status()[0]; s.State != host.StateStopped || s.Results["OK"] != channels*each || s.Delivered != channels*each {
			t.Errorf("status %+v", s)
		}
	})

	t.Run("a plugin that is killed comes back, nothing is lost for good, and the hole is told", func(t *testing.T) {
		found := &records{}
		h, stop := start(t, settingsFor(t, found, backend("nats", map[string]any{"url": natsURL(t)})))
		waitFor(t, "the plugin", func() bool { return h.Status()[0].State == host.StateRunning })
		var p publisher
		var published []proxy.Record
		const total, killAt = 3000, 1000
		for i := range total {
			r := p.publish("room", "message", fmt.Sprint(i))
			published = append(published, r)
			h.Offer(r)
			if i == killAt {
				first := h.Status()[0].PID
				if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		waitFor(t, "all answers", func() bool { return len(answered(found)) == total })
		waitFor(t, "the last delivery", func() bool {
			all := found.of(proxy.KindDelivered)
			return len(all) > 0 && all[len(all)-1].Event.ID == published[total-1].Event.ID
		})
		stop()
		gaps := found.of(proxy.KindGap)
		if len(gaps) == 0 {
			t.Fatal("no gap was told")
		}
		delivered := map[proxy.EventID]bool{}
		for _, r := range found.of(proxy.KindDelivered) {
			delivered[r.Event.ID] = true
		}
		for _, r := range published {
			if !delivered[r.Event.ID] && !covered(gaps, r.Event) {
				t.Errorf("event %s of %s is neither delivered nor in a gap", r.Event.ID, r.At)
			}
		}
		if s := h.Status()[0]; s.Restarts != 1 || s.Dropped != 0 {
			t.Errorf("%d restarts and %d dropped, want 1 and 0", s.Restarts, s.Dropped)
		}
	})

	t.Run("a refusal is told by its code", func(t *testing.T) {
		found := &records{}
		h, _ := start(t, settingsFor(t, found, backend("echo", nil)))
		var p publisher
		h.Offer(p.publish("room", "throttle", ""))
		h.Offer(p.publish("room", "message", ""))
		waitFor(t, "both answers", func() bool { return len(found.of(proxy.KindMirrored)) == 2 })
		if first := found.of(proxy.KindMirrored)[0]; first.Text != "THROTTLED" {
			t.Errorf("first answer %s, want THROTTLED", first.Text)
		}
	})

	t.Run("a panic, a refused opening and a missing start are told as what they are", func(t *testing.T) {
		for plugin, want := range map[string]string{
			"panics":  "panic: a translator that cannot even be made",
			"refuses": "the backend is not there",
			"echo":    "panic: a bug in the translator",
		} {
			s := settingsFor(t, &records{}, backend(plugin, nil))
			s.Restart.Budget = 1
			s.Restart.First = time.Millisecond
			h, stop := start(t, s)
			var p publisher
			waitFor(t, plugin+" in quarantine", func() bool {
				h.Offer(p.publish("room", "panic", ""))
				return h.Status()[0].State == host.StateQuarantined
			})
			if got := h.Status()[0].LastError; !strings.Contains(got, want) {
				t.Errorf("%s: last error %q, want %q in it", plugin, got, want)
			}
			stop()
		}
	})

	t.Run("a quarantined plugin drops events, tells the hole, and can be released", func(t *testing.T) {
		found := &records{}
		s := settingsFor(t, found, backend("refuses", nil))
		s.Restart.Budget, s.Restart.First = 1, time.Millisecond
		h, _ := start(t, s)
		waitFor(t, "quarantine", func() bool { return h.Status()[0].State == host.StateQuarantined })
		var p publisher
		r := p.publish("room", "message", "")
		if h.Offer(r) {
			t.Error("Offer accepted an event for a quarantined plugin")
		}
		waitFor(t, "a gap around the event", func() bool { return covered(found.of(proxy.KindGap), r.Event) })
		if !h.Release("app", "candidate") {
			t.Error("Release found no such backend")
		}
		waitFor(t, "another start", func() bool { return h.Status()[0].State != host.StateQuarantined })
	})

	t.Run("prints do not break the handshake, and secrets do not reach the log", func(t *testing.T) {
		var log logBuffer
		s := settingsFor(t, &records{}, backend("chatty", map[string]any{"secret": proxy.NewSecret("s3cr3t-text")}))
		s.Log = zerolog.New(&log)
		h, stop := start(t, s)
		waitFor(t, "the plugin", func() bool { return h.Status()[0].State == host.StateRunning })
		waitFor(t, "its log line", func() bool { return strings.Contains(log.String(), "opened") })
		stop()
		if strings.Contains(log.String(), "s3cr3t-text") {
			t.Errorf("the secret is in the log:\n%s", log.String())
		}
	})

	t.Run("faults that are asked for are injected, and counted to the last", func(t *testing.T) {
		found := &records{}
		h, stop := start(t, settingsFor(t, found, backend("nats", map[string]any{
			"url": natsURL(t), "faults": "drop=0.05,dup=0.05,reorder=0.05,corrupt=0.05,delay=20ms,seed=3",
		})))
		var p publisher
		const total = 1000
		for i := range total {
			h.Offer(p.publish("room", "message", fmt.Sprint(i)))
		}
		waitFor(t, "the answers", func() bool { return h.Status()[0].Results["OK"] == total })
		waitFor(t, "the deliveries", func() bool {
			s := h.Status()[0]
			return s.Delivered == total-s.Counters["faults_drop"]+s.Counters["faults_dup"] && s.Counters["faults_drop"] > 0
		})
		stop()
		times := map[proxy.EventID]int{}
		var last, reordered, corrupted uint64
		for _, r := range found.of(proxy.KindDelivered) {
			times[r.Event.ID]++
			if r.Event.ID.Seq < last {
				reordered++
			}
			last = max(last, r.Event.ID.Seq)
			if string(r.Event.Data) != fmt.Sprint(r.Event.ID.Seq-1) {
				corrupted++
			}
		}
		var dup uint64
		for _, n := range times {
			dup += uint64(n - 1)
		}
		counters := h.Status()[0].Counters
		got := []uint64{uint64(total - len(times)), dup, reordered, corrupted}
		want := []uint64{counters["faults_drop"], counters["faults_dup"], counters["faults_reorder"], counters["faults_corrupt"]}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("a reader finds %v drops, duplicates, reorders and corruptions, but %v were injected", got, want)
		}
	})

	t.Run("a full queue drops, counts and tells", func(t *testing.T) {
		found := &records{}
		s := settingsFor(t, found, backend("stuck", nil))
		s.QueueItems = 10
		h, _ := start(t, s)
		var p publisher
		var dropped *proxy.Event
		for range 11 {
			if r := p.publish("room", "message", ""); !h.Offer(r) {
				dropped = r.Event
			}
		}
		if dropped == nil {
			t.Fatal("nothing was dropped")
		}
		waitFor(t, "a gap around the dropped event", func() bool { return covered(found.of(proxy.KindGap), dropped) })
		if got := h.Status()[0].Dropped; got != 1 {
			t.Errorf("%d dropped, want 1", got)
		}
	})
}

type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func answered(found *records) map[proxy.EventID]bool {
	ids := map[proxy.EventID]bool{}
	for _, r := range found.of(proxy.KindMirrored) {
		ids[r.Event.ID] = true
	}
	return ids
}

func covered(gaps []proxy.Record, e *proxy.Event) bool {
	for _, g := range gaps {
		if (g.Topic.Channel == "" || g.Topic == e.Topic) && !e.At.Before(g.From) && !e.At.After(g.At) {
			return true
		}
	}
	return false
}

func TestNewRefusesAPluginThatIsNotThere(t *testing.T) {
	for name, tc := range map[string]struct {
		plugin string
		lock   *host.Lock
		want   string
	}{
		"a name that is not built in": {plugin: "nets", want: `there is no plugin "nets": use one of nats`},
		"a path without a file":       {plugin: "./no/such", want: "plugin ./no/such cannot be run"},
		"a path that is not locked":   {plugin: "/bin/sh", lock: &host.Lock{}, want: "/bin/sh is not listed"},
		"a file that has changed": {
			plugin: "/bin/sh", want: "/bin/sh has changed since it was locked",
			lock: &host.Lock{Plugins: []host.LockedPlugin{{Source: "/bin/sh", SHA256: strings.Repeat("00", 32)}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := settingsFor(t, &records{}, backend(tc.plugin, nil))
			s.Lock = tc.lock
			_, err := host.New(s)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New: %v, want %q in it", err, tc.want)
			}
		})
	}
}
