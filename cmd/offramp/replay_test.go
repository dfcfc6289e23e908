package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/shadow/capture"
)

// recorded writes a capture of three hundred events on three channels over
// three minutes, of which a backend lost every fiftieth, repeated every
// seventieth, altered every ninetieth and swapped two.
func recorded(t *testing.T, redact bool) string {
	t.Helper()
	app := proxy.Defaults()
	app.ID = "app-id"
	app.Backends = []proxy.Backend{{Name: "nats", Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1}}
	return captured(t, app, recordedTraffic(app.ID), redact)
}

// captured writes a capture of an app's records, and returns its path.
func captured(t *testing.T, app proxy.App, records []proxy.Record, redact bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "traffic.capture")
	err := writeFile(path, func(w io.Writer) error {
		out := capture.New(capture.Settings{Out: w, App: &app, Redact: redact})
		for _, r := range records {
			if !out.Offer(r) {
				t.Fatal("a record did not fit")
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return out.Run(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func recordedTraffic(app string) []proxy.Record {
	start := time.Now()
	var records, late []proxy.Record
	for i := range 300 {
		topic := proxy.Topic{App: app, Channel: protocol.ChannelName(fmt.Sprint("room-", i%3))}
		at := start.Add(time.Duration(i) * 600 * time.Millisecond)
		ev := &proxy.Event{
			ID: proxy.EventID{Node: 1, Seq: uint64(i + 1)}, Topic: topic, Name: "message", At: at, Data: fmt.Appendf(nil, `{"n":%d,"text":"hello"}`, i),
		}
		add := func(kind proxy.Kind, leg proxy.Leg, ev *proxy.Event, after time.Duration) {
			records = append(records, proxy.Record{Kind: kind, At: at.Add(after), Leg: leg, Topic: topic, Event: ev, Count: 2})
		}
		add(proxy.KindPublished, proxy.LegEngine, ev, 0)
		add(proxy.KindDelivered, proxy.LegEngine, ev, time.Microsecond)
		records = append(records, proxy.Record{Kind: proxy.KindMirrored, At: at.Add(time.Millisecond), Leg: "nats", Topic: topic, Event: ev, Text: "OK", Count: i + 1})
		bare := *ev
		bare.ID = proxy.EventID{}
		switch {
		case i%50 == 7:
			continue
		case i%70 == 8:
			add(proxy.KindDelivered, "nats", &bare, 2*time.Millisecond)
		case i%90 == 9:
			bare.Data = []byte(`{"n":0,"text":"other"}`)
		case i == 150:
			late = append(late, proxy.Record{Kind: proxy.KindDelivered, At: at.Add(1900 * time.Millisecond), Leg: "nats", Topic: topic, Event: &bare, Count: 1})
			continue
		}
		add(proxy.KindDelivered, "nats", &bare, 3*time.Millisecond)
		if i == 153 {
			records = append(records, late...)
		}
	}
	return records
}

func TestARecordingGivesTheSameReportEachTime(t *testing.T) {
	for _, redact := range []bool{false, true} {
		t.Run(fmt.Sprint("redacted=", redact), func(t *testing.T) {
			path := recorded(t, redact)
			first, problems, code := execute(t.Context(), "", "replay", path, "--format", "json")
			if code != exitFailed {
				t.Fatalf("exit status %d, want %d for not ready: %s", code, exitFailed, problems)
			}
			if second, _, _ := execute(t.Context(), "", "replay", path, "--format", "json"); first != second {
				t.Errorf("two replays of one recording differ: %s", cmp.Diff(first, second))
			}
			var r struct {
				Pairs []struct{ Total map[string]any }
			}
			if err := json.Unmarshal([]byte(first), &r); err != nil {
				t.Fatal(err)
			}
			for figure, want := range map[string]float64{
				"expected": 300, "missing": 6, "duplicate": 5, "payload_differs": 4, "reordered": 1, "unknown": 0,
			} {
				if got := r.Pairs[0].Total[figure]; got != want {
					t.Errorf("%s is %v, want %v", figure, got, want)
				}
			}
		})
	}
}

func TestEveryExhibitShowsItsFindingAgain(t *testing.T) {
	capture := recorded(t, true)
	for _, form := range []string{"json", "html"} {
		// A name that a shell would take apart, so that the command must quote it.
		path := filepath.Join(t.TempDir(), "the report."+form)
		if _, problems, code := execute(t.Context(), "", "replay", capture, "--format", form, "--out", path); code != exitFailed {
			t.Fatalf("exit status %d, want %d for not ready: %s", code, exitFailed, problems)
		}
		r, err := readReport(path)
		if err != nil {
			t.Fatal(err)
		}
		findings := make(map[string]int)
		for _, x := range r.Exhibits {
			findings[x.Finding]++
			if want := "offramp replay '" + path + "' --exhibit " + x.ID; x.Replay != want {
				t.Errorf("exhibit %s: its command is %s, want %s", x.ID, x.Replay, want)
			}
			out, problems, code := execute(t.Context(), "", "replay", path, "--exhibit", x.ID)
			if code != exitOK || !strings.Contains(out, "it shows again") {
				t.Errorf("exhibit %s: exit status %d %s, want the finding again:\n%s", x.ID, code, problems, out)
			}
		}
		want := map[string]int{"missing": 3, "duplicate": 3, "payload_differs": 3, "reordered": 1}
		for finding, n := range want {
			if findings[finding] != n {
				t.Errorf("%d exhibits of %s, want %d", findings[finding], finding, n)
			}
		}
	}
}

func TestReplayRefusesWhatItCannotPlay(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole, err := os.ReadFile(recorded(t, true))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no such file":                {[]string{filepath.Join(dir, "nothing")}, "no such file"},
		"an empty file":               {[]string{write("empty", nil)}, "neither a recording nor a report"},
		"half a recording":            {[]string{write("half", whole[:len(whole)/2])}, "read capture"},
		"a report without exhibit":    {[]string{write("r.json", []byte(`{"schema":"offramp.report/v1"}`))}, "--exhibit"},
		"an exhibit there is none of": {[]string{filepath.Join(dir, "r.json"), "--exhibit", "x9"}, `no exhibit "x9"`},
		"a page that is no report":    {[]string{write("page.html", []byte("<html>")), "--exhibit", "x1"}, "no report"},
		"an exhibit of a recording":   {[]string{write("whole", whole), "--exhibit", "x1"}, "is a recording"},
		"an unknown plugin":           {[]string{filepath.Join(dir, "whole"), "--against", "natz"}, "natz"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems, code := execute(t.Context(), "", append([]string{"replay"}, tc.args...)...)
			if code != exitTool || !strings.Contains(problems, tc.want) {
				t.Errorf("exit status %d, %q, want %d and a word about %q", code, problems, exitTool, tc.want)
			}
		})
	}
}
