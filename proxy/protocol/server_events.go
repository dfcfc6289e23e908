package protocol

import (
	"slices"
	"strconv"
	"unicode/utf8"
)

// The functions below append one frame each to dst and return it. In all of
// them "data" is a string, but for pusher:error, where it is an object.

// AppendEstablished appends the greeting. timeout is in whole seconds and
// must be positive: pusher-js drops a connection whose greeting lacks it.
func AppendEstablished(dst []byte, id SocketID, timeout int) []byte {
	dst = append(dst, `{"event":"pusher:connection_established","data":"{\"socket_id\":\"`...)
	dst = append(dst, id...)
	dst = append(dst, `\",\"activity_timeout\":`...)
	dst = strconv.AppendInt(dst, int64(timeout), 10)
	return append(dst, `}"}`...)
}

// AppendPong appends the answer to a pusher:ping.
func AppendPong(dst []byte) []byte { return append(dst, `{"event":"pusher:pong","data":"{}"}`...) }

// AppendError appends a pusher:error.
func AppendError(dst []byte, e *Error) []byte {
	dst = append(dst, `{"event":"pusher:error","data":{"code":`...)
	if e.Code == CodeNone {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, int64(e.Code), 10)
	}
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, e.Message)
	return append(dst, `}}`...)
}

// AppendSubscriptionSucceeded appends the confirmation of a subscription to
// anything but a presence channel.
func AppendSubscriptionSucceeded(dst []byte, c ChannelName) []byte {
	return appendInternal(dst, "pusher_internal:subscription_succeeded", c, "{}")
}

// AppendPresenceSucceeded appends the confirmation of a presence
// subscription. members are distinct users, the joiner among them.
func AppendPresenceSucceeded(dst []byte, c ChannelName, members []Member) []byte {
	data := append(make([]byte, 0, 64+64*len(members)), `{"presence":{"count":`...)
	data = strconv.AppendInt(data, int64(len(members)), 10)
	data = append(data, `,"ids":[`...)
	for i, m := range members {
		data = AppendString(comma(data, i), m.UserID)
	}
	data = append(data, `],"hash":{`...)
	for i, m := range members {
		data = append(AppendString(comma(data, i), m.UserID), ':')
		data = appendInfo(data, m.Info)
	}
	data = append(data, `}}}`...)
	return appendInternal(dst, "pusher_internal:subscription_succeeded", c, data)
}

// AppendMemberAdded appends the news that a user arrived.
func AppendMemberAdded(dst []byte, c ChannelName, m Member) []byte {
	data := append(make([]byte, 0, 64+len(m.Info)), `{"user_id":`...)
	data = append(AppendString(data, m.UserID), `,"user_info":`...)
	data = append(appendInfo(data, m.Info), '}')
	return appendInternal(dst, "pusher_internal:member_added", c, data)
}

// AppendMemberRemoved appends the news that a user has left.
func AppendMemberRemoved(dst []byte, c ChannelName, userID string) []byte {
	data := append(AppendString([]byte(`{"user_id":`), userID), '}')
	return appendInternal(dst, "pusher_internal:member_removed", c, data)
}

// AppendSubscriptionCount appends a channel's number of subscriptions.
func AppendSubscriptionCount(dst []byte, c ChannelName, count int) []byte {
	data := strconv.AppendInt([]byte(`{"subscription_count":`), int64(count), 10)
	return appendInternal(dst, "pusher_internal:subscription_count", c, append(data, '}'))
}

// AppendCacheMiss appends the news that a cache channel is empty. Its name
// begins with pusher:, so that clients hand it to their users as it is.
func AppendCacheMiss(dst []byte, c ChannelName) []byte {
	return appendInternal(dst, "pusher:cache_miss", c, "{}")
}

// AppendSigninSuccess appends the confirmation of a sign-in. userData is
// given back exactly as it came.
func AppendSigninSuccess(dst []byte, userData string) []byte {
	data := append(AppendString([]byte(`{"user_data":`), userData), '}')
	dst = append(dst, `{"event":"pusher:signin_success","data":`...)
	dst = AppendString(dst, data)
	return append(dst, '}')
}

// AppendWatchlist appends which watched users are online and which offline.
// An empty group is left out; with two empty groups "events" is empty.
func AppendWatchlist(dst []byte, online, offline []string) []byte {
	data := []byte(`{"events":[`)
	groups := 0
	for _, g := range [...]struct {
		name string
		ids  []string
	}{{"online", online}, {"offline", offline}} {
		if len(g.ids) == 0 {
			continue
		}
		data = append(comma(data, groups), `{"name":"`+g.name+`","user_ids":[`...)
		for i, id := range g.ids {
			data = AppendString(comma(data, i), id)
		}
		data = append(data, `]}`...)
		groups++
	}
	data = append(data, `]}`...)
	dst = append(dst, `{"event":"pusher_internal:watchlist_events","data":`...)
	dst = AppendString(dst, data)
	return append(dst, '}')
}

// AppendEvent appends a published event. data is the content of the "data"
// string, which is escaped once here. userID is left out when empty.
func AppendEvent(dst []byte, c ChannelName, name string, data []byte, userID string) []byte {
	dst = append(AppendString(append(dst, `{"event":`...), name), `,"channel":`...)
	dst = append(AppendString(dst, c), `,"data":`...)
	dst = AppendString(dst, data)
	if userID != "" {
		dst = AppendString(append(dst, `,"user_id":`...), userID)
	}
	return append(dst, '}')
}

func appendInternal[T []byte | string](dst []byte, event string, c ChannelName, data T) []byte {
	dst = append(append(append(dst, `{"event":"`...), event...), `","channel":`...)
	dst = append(AppendString(dst, c), `,"data":`...)
	dst = AppendString(dst, data)
	return append(dst, '}')
}

func appendInfo(dst, info []byte) []byte {
	if len(info) == 0 {
		return append(dst, "{}"...)
	}
	return append(dst, info...)
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string: quotes, backslashes and control
// characters are escaped, nothing else, and a byte that is not UTF-8 becomes
// U+FFFD, as a text frame must be UTF-8.
func AppendString[T ~[]byte | ~string](dst []byte, s T) []byte {
	dst = append(slices.Grow(dst, len(s)+2), '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := decodeRune(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
			i++
			start = i
			continue
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func decodeRune[T ~[]byte | ~string](s T) (rune, int) {
	var buf [utf8.UTFMax]byte
	n := copy(buf[:], s)
	return utf8.DecodeRune(buf[:n])
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
