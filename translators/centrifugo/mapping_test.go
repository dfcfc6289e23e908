package centrifugo

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestMapping shows what becomes of events, in testdata/mapping.golden.
func TestMapping(t *testing.T) {
	s := &session{config: Config{Prefix: "chat:"}}
	id := proxy.EventID{Node: 1, Seq: 2}
	var got strings.Builder
	for _, e := range []translators.Envelope{
		{ID: id, Channel: "room", Event: "message", Data: []byte(`{"a":"<b> & c"}`)},
		{ID: id, Channel: "private-orders;eu", Event: "message", Data: []byte("not \"JSON\"\n")},
		{ID: id, Channel: "private-encrypted-x", Event: "e", Data: []byte("\x00\xff")},
		{ID: id, Channel: "#server-to-user-7", Event: "e", Data: []byte("{}")},
		{
			ID: id, App: "1", Channel: "presence-room", Event: "client-typing", Data: []byte(`{"typing":true}`), UserID: "7", Except: "1.2",
			Kind: translators.KindClientEvent, Origin: "offramp", Hops: 1, Ingress: time.Unix(0, 1_700_000_000_000_000_001),
		},
	} {
		native, _ := s.Preview(e)
		fmt.Fprintf(&got, "%s %s on %s\n  %s\n  %v\n  %s\n", e.Kind, e.Event, e.Channel, native.Destination, native.Headers, native.Body)
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

// reserved is what means something in a channel name on the server but for
// the prefix, which is the operator's (server documentation: channels).
const reserved = ":#$/*&"

// FuzzNative: no two channels have one name on the server, and none has a
// character that means something there.
func FuzzNative(f *testing.F) {
	for _, seed := range []string{"room", "private-a;b", "#server-to-user-1", "a=b,c@d.e"} {
		f.Add(seed, "room")
	}
	f.Fuzz(func(t *testing.T, name, other string) {
		a, b := protocol.ChannelName(name), protocol.ChannelName(other)
		if !a.Valid(protocol.MaxChannelNameLength) || !b.Valid(protocol.MaxChannelNameLength) {
			return
		}
		s := &session{}
		if native := s.native(a); strings.ContainsAny(native, reserved) {
			t.Errorf("%q became %q", a, native)
		}
		if a != b && s.native(a) == s.native(b) {
			t.Errorf("%q and %q both became %q", a, b, s.native(a))
		}
	})
}

// FuzzPublication: whatever is published on a channel, reading it does no
// harm, and a message of ours survives being sent on.
func FuzzPublication(f *testing.F) {
	for _, seed := range []string{
		`{"id":"00000000000000010000000000000002","event":"e","data":"d"}`, `{"id":"00000000000000010000000000000002","bytes":"AP8="}`,
		`{"event":"e","data":"d"}`, `{"event":1}`, `"text"`, `{"bytes":"%%%"}`, "", `{"id":"zz","hops":-1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := translators.DecodeMessage(raw)
		body, err := translators.EncodeMessage(e)
		if err != nil || e.ID.IsZero() { // a foreign one is data as a whole
			return
		}
		if again := translators.DecodeMessage(body); string(again.Data) != string(e.Data) || again.ID != e.ID || again.Origin != e.Origin {
			t.Errorf("%q says %+v, and after being sent on %+v", raw, e, again)
		}
	})
}
