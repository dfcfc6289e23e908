package ably

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ably/ably-go/ably"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

var update = flag.Bool("update", false, "rewrite golden files")

func full() translators.Envelope {
	return translators.Envelope{
		ID: proxy.EventID{Node: 1, Seq: 2}, App: "1", Channel: "presence-room", Event: "client-typing", Data: []byte(`{"typing":true}`), UserID: "user 1",
		Except: "1.2", Kind: translators.KindClientEvent, Origin: "offramp", Hops: 1, Ingress: time.Unix(0, 1_700_000_000_000_000_001),
	}
}

func TestMessageKeepsEveryField(t *testing.T) {
	binary := full()
	binary.Data = []byte("\x00\xff{")
	for name, e := range map[string]translators.Envelope{
		"all fields set":   full(),
		"binary data":      binary,
		"no optional ones": {App: "1", Event: "e", Data: []byte("{}")},
		"empty data":       {App: "1", Event: "e", Data: []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := decode("1", encode(e))
			e.Channel = ""
			if !reflect.DeepEqual(got, e) {
				t.Errorf("read back as %+v, want %+v", got, e)
			}
		})
	}
}

func TestDecodeOfAForeignMessage(t *testing.T) {
	for name, tc := range map[string]struct {
		message ably.Message
		want    translators.Envelope
	}{
		"text":                       {ably.Message{Name: "n", Data: "hello", ClientID: "7"}, translators.Envelope{Event: "n", Data: []byte("hello"), UserID: "7"}},
		"JSON stays as it was":       {ably.Message{Data: `{ "a":1 }`, Encoding: "json"}, translators.Envelope{Data: []byte(`{ "a":1 }`)}},
		"binary":                     {ably.Message{Data: []byte{1, 2}}, translators.Envelope{Data: []byte{1, 2}}},
		"base64":                     {ably.Message{Data: "AQI=", Encoding: "base64"}, translators.Envelope{Data: []byte{1, 2}}},
		"broken base64":              {ably.Message{Data: "%", Encoding: "base64"}, translators.Envelope{Data: []byte("%")}},
		"an object without encoding": {ably.Message{Data: map[string]any{"a": 1}}, translators.Envelope{Data: []byte(`{"a":1}`)}},
		"no data":                    {ably.Message{}, translators.Envelope{Data: []byte{}}},
		"headers of other types": {
			ably.Message{Data: "", Extras: map[string]any{"headers": map[any]any{"offramp-origin": []byte("x"), 1: 2, "offramp-hops": true}}},
			translators.Envelope{Data: []byte{}, Origin: "x"},
		},
		"headers that are none": {ably.Message{Data: "", Extras: map[string]any{"headers": "x"}}, translators.Envelope{Data: []byte{}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decode("", &tc.message); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("decoded %+v, want %+v", got, tc.want)
			}
		})
	}
}

// FuzzDecode: whatever is published on a channel, decoding it does no harm,
// and what it gives survives a round trip.
func FuzzDecode(f *testing.F) {
	f.Add("n", "data", "base64", "offramp-id", "0000000000000001000000000000000z")
	f.Add("", "\xff", "json/utf-8/cipher+aes", "offramp-hops", "-1")
	f.Add("client-x", "{}", "", "offramp-kind", "client_event")
	f.Fuzz(func(t *testing.T, name, data, encoding, header, value string) {
		m := &ably.Message{Name: name, Data: data, Encoding: encoding, Extras: map[string]any{"headers": map[string]any{header: value}}}
		e := decode("app", m)
		again := decode("app", encode(e))
		if !reflect.DeepEqual(again, e) {
			t.Errorf("%+v was encoded and read back as %+v", e, again)
		}
	})
}

// TestMapping shows what becomes of events, in testdata/mapping.golden.
func TestMapping(t *testing.T) {
	s := &session{}
	var got strings.Builder
	for _, e := range []translators.Envelope{
		{Channel: "room", Event: "message", Data: []byte(`{"a":"<b>"}`)},
		{Channel: "private-orders;eu", Event: "message", Data: []byte("not \"JSON\"\n")},
		{Channel: "private-encrypted-x", Event: "e", Data: []byte("\x00\xff")},
		{Channel: "#server-to-user-7", Event: "e", Data: []byte("{}"), Attrs: map[string]string{"a": "b"}},
		full(),
	} {
		native, losses := s.Preview(e)
		fmt.Fprintf(&got, "%s %s on %s\n  %s\n", e.Kind, e.Event, e.Channel, native.Destination)
		for _, name := range slices.Sorted(maps.Keys(native.Headers)) {
			fmt.Fprintf(&got, "  %s: %s\n", name, native.Headers[name])
		}
		fmt.Fprintf(&got, "  %s\n", native.Body)
		for _, l := range losses {
			fmt.Fprintf(&got, "  loses %s: %s\n", l.Field, l.Detail)
		}
	}
	const path = "testdata/mapping.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("mapping:\n%s\nwant:\n%s", &got, want)
	}
}
