package protocol

import (
	"regexp"
	"strings"
	"testing"
)

func TestChannelKinds(t *testing.T) {
	for name, want := range map[ChannelName]struct {
		kind   Kind
		cached bool
		auth   bool
	}{
		"my-channel":                {Public, false, false},
		"private":                   {Public, false, false},
		"private_x":                 {Public, false, false},
		"privateer":                 {Public, false, false},
		"presence":                  {Public, false, false},
		"Private-x":                 {Public, false, false},
		"x-private-y":               {Public, false, false},
		"private-x":                 {Private, false, true},
		"private-":                  {Private, false, true},
		"private-encrypted":         {Private, false, true},
		"private-encrypted-x":       {Encrypted, false, true},
		"presence-x":                {Presence, false, true},
		"presence-encrypted-x":      {Presence, false, true},
		"cache-x":                   {Public, true, false},
		"cached-x":                  {Public, false, false},
		"my-cache-x":                {Public, false, false},
		"mycache-x":                 {Public, false, false},
		"private-cache-x":           {Private, true, true},
		"private-encrypted-cache-x": {Encrypted, true, true},
		"presence-cache-x":          {Presence, true, true},
		"cache-private-x":           {Public, true, false},
		"private-x-cache-":          {Private, false, true},
		"#server-to-user-7":         {ServerToUser, false, false},
		"#server-to-user-cache-7":   {ServerToUser, false, false},
	} {
		if name.Kind() != want.kind || name.Cached() != want.cached || name.NeedsAuth() != want.auth {
			t.Errorf("%s: %v, cached %t, auth %t; want %v, %t, %t", name, name.Kind(), name.Cached(), name.NeedsAuth(), want.kind, want.cached, want.auth)
		}
	}
}

func TestChannelNames(t *testing.T) {
	for name, want := range map[ChannelName]bool{
		"":                         false,
		"a":                        true,
		"azAZ09_-=@,.;":            true,
		"a b":                      false,
		"a/b":                      false,
		"a:b":                      false,
		"ä":                        false,
		"a\x00":                    false,
		"#":                        false,
		"#foo":                     false,
		"a#b":                      false,
		"#server-to-user":          false,
		"#server-to-user-":         false,
		"#server-to-user-7":        true,
		"#server-to-user-a b":      false,
		"#server-to-user-#":        false,
		"#Server-to-user-7":        false,
		"##server-to-user-7":       false,
		"private-encrypted-cache-": true,
	} {
		if got := name.Valid(DefaultChannelNameLength); got != want {
			t.Errorf("%q: valid %t, want %t", name, got, want)
		}
	}
	for length, want := range map[int]bool{164: true, 165: false} {
		if got := ChannelName(strings.Repeat("x", length)).Valid(DefaultChannelNameLength); got != want {
			t.Errorf("%d characters: valid %t, want %t", length, got, want)
		}
	}
	if user, ok := UserChannel("7").UserID(); user != "7" || !ok {
		t.Errorf("UserChannel(7).UserID() = %q, %t", user, ok)
	}
}

func TestSocketIDs(t *testing.T) {
	for id, want := range map[SocketID]bool{
		"145814.20211781": true, "0.0": true, "": false, ".": false, "1.": false, ".1": false, "1": false, "1.2.3": false, "1.2\n": false,
		"a.1": false, "1.-1": false, "1 .1": false, "１.1": false, SocketID(strings.Repeat("1", 63)) + ".1": false,
	} {
		if got := id.Valid(); got != want {
			t.Errorf("%q: valid %t, want %t", id, got, want)
		}
	}
}

var namePattern = regexp.MustCompile(`^(#server-to-user-)?[A-Za-z0-9_\-=@,.;]+$`)

func FuzzChannelName(f *testing.F) {
	for _, seed := range []string{"", "my-channel", "private-a", "presence-cache-a", "#server-to-user-7", "#foo", "a b", "ä", "private-encrypted-cache-x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := ChannelName(s)
		if got, want := n.Valid(MaxChannelNameLength), len(s) <= MaxChannelNameLength && namePattern.MatchString(s); got != want {
			t.Errorf("%q: valid %t, want %t", s, got, want)
		}
		_ = n.Kind().String()
		if n.Cached() != strings.HasPrefix(s, "cache-") && !strings.HasPrefix(s, "private-") && !strings.HasPrefix(s, "presence-") {
			t.Errorf("%q: cached %t", s, n.Cached())
		}
		user, ok := n.UserID()
		if ok != (n.Kind() == ServerToUser) || ok && UserChannel(user) != n {
			t.Errorf("%q: user %q, %t", s, user, ok)
		}
	})
}
