package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/shadow"
)

func apps(id string) (*proxy.App, bool) {
	app := proxy.Defaults()
	app.ID = "app-id"
	app.Backends = []proxy.Backend{{Name: "nats", Channels: []string{"*"}, Sample: 1}}
	return &app, id == app.ID
}

// traffic is a thousand events, of which every fiftieth is lost, every
// seventieth repeated and every ninetieth altered by the backend.
func traffic() []proxy.Record {
	rng := rand.New(rand.NewPCG(1, 1))
	start := time.Now()
	var out []proxy.Record
	for i := range 1000 {
		topic := proxy.Topic{App: "app-id", Channel: protocol.ChannelName(fmt.Sprint("presence-room-", rng.IntN(3)))}
		at := start.Add(time.Duration(i) * 10 * time.Millisecond)
		ev := &proxy.Event{
			ID: proxy.EventID{Node: 1, Seq: uint64(i)}, Topic: topic, Name: "message", UserID: "ann@example.com",
			Data: fmt.Appendf(nil, `{"secret":"account %d"}`, i), Publisher: proxy.ByClient, By: "app-key pusher-http-go", Socket: "1.2", At: at,
		}
		seen := *ev
		add := func(kind proxy.Kind, leg proxy.Leg, ev *proxy.Event, after time.Duration) {
			out = append(out, proxy.Record{Kind: kind, At: at.Add(after), Leg: leg, Topic: topic, Event: ev, Count: 2, Text: map[bool]string{true: "OK"}[kind == proxy.KindMirrored]})
		}
		add(proxy.KindPublished, proxy.LegEngine, ev, 0)
		add(proxy.KindDelivered, proxy.LegEngine, ev, time.Microsecond)
		add(proxy.KindMirrored, "nats", ev, time.Millisecond)
		switch {
		case i%50 == 7:
			continue
		case i%70 == 8:
			add(proxy.KindDelivered, "nats", &seen, 2*time.Millisecond)
		case i%90 == 9:
			seen.Data = append(seen.Data[:len(seen.Data):len(seen.Data)], '!')
		}
		add(proxy.KindDelivered, "nats", &seen, 3*time.Millisecond)
	}
	return append(out, proxy.Record{Kind: proxy.KindConnected, At: start.Add(time.Minute), Topic: proxy.Topic{App: "app-id"}, Text: "hello"},
		proxy.Record{
			Kind: proxy.KindFrame, At: start.Add(time.Minute), Leg: proxy.LegEngine, Topic: proxy.Topic{App: "app-id"}, Action: "pusher:error",
			Client: &proxy.Client{Library: "js", Version: "8.4"}, Text: "{data:{code:4009},event:string}",
		})
}

