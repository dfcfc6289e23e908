package protocol

import "strings"

// ChannelName is a channel's full name, prefix included. Case matters.
type ChannelName string

// SocketID identifies one client connection within an app: two runs of
// decimal digits with a dot between, such as "131160.155806628".
type SocketID string

// Bounds of names.
const (
	DefaultChannelNameLength = 164 // documented limit, prefix included
	MaxChannelNameLength     = 200 // what server SDKs let pass; an app's limit may go this far
	MaxEventNameLength       = 200
	MaxUserIDLength          = 128
)

// Prefixes that give a channel its kind. Each includes its hyphen:
// "privateer" and "presence" are public channels.
const (
	prefixPrivate   = "private-"
	prefixEncrypted = "private-encrypted-"
	prefixPresence  = "presence-"
	prefixCache     = "cache-"
	prefixUser      = "#server-to-user-"
)

// Kind is what a channel's prefix makes of it.
type Kind uint8

// The kinds of channel. Caching is apart from them: see ChannelName.Cached.
const (
	Public Kind = iota
	Private
	Encrypted
	Presence
	ServerToUser
)

// String returns the kind's name in reports.
func (k Kind) String() string {
	return [...]string{"public", "private", "private-encrypted", "presence", "server-to-user"}[k]
}

// Kind returns the channel's kind, decided by its longest matching prefix.
func (n ChannelName) Kind() Kind {
	s := string(n)
	switch {
	case strings.HasPrefix(s, prefixPresence):
		return Presence
	case strings.HasPrefix(s, prefixEncrypted):
		return Encrypted
	case strings.HasPrefix(s, prefixPrivate):
		return Private
	case strings.HasPrefix(s, prefixUser):
		return ServerToUser
	default:
		return Public
	}
}

// Cached reports whether the channel keeps its last event for newcomers.
func (n ChannelName) Cached() bool {
	s := string(n)
	for _, p := range [...]string{prefixEncrypted, prefixPrivate, prefixPresence} {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return strings.HasPrefix(rest, prefixCache)
		}
	}
	return strings.HasPrefix(s, prefixCache)
}

// NeedsAuth reports whether a subscription must carry a signature.
func (n ChannelName) NeedsAuth() bool {
	k := n.Kind()
	return k == Private || k == Encrypted || k == Presence
}

// UserID returns the user that a server-to-user channel belongs to.
func (n ChannelName) UserID() (string, bool) { return strings.CutPrefix(string(n), prefixUser) }

// UserChannel returns the server-to-user channel of a user.
func UserChannel(userID string) ChannelName { return ChannelName(prefixUser + userID) }

// Valid reports whether the name may be subscribed and published to: 1 to
// maxLength characters of A-Z a-z 0-9 _ - = @ , . ; and, for server-to-user
// channels only, the leading # and a user id of those same characters.
func (n ChannelName) Valid(maxLength int) bool {
	s := string(n)
	if s == "" || len(s) > maxLength {
		return false
	}
	if user, ok := n.UserID(); ok {
		return user != "" && validText(user)
	}
	return validText(s)
}

func validText(s string) bool {
	for i := 0; i < len(s); i++ {
		if !nameByte[s[i]] {
			return false
		}
	}
	return true
}

var nameByte = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=@,.;") {
		set[c] = true
	}
	return set
}()

// Valid reports whether the id has the shape that server SDKs insist on
// before they sign anything with it.
func (id SocketID) Valid() bool {
	head, tail, dot := strings.Cut(string(id), ".")
	return dot && len(id) <= maxSocketID && digits(head) && digits(tail)
}

// maxSocketID bounds foreign ids before they are looked up or forwarded.
const maxSocketID = 64

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
