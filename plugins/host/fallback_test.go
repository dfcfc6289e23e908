package host_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/plugins/host"
)

// TestAVersionThatFailsGivesWayToTheOneBefore: it passed the checks of a swap,
// the executable before it is gone from its place, and all the same that one
// runs again, with what the new version has not answered for.
func TestAVersionThatFailsGivesWayToTheOneBefore(t *testing.T) {
	t.Parallel()
	url := natsURL(t)
	kept, found := storeOf(t, url), &records{}
	path := filepath.Join(t.TempDir(), "plugin")
	first, fragile, third := build(t, "1.0.0"), build(t, "2.0.0-fragile"), build(t, "3.0.0")
	install(t, first, path)
	h, stop := start(t, settingsFor(t, found, backend(path, map[string]any{"url": url})))
	status := func() host.Status { return h.Status()[0] }
	waitFor(t, "the first version", func() bool { return status().Version == "1.0.0" })
	tr := generate(h, 20*time.Millisecond)
	defer tr.stop()
	tr.passes(t)

	install(t, fragile, path)
	if err := h.Renew(nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the first version again", func() bool {
		s := status()
		return s.SwapsRefused == 1 && s.Version == "1.0.0" && s.State == host.StateRunning
	})
	if s := status(); s.Swaps != 1 || !strings.Contains(s.SwapError, "version 1.0.0 runs again") {
		t.Errorf("status %+v", s)
	}
	tr.passes(t)

	install(t, third, path)
	if err := h.Renew(nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the third version", func() bool { return status().Version == "3.0.0" && status().Swaps == 2 })
	tr.passes(t)
	tr.stop()
	total := int(tr.published.Load())
	waitFor(t, "all answers", func() bool { return len(answered(found)) == total })
	waitFor(t, "all of it on the backend", func() bool { return kept.len() >= total })
	stop()
	if n := tr.refused.Load(); n > 0 {
		t.Errorf("%d events were dropped", n)
	}
	for subject, events := range kept.perSubject() {
		numbered(t, "on the backend, "+subject, events, total/trafficChannels)
	}
}
