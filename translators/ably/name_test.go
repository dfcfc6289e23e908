package ably

import (
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy/protocol"
)

// channelOf is the inverse of ablyName: that it exists shows that names are
// injective. ok is false for a name that ablyName never makes.
func channelOf(name string) (channel protocol.ChannelName, ok bool) {
	for namespace, prefix := range map[string]string{namespacePublic: "", namespacePrivate: "private-", namespacePresence: "presence-"} {
		if rest, found := strings.CutPrefix(name, namespace); found && !strings.Contains(rest, ";") {
			channel = protocol.ChannelName(prefix + strings.ReplaceAll(rest, ":", ";"))
			return channel, ablyName(channel) == name
		}
	}
	return "", false
}

func TestAblyName(t *testing.T) {
	for name, tc := range map[string]struct{ channel, want string }{
		"a public channel":            {"room", "public:room"},
		"a private one":               {"private-room", "private:room"},
		"a presence channel":          {"presence-room", "presence:room"},
		"an encrypted one":            {"private-encrypted-x", "private:encrypted-x"},
		"a cache channel":             {"presence-cache-x", "presence:cache-x"},
		"a semicolon is a colon":      {"private-a;b", "private:a:b"},
		"no prefix without its dash":  {"privateer", "public:privateer"},
		"a prefix in the middle":      {"a-private-b", "public:a-private-b"},
		"a user's channel":            {"#server-to-user-7", "public:#server-to-user-7"},
		"a semicolon at the start":    {";a", "public::a"},
		"what looks like a namespace": {"private;a", "public:private:a"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ablyName(protocol.ChannelName(tc.channel))
			if got != tc.want {
				t.Errorf("name %q, want %q", got, tc.want)
			}
			if back, ok := channelOf(got); !ok || string(back) != tc.channel {
				t.Errorf("reads back as %q, %v", back, ok)
			}
		})
	}
}

func FuzzAblyName(f *testing.F) {
	for _, seed := range []string{"room", "private-a;b", "private-", "presence-private-x", "#server-to-user-1", ";;", "public;a"} {
		f.Add(seed, "private;a")
	}
	f.Fuzz(func(t *testing.T, name, other string) {
		a, b := protocol.ChannelName(name), protocol.ChannelName(other)
		if !a.Valid(protocol.MaxChannelNameLength) || !b.Valid(protocol.MaxChannelNameLength) {
			return
		}
		if back, ok := channelOf(ablyName(a)); !ok || back != a {
			t.Errorf("%q became %q and read back as %q, %v", a, ablyName(a), back, ok)
		}
		if a != b && ablyName(a) == ablyName(b) {
			t.Errorf("%q and %q both became %q", a, b, ablyName(a))
		}
	})
}
