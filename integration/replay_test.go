package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTrafficIsRecordedAndPlayedAgain: a stretch of traffic is recorded on a
// running gateway, compared again from the file, and played through another
// gateway to another server, which gives the same report each time but for the
// times that it measures.
func TestTrafficIsRecordedAndPlayedAgain(t *testing.T) {
	const channels, batches = 1, 24
	g := startMirrored(t, "nats", "nats://"+startEmbeddedNATS(t), channels)
	file := filepath.Join(t.TempDir(), "traffic.capture")
	recorded := make(chan string, 1)
	go func() {
		out, status := run(t, "record", "--admin", "http://"+g.Admin, "--for", "6s", "--out", file)
		if status != 0 {
			t.Errorf("record: exit status %d\n%s", status, out)
		}
		recorded <- out
	}()
	time.Sleep(time.Second) // the recording has begun by then, or less is recorded: both are looked for
	publishNumbers(t, g, channels, batches)
	if out := <-recorded; !strings.Contains(out, "offramp replay "+file) {
		t.Errorf("record says %q, want the command that compares it again", out)
	}

	seen := replayed(t, file)
	if n := seen.Matched; n == 0 || n > channels*batches*batchOfNumbers || seen.Missing+seen.Extra+seen.Duplicate+seen.PayloadDiffers+seen.Reordered != 0 {
		t.Fatalf("compared again: %+v, want events, all matched", seen)
	}
	if again := replayed(t, file); again.text != seen.text {
		t.Error("the same recording gives two reports")
	}

	settings := filepath.Join(t.TempDir(), "nats.yaml")
	if err := os.WriteFile(settings, []byte("url: nats://"+startEmbeddedNATS(t)+"\nfaults: drop=0.1,seed=7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := replayed(t, file, "--against", "nats", "--settings", settings)
	second := replayed(t, file, "--against", "nats", "--settings", settings)
	if first.Expected < seen.Matched || first.Missing == 0 || first.Unknown != 0 {
		t.Errorf("played to a server that loses a tenth: %+v, want the %d events, some of them missing", first, seen.Matched)
	}
	if first.text != second.text {
		t.Errorf("played twice: %s", cmp.Diff(first.text, second.text))
	}

	// The same to a server of another kind, which loses nothing.
	settings = filepath.Join(t.TempDir(), "redis.yaml")
	if err := os.WriteFile(settings, []byte("url: redis://127.0.0.1:"+startRedis(t).port+"/0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first = replayed(t, file, "--against", "redis", "--settings", settings)
	second = replayed(t, file, "--against", "redis", "--settings", settings)
	if first.Expected < seen.Matched || first.Matched != first.Expected || first.Unknown+first.Extra+first.Duplicate+first.Reordered != 0 {
		t.Errorf("played to Redis: %+v, want the %d events, all matched", first, seen.Matched)
	}
	if first.text != second.text {
		t.Errorf("played to Redis twice: %s", cmp.Diff(first.text, second.text))
	}
}

// replay is a replay's report: its total, and its text without what was
// measured.
type replay struct {
	Expected, Matched, Missing, Duplicate, Reordered, Unknown, Extra int64
	PayloadDiffers                                                   int64 `json:"payload_differs"`

	text string
}

func replayed(t *testing.T, file string, args ...string) replay {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.json")
	out, status := run(t, append([]string{"replay", file, "--format", "json", "--out", path}, args...)...)
	if status > 2 {
		t.Fatalf("replay: exit status %d\n%s", status, out)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Pairs []struct{ Total replay }
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &report); err != nil || len(report.Pairs) != 1 {
		t.Fatalf("%d pairs, %v", len(report.Pairs), err)
	}
	text, err := json.MarshalIndent(withoutTimes(all), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	r := report.Pairs[0].Total
	r.text = strings.ReplaceAll(string(text), filepath.Dir(path), "")
	return r
}

// withoutTimes takes out what a report measures with a clock.
func withoutTimes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range []string{"latency_ms", "latency_curve", "at", "frames", "event_id"} {
			delete(v, key)
		}
		for key := range v {
			v[key] = withoutTimes(v[key])
		}
	case []any:
		for i := range v {
			v[i] = withoutTimes(v[i])
		}
	}
	return v
}
