package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// relayedTraffic is what is seen of three minutes of a relayed app whose engine
// and backend do wrong in what is not plain loss.
func relayedTraffic(app string) []proxy.Record {
	start := time.Now()
	var records []proxy.Record
	room, private := proxy.Topic{App: app, Channel: "presence-room-1"}, proxy.Topic{App: app, Channel: "private-desk-1"}
	public := proxy.Topic{App: app, Channel: "room-1"}
	add := func(seconds float64, r proxy.Record) {
		if r.At = start.Add(time.Duration(seconds * float64(time.Second))); r.Topic.App == "" {
			r.Topic = room
		}
		records = append(records, r)
	}
	vendorTold := func(at float64, kind proxy.WebhookType, user string) {
		add(at, proxy.Record{Kind: proxy.KindWebhook, Leg: proxy.LegVendor, Action: string(kind), UserID: user})
	}
	vendor, engine := proxy.LegVendor, proxy.LegEngine
	js := &proxy.Client{Library: "js", Version: "8.4"}

	// ann comes as she should; gus is a ghost of the engine's, which would also
	// tell of him; bob is missed by the engine, who is told of by the vendor.
	add(0, proxy.Record{Kind: proxy.KindConnected, Leg: vendor, Socket: "1.1", Client: js})
	for _, topic := range []proxy.Topic{room, public} {
		add(0, proxy.Record{Kind: proxy.KindSubscribed, Leg: vendor, Topic: topic, Socket: "1.1", UserID: "ann", Count: 1})
		add(0.1, proxy.Record{Kind: proxy.KindSubscribed, Leg: engine, Topic: topic, Socket: "1.1", UserID: "ann", Count: 1})
	}
	add(0.1, proxy.Record{Kind: proxy.KindMemberAdded, Leg: engine, UserID: "ann"})
	vendorTold(0.2, proxy.WebhookMemberAdded, "ann")
	add(20, proxy.Record{Kind: proxy.KindMemberAdded, Leg: engine, UserID: "gus"})
	add(60, proxy.Record{Kind: proxy.KindSubscribed, Leg: vendor, Socket: "2.2", UserID: "bob", Count: 2})
	vendorTold(60.2, proxy.WebhookMemberAdded, "bob")

	add(61, proxy.Record{Kind: proxy.KindAllowed, Leg: vendor, Topic: private, Socket: "1.1", Action: "subscribe"})
	add(61.1, proxy.Record{Kind: proxy.KindRefused, Leg: engine, Topic: private, Socket: "1.1", Action: "subscribe", Code: 4009})
	for i := range 4 {
		add(62+float64(i), proxy.Record{Kind: proxy.KindFrame, Leg: vendor, Client: js, Action: "pusher:error", Text: "{data:{code:4009,message:string},event:string}"})
		add(62.1+float64(i), proxy.Record{Kind: proxy.KindFrame, Leg: engine, Client: js, Action: "pusher:error", Text: "{data:{message:string},event:string}"})
	}
	for i := range 40 {
		at, ev := 70+float64(i), &proxy.Event{ID: proxy.EventID{Node: 1, Seq: uint64(i + 1)}, Topic: public, Name: "message", Data: fmt.Appendf(nil, `{"secret":"account %d"}`, i)}
		ev.At = start.Add(time.Duration(at * float64(time.Second)))
		add(at, proxy.Record{Kind: proxy.KindPublished, Leg: vendor, Topic: public, Event: ev})
		answer := "OK"
		if i == 20 {
			answer = "REJECTED_SIZE"
		}
		add(at+0.01, proxy.Record{Kind: proxy.KindMirrored, Leg: "nats", Topic: public, Event: ev, Text: answer, Count: i + 1})
		bare := *ev
		bare.ID = proxy.EventID{}
		add(at+0.02, proxy.Record{Kind: proxy.KindDelivered, Leg: vendor, Topic: public, Socket: "1.1", Event: &bare, Count: 1})
		add(at+0.03, proxy.Record{Kind: proxy.KindDelivered, Leg: engine, Topic: public, Socket: "1.1", Event: ev, Count: 1})
		if answer == "OK" {
			add(at+0.04, proxy.Record{Kind: proxy.KindDelivered, Leg: "nats", Topic: public, Event: &bare, Count: 1})
		}
		if i == 10 {
			stray := bare
			stray.Data = []byte(`{"secret":"nobody said it"}`)
			add(at+0.5, proxy.Record{Kind: proxy.KindDelivered, Leg: engine, Topic: public, Socket: "1.1", Event: &stray, Count: 1})
		}
	}
	add(200, proxy.Record{Kind: proxy.KindDisconnected, Leg: vendor, Socket: "9.9"})
	return records
}

