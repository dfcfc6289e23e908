package webhooks

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offramp/offramp/proxy"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); if that is meant, run the test with -update:\n%s", path, diff)
	}
}

// at is the moment of the vendor's documented example.
var at = time.UnixMilli(1353088179000)

func TestBodies(t *testing.T) {
	named := func(r proxy.Record, event, data string) proxy.Record {
		r.Event.Name, r.Event.Data = event, []byte(data)
		return r
	}
	events := []struct {
		typ    proxy.WebhookType
		record proxy.Record
	}{
		{proxy.WebhookChannelOccupied, occupied("1", "test_channel")},
		{proxy.WebhookChannelVacated, vacated("1", "private-encrypted-a=b@c,d.e;f")},
		{proxy.WebhookMemberAdded, added("1", "presence-a", "7")},
		{proxy.WebhookMemberRemoved, left("1", "presence-a", `Bo "<&>" ☃`)},
		{proxy.WebhookClientEvent, named(clientEvent("1", "private-a", ""), "client-x", `{"html":"<b>&\u2028</b>"}`)},
		{proxy.WebhookClientEvent, named(clientEvent("1", "presence-a", ""), `client-"x"`, "plain\ttext ☃ \u2028")},
		{proxy.WebhookCacheMiss, proxy.Record{Topic: topic("1", "cache-a")}},
		{proxy.WebhookSubscriptionCount, proxy.Record{Topic: topic("1", "c"), Count: 1234567}},
	}
	var text bytes.Buffer
	var all [][]byte
	for _, e := range events {
		l := newLetter(e.typ, e.record)
		all = append(all, l.Event)
		text.Write(appendBody(nil, at, [][]byte{l.Event}))
		text.WriteByte('\n')
	}
	text.Write(appendBody(nil, at, all))
	text.WriteByte('\n')
	golden(t, "bodies.golden", text.Bytes())
}

func TestRecordsSurviveTheirEncoding(t *testing.T) {
	l := letter{At: at, Type: proxy.WebhookClientEvent, Channel: "private-a", Event: []byte(`{"name":"client_event"}`)}
	if got, err := decodeLetter(l.encode()); err != nil || !cmp.Equal(got, l) {
		t.Errorf("letter = %+v, %v, want %+v", got, err, l)
	}
	d := deadLetter{letter: l, Died: at.Add(time.Hour), Attempts: 11, Reason: "HTTP status 500"}
	if got, err := decodeDead(d.encode()); err != nil || !cmp.Equal(got, d, cmp.AllowUnexported(deadLetter{})) {
		t.Errorf("dead letter = %+v, %v, want %+v", got, err, d)
	}
	a := attempted{TimeMS: at.UnixMilli(), Spent: 90 * time.Second, Attempts: 7, Seqs: []uint64{3, 1 << 40}}
	if got, err := decodeAttempted(a.encode()); err != nil || !cmp.Equal(got, a) {
		t.Errorf("request = %+v, %v, want %+v", got, err, a)
	}
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	whole := letter{At: at, Type: "x", Channel: "c", Event: []byte("{}")}.encode()
	tests := map[string][]byte{
		"nothing":                       nil,
		"a version of the future":       append([]byte{99}, whole[1:]...),
		"cut off in a number":           {recordVersion, 0x80},
		"cut off in a text":             whole[:8],
		"without its last field":        whole[:len(whole)-2],
		"a text longer than the record": {recordVersion, 1, 0xff, 0xff, 0xff, 0x7f, 'x'},
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			if l, err := decodeLetter(raw); !errors.Is(err, errRecord) {
				t.Errorf("decodeLetter = %+v, %v, want errRecord", l, err)
			}
		})
	}
	if _, err := decodeAttempted(attempted{Seqs: make([]uint64, batchSize+1)}.encode()); !errors.Is(err, errRecord) {
		t.Errorf("request of %d letters: %v", batchSize+1, err)
	}
	if _, err := decodeAttempted(attempted{}.encode()); !errors.Is(err, errRecord) {
		t.Errorf("request without letters: %v", err)
	}
}

// FuzzRecords states: no bytes on disk make a decoder fail otherwise than with
// errRecord, and what decodes is encoded to a record that decodes to the same.
func FuzzRecords(f *testing.F) {
	l := letter{At: at, Type: proxy.WebhookCacheMiss, Channel: "cache-a", Event: []byte(`{"name":"cache_miss"}`)}
	f.Add(l.encode())
	f.Add(deadLetter{letter: l, Died: at, Attempts: 3, Reason: "HTTP status 500"}.encode())
	f.Add(attempted{TimeMS: 1, Spent: time.Second, Attempts: 2, Seqs: []uint64{1, 2}}.encode())
	f.Add([]byte{recordVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, raw []byte) {
		same(t, raw, decodeLetter, letter.encode)
		same(t, raw, decodeDead, deadLetter.encode)
		same(t, raw, decodeAttempted, attempted.encode)
	})
}

func same[T any](t *testing.T, raw []byte, decode func([]byte) (T, error), encode func(T) []byte) {
	t.Helper()
	v, err := decode(raw)
	if err != nil {
		if !errors.Is(err, errRecord) {
			t.Errorf("decode(%q): %v", raw, err)
		}
		return
	}
	again, err := decode(encode(v))
	if err != nil || !bytes.Equal(encode(again), encode(v)) {
		t.Errorf("%q decodes to %+v, encoded and decoded %+v, %v", raw, v, again, err)
	}
}
