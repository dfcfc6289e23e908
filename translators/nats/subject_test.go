package nats

import (
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy/protocol"
)

// channelOf is the inverse of subjectOf: that it exists shows that subjects
// are injective. ok is false for a subject that subjectOf never makes.
func channelOf(base, subject string) (channel protocol.ChannelName, ok bool) {
	tokens, ok := strings.CutPrefix(subject, base+".")
	if !ok {
		return "", false
	}
	name, ok := unescape(tokens)
	return protocol.ChannelName(name), ok && channelTokens(name) == tokens
}

func TestSubjectOf(t *testing.T) {
	for name, tc := range map[string]struct {
		app, channel, want string
	}{
		"a plain name":                  {"app-id", "private-room_1", "p.app-id.private-room_1"},
		"dots separate tokens":          {"1", "room.a.b", "p.1.room.a.b"},
		"a dot at the end is escaped":   {"1", "room.", "p.1.room%2E"},
		"a dot at the start is escaped": {"1", ".room", "p.1.%2Eroom"},
		"two dots escape all dots":      {"1", "a.b..c", "p.1.a%2Eb%2E%2Ec"},
		"a user's channel":              {"1", "#server-to-user-7", "p.1.%23server-to-user-7"},
		"wildcards mean nothing":        {"a.b", "*.>", "p.a%2Eb.%2A.%3E"},
		"the escape itself":             {"1", "100%", "p.1.100%25"},
	} {
		t.Run(name, func(t *testing.T) {
			got := subjectOf("p", tc.app, protocol.ChannelName(tc.channel))
			if got != tc.want {
				t.Errorf("subject %q, want %q", got, tc.want)
			}
			back, ok := channelOf(appSubject("p", tc.app), got)
			if !ok || string(back) != tc.channel {
				t.Errorf("reads back as %q, %v", back, ok)
			}
		})
	}
}

func TestChannelOfRefusesWhatIsNeverMade(t *testing.T) {
	for _, subject := range []string{"p.2.room", "p.1", "p.1.%", "p.1.%2", "p.1.%zz", "p.1.%41", "p.1.a%2Eb", "q.p.1.room"} {
		if channel, ok := channelOf("p.1", subject); ok {
			t.Errorf("channelOf(%q) = %q, want a refusal", subject, channel)
		}
	}
}

func FuzzSubject(f *testing.F) {
	for _, seed := range []string{"room", "a.b", "a..b", ".", "#server-to-user-1", "%2E", "a b", "*", ">", "\x00", "é"} {
		f.Add(seed, "other")
	}
	f.Fuzz(func(t *testing.T, name, other string) {
		if name == "" || other == "" {
			return
		}
		subject := subjectOf("p", "1", protocol.ChannelName(name))
		if strings.ContainsAny(subject, " \t\r\n*>\x00") || strings.Contains(subject, "..") || strings.HasSuffix(subject, ".") {
			t.Errorf("subject %q of %q is not legal", subject, name)
		}
		if back, ok := channelOf("p.1", subject); !ok || string(back) != name {
			t.Errorf("%q became %q and read back as %q, %v", name, subject, back, ok)
		}
		if name != other && subject == subjectOf("p", "1", protocol.ChannelName(other)) {
			t.Errorf("%q and %q both became %q", name, other, subject)
		}
	})
}