// recordedRelay writes a capture of relayedTraffic.
func recordedRelay(t *testing.T) string {
	t.Helper()
	app := proxy.Defaults()
	app.ID, app.Stage, app.Upstream = "app-id", proxy.StageShadow, new(proxy.Upstream)
	app.Backends = []proxy.Backend{{Name: "nats", Role: proxy.RoleShadow, Channels: []string{"room-*"}, Sample: 1}}
	return captured(t, app, relayedTraffic(app.ID), true)
}

// TestTheCommandOfAnyExhibitPlaysItAgain runs what is printed beside exhibits
// of every finding that is not about how an event was delivered.
func TestTheCommandOfAnyExhibitPlaysItAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	if _, problems, code := execute(t.Context(), "", "replay", recordedRelay(t), "--format", "html", "--out", path); code != exitFailed {
		t.Fatalf("exit status %d, want %d for not ready: %s", code, exitFailed, problems)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"account", "nobody said it", "ann\"", "gus", "bob"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%q can be read in the report", secret)
		}
	}
	if out, problems, code := execute(t.Context(), "", "report", "verify", path); code != exitOK || !strings.Contains(out, "observe=-1") {
		t.Errorf("report verify: exit status %d, %s%s, want that it holds, and the gate that is not the default", code, out, problems)
	}
	r, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	findings := make(map[string]int)
	for _, x := range r.Exhibits {
		findings[x.Finding]++
		command := strings.Fields(x.Replay)
		out, problems, code := execute(t.Context(), "", command[1:]...)
		if command[0] != "offramp" || code != exitOK || !strings.Contains(out, "it shows again") {
			t.Errorf("%s: exit status %d %s, want the finding again:\n%s", x.Replay, code, problems, out)
		}
	}
	for finding, want := range map[string]int{"presence": 2, "decisions": 1, "webhooks": 2, "structure_differs": 3, "extra": 1, "rejected": 1} {
		if findings[finding] != want {
			t.Errorf("%d exhibits of %s, want %d", findings[finding], finding, want)
		}
	}
	// What only one side did is to be told from what both did not.
	for _, reason := range r.Verdict.Reasons {
		if len(reason.Exhibits) == 0 {
			t.Errorf("gate %s fails without an exhibit: %s", reason.Gate, reason.Text)
		}
	}
}

// TestAnExhibitIsNotRepeatedByTrafficWithoutItsFault takes the fault out of each
// exhibit: then nothing may be found.
func TestAnExhibitIsNotRepeatedByTrafficWithoutItsFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	_, _, _ = execute(t.Context(), "", "replay", recordedRelay(t), "--format", "json", "--out", path)
	r, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Exhibits {
		x := &r.Exhibits[i]
		kept := x.Frames[:0]
		for _, f := range x.Frames {
			if !f.Subject || (f.Leg == "" && f.Kind == "") {
				f.Text = strings.TrimPrefix(f.Text, "REJECTED_SIZE")
				kept = append(kept, f)
			}
		}
		x.Frames = kept
		if x.Finding == "rejected" { // delivered after all
			continue
		}
		if len(x.Frames) == 0 {
			continue
		}
		ev, err := judgeExhibit(x)
		if err != nil {
			t.Fatal(err)
		}
		if x.Shows(ev) {
			t.Errorf("%s of %s shows without its fault", x.ID, x.Finding)
		}
	}
}