func capture(t *testing.T, redact bool, records []proxy.Record) []byte {
	t.Helper()
	var file bytes.Buffer
	w := New(Settings{Out: &file, Redact: redact})
	for i := range records {
		if !w.Offer(records[i]) {
			t.Fatal("a record did not fit")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is queued is written all the same
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func replay(t *testing.T, file []byte) shadow.Evidence {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	ev, err := shadow.Replay(shadow.Settings{Apps: apps}, "app-id", r.Next)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func sum(ev shadow.Evidence) shadow.Counts {
	var all shadow.Counts
	for _, p := range ev.Pairs {
		for i := range p.Cells {
			all.Add(&p.Cells[i].Counts)
		}
	}
	return all
}

func TestACaptureGivesTheSameEvidenceEachTime(t *testing.T) {
	for _, redact := range []bool{false, true} {
		t.Run(fmt.Sprint("redacted=", redact), func(t *testing.T) {
			file := capture(t, redact, traffic())
			first, second := replay(t, file), replay(t, file)
			if !reflect.DeepEqual(first, second) {
				t.Error("two replays of one capture differ")
			}
			got := sum(first)
			if got.Expected != 1000 || got.Missing != 20 || got.Duplicate != 15 || got.PayloadDiffers != 12 || got.Reordered != 0 || got.Unknown != 0 {
				t.Errorf("replayed: %+v, want 1000 expected, 20 missing, 15 duplicate, 12 altered", got)
			}
		})
	}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	records := traffic()
	r, err := NewReader(bytes.NewReader(capture(t, false, records)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		got, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		want := records[i]
		if got.At.Sub(want.At).Abs() > time.Microsecond || got.Kind != want.Kind || got.Leg != want.Leg || got.Topic != want.Topic || got.Text != want.Text || got.Count != want.Count {
			t.Fatalf("record %d is %+v, want %+v", i, got, want)
		}
		if !reflect.DeepEqual(got.Client, want.Client) {
			t.Fatalf("record %d is of client %+v, want %+v", i, got.Client, want.Client)
		}
		if (got.Event == nil) != (want.Event == nil) {
			t.Fatalf("record %d has an event: %v, want %v", i, got.Event != nil, want.Event != nil)
		}
		if got.Event == nil {
			continue
		}
		g, w := *got.Event, *want.Event
		g.At, w.At = time.Time{}, time.Time{}
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("event %d is %+v, want %+v", i, g, w)
		}
	}
	if _, err := r.Next(); err != io.EOF { //nolint:errorlint // io.Reader's convention
		t.Errorf("after the last record: %v, want io.EOF", err)
	}
}

func TestARedactedCaptureHoldsNoSecret(t *testing.T) {
	zip, err := gzip.NewReader(bytes.NewReader(capture(t, true, traffic())))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(capture(t, true, traffic())))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Redacted() {
		t.Error("the capture does not say that it is redacted")
	}
	for {
		rec, err := r.Next()
		if err != nil {
			break
		}
		if rec.Event != nil && bytes.Contains(rec.Event.Data, []byte("account")) {
			t.Fatalf("a payload is readable: %s", rec.Event.Data)
		}
	}
	for _, kept := range []string{"pusher-http-go", `"lib":"js"`, "{data:{code:4009},event:string}"} {
		if !strings.Contains(string(text), kept) {
			t.Errorf("%q, which reports are about, is not in the file", kept)
		}
	}
	for _, secret := range []string{"ann@example.com", "hello", "account", base64.StdEncoding.EncodeToString([]byte(`{"secret":"a`))} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%q is readable", secret)
		}
	}
}

func TestWhatIsNoCaptureIsRefused(t *testing.T) {
	zipped := func(text string) []byte {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		_, _ = io.WriteString(zip, text)
		_ = zip.Close()
		return b.Bytes()
	}
	tests := map[string]struct {
		file []byte
		want string
	}{
		"not gzip":          {[]byte("hello, this is no capture"), "gzip"},
		"nothing":           {zipped(""), "empty"},
		"another format":    {zipped(`{"format":"offramp.capture/v9"}`), "offramp.capture/v9"},
		"a line of garbage": {zipped(`{"format":"offramp.capture/v1"}` + "\n{"), "line 2"},
		"an unknown kind":   {zipped(`{"format":"offramp.capture/v1"}` + "\n" + `{"k":"exploded"}`), "exploded"},
		"too long a line":   {zipped(`{"format":"offramp.capture/v1"}` + "\n" + strings.Repeat(" ", maxLine+1)), "too long"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := NewReader(bytes.NewReader(tc.file))
			if err == nil {
				_, err = r.Next()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error about %q", err, tc.want)
			}
		})
	}
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	w := New(Settings{Out: io.Discard, Queue: 1})
	w.Offer(proxy.Record{})
	if w.Offer(proxy.Record{}) || w.Dropped() != 1 {
		t.Errorf("the second record was taken, or not counted: %d dropped", w.Dropped())
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"k":"published","t":5,"ev":{"name":"x","data":"e30="}}`))
	f.Add([]byte(`{"k":"gap","from":-1,"t":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		_, _ = fmt.Fprintf(zip, "{\"format\":%q}\n%s", Format, text)
		_ = zip.Close()
		r, err := NewReader(&b)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := r.Next(); err != nil {
				return
			}
		}
	})
}
