package pusher_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/translatortest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestMapping shows what becomes of events, in testdata/mapping.golden.
func TestMapping(t *testing.T) {
	settings := (&scripted{}).start(t).settings()
	s := open(t, proxy.RoleMirror, settings)
	client := translatortest.Item(5, "presence-room", `{"typing":true}`)
	client.Event, client.Kind, client.UserID, client.Except = "client-typing", translators.KindClientEvent, "7", "1.2"
	var got strings.Builder
	for _, e := range []translators.Envelope{
		translatortest.Item(1, "room", `{"a":"<b> & c"}`), translatortest.Item(2, "private-cache-orders.eu;1", "not \"JSON\"\n"),
		translatortest.Item(3, "private-encrypted-x", `{"nonce":"n","ciphertext":"c=="}`), translatortest.Item(4, "#server-to-user-7", "{}"), client,
	} {
		native, losses := s.(translators.Previewer).Preview(e)
		fmt.Fprintf(&got, "%s %s on %s\n  %s\n  %s\n", e.Kind, e.Event, e.Channel, native.Destination, native.Body)
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
