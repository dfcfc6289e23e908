package host_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// build builds a version of the plugin in testdata/versioned.
func build(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w -X main.version="+version, "-o", path, "./testdata/versioned")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build version %s: %v\n%s", version, err, out)
	}
	return path
}

// install puts an executable into another's place, as a deployment does, and
// returns the lock file that pins it.
func install(t *testing.T, from, to string) *host.Lock {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	sum, err := host.Checksum(to)
	if err != nil {
		t.Fatal(err)
	}
	return &host.Lock{Plugins: []host.LockedPlugin{{Name: "nats", SHA256: sum, Source: to}}}
}

// store is what a backend was given, in order.
type store struct {
	mu       sync.Mutex
	messages []*nats.Msg
}

func storeOf(t *testing.T, url string) *store {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	s := &store{}
	if _, err = conn.Subscribe("offramp.>", func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.messages = append(s.messages, m)
	}); err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// perSubject returns the messages' data by subject.
func (s *store) perSubject() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]string{}
	for _, m := range s.messages {
		all[m.Subject] = append(all[m.Subject], string(m.Data))
	}
	return all
}

func (s *store) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// traffic publishes on some channels, numbered per channel, until it is told to
// stop.
type traffic struct {
	published atomic.Int64
	refused   atomic.Int64
	stop      func()
}

const trafficChannels = 5

func generate(h *host.Host, every time.Duration) *traffic {
	tr := &traffic{}
	done, ended := make(chan struct{}), make(chan struct{})
	tr.stop = sync.OnceFunc(func() {
		close(done)
		<-ended
	})
	go func() {
		defer close(ended)
		var p publisher
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for n := 0; ; n++ {
			for c := range trafficChannels {
				if !h.Offer(p.publish(fmt.Sprintf("room-%d", c), "message", fmt.Sprint(n))) {
					tr.refused.Add(1)
				}
				tr.published.Add(1)
			}
			select {
			case <-ticker.C:
			case <-done:
				return
			}
		}
	}()
	return tr
}

// passes waits for some more events to be published.
func (tr *traffic) passes(t *testing.T) {
	t.Helper()
	until := tr.published.Load() + 200
	waitFor(t, "traffic", func() bool { return tr.published.Load() >= until })
}

// numbered checks that events are 0, 1, 2, … without a hole, a repetition or a
// swap.
func numbered(t *testing.T, where string, events []string, want int) {
	t.Helper()
	for i, data := range events {
		if data != fmt.Sprint(i) {
			t.Fatalf("%s: event %s is where %d should be", where, data, i)
		}
	}
	if len(events) != want {
		t.Errorf("%s: %d events, want %d", where, len(events), want)
	}
}

func TestSwap(t *testing.T) {
	t.Parallel()
	url := natsURL(t)
	kept, found := storeOf(t, url), &records{}
	first, second, blind := build(t, "1.0.0"), build(t, "2.0.0"), build(t, "3.0.0-blind")
	path := filepath.Join(t.TempDir(), "plugin")
	b := backend(path, map[string]any{"url": url})
	lock := install(t, first, path)
	s := settingsFor(t, found, b)
	s.Lock = lock
	h, stop := start(t, s)
	status := func() host.Status { return h.Status()[0] }
	renew := func(lock *host.Lock) {
		t.Helper()
		if err := h.Renew(lock); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	waitFor(t, "the first version", func() bool { return status().Version == "1.0.0" })
	before := status().PID
	tr := generate(h, 2*time.Millisecond)
	defer tr.stop()
	tr.passes(t)

	renew(lock) // nothing has changed
	lock = install(t, second, path)
	if err := h.Renew(&host.Lock{Plugins: []host.LockedPlugin{{Source: path, SHA256: strings.Repeat("00", 32)}}}); err == nil {
		t.Error("Renew took an executable that the lock does not pin")
	}
	renew(lock)
	waitFor(t, "the second version", func() bool { return status().Swaps == 1 })
	if got := status(); got.Version != "2.0.0" || got.PID == before || got.State != host.StateRunning || got.Restarts != 0 {
		t.Errorf("status after the swap: %+v", got)
	}
	if alive(before) {
		t.Errorf("the old process %d is still there", before)
	}
	tr.passes(t)

	for refusals, bad := range []struct{ path, why string }{
		{blind, "it cannot observe channel room-"},
		{script(t, "echo a plugin that says goodbye; exit 1"), "it said: a plugin that says goodbye"},
	} {
		lock = install(t, bad.path, path)
		serving := status().PID
		renew(lock)
		waitFor(t, "a refusal", func() bool { return status().SwapsRefused == refusals+1 })
		if got := status(); !strings.Contains(got.SwapError, bad.why) || got.PID != serving || got.State != host.StateRunning {
			t.Errorf("after a bad version, want %q: %+v", bad.why, got)
		}
		tr.passes(t)
	}
	tr.stop()
	total := int(tr.published.Load())
	waitFor(t, "all deliveries", func() bool { return len(found.of(proxy.KindDelivered)) >= total && kept.len() >= total })
	stop()

	if n := tr.refused.Load(); n > 0 {
		t.Errorf("%d events were dropped", n)
	}
	bySubject := kept.perSubject()
	if len(bySubject) != trafficChannels {
		t.Errorf("the backend has %d channels, want %d", len(bySubject), trafficChannels)
	}
	for subject, events := range bySubject {
		numbered(t, "on the backend, "+subject, events, total/trafficChannels)
	}
	delivered := map[protocol.ChannelName][]string{}
	for _, r := range found.of(proxy.KindDelivered) {
		delivered[r.Topic.Channel] = append(delivered[r.Topic.Channel], string(r.Event.Data))
	}
	for channel, events := range delivered {
		numbered(t, "observed, "+string(channel), events, total/trafficChannels)
	}
	if gaps := found.of(proxy.KindGap); len(gaps) > 0 {
		t.Errorf("gaps %+v, want none", gaps)
	}
	if got := len(found.of(proxy.KindMirrored)); got != total {
		t.Errorf("%d events were answered for, want %d", got, total)
	}
}

// TestSwapFromAFrozenPlugin takes over from a process that does not answer any
// more: what it had goes to the new one.
func TestSwapFromAFrozenPlugin(t *testing.T) {
	t.Parallel()
	url := natsURL(t)
	kept, found := storeOf(t, url), &records{}
	path := filepath.Join(t.TempDir(), "plugin")
	first, second := build(t, "1.0.0"), build(t, "2.0.0")
	install(t, first, path)
	h, stop := start(t, settingsFor(t, found, backend(path, map[string]any{"url": url})))
	waitFor(t, "the first version", func() bool { return h.Status()[0].Version == "1.0.0" })
	tr := generate(h, 20*time.Millisecond)
	defer tr.stop()
	tr.passes(t)
	install(t, second, path)
	if err := syscall.Kill(h.Status()[0].PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := h.Renew(nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the second version", func() bool { return h.Status()[0].Version == "2.0.0" })
	tr.passes(t)
	tr.stop()
	total := int(tr.published.Load())
	waitFor(t, "all answers", func() bool { return len(answered(found)) == total })
	stop()
	for subject, events := range kept.perSubject() {
		have := map[string]bool{}
		for _, data := range events {
			have[data] = true
		}
		for n := range total / trafficChannels {
			if !have[fmt.Sprint(n)] {
				t.Errorf("event %d is not on the backend, %s", n, subject)
			}
		}
	}
}

// script writes an executable that is no plugin.
func script(t *testing.T, commands string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+commands+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
