package nats

import (
	"fmt"
	"strings"

	"github.com/offramp/offramp/proxy/protocol"
)

// A subject is PREFIX.APP.CHANNEL. Everything but letters, digits and _-=@,;
// is written as %XX, so that no name can mean a wildcard or an empty token.
// The dots of a channel name separate tokens, which lets subscribers use
// wildcards, unless that would make an empty token: then they are escaped too.
// Both forms read back to the same name, and no two names have one form.

// subjectOf returns the subject of an app's channel.
func subjectOf(prefix, app string, channel protocol.ChannelName) string {
	return appSubject(prefix, app) + "." + channelTokens(string(channel))
}

// appSubject returns what the subjects of an app begin with.
func appSubject(prefix, app string) string { return prefix + "." + escape(app) }

func channelTokens(name string) string {
	tokens := strings.Split(name, ".")
	for i, token := range tokens {
		if token == "" {
			return escape(name)
		}
		tokens[i] = escape(token)
	}
	return strings.Join(tokens, ".")
}

func escape(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && isPlain(s[i])
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if isPlain(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-=@,;", c) >= 0
}

func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, low := unhex(s[i+1]), unhex(s[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String(), true
}

func unhex(c byte) int {
	return strings.IndexByte("0123456789ABCDEF", c)
}
