package protocol

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// Names of the events a client may send, beside client-*.
const (
	EventSubscribe   = "pusher:subscribe"
	EventUnsubscribe = "pusher:unsubscribe"
	EventPing        = "pusher:ping"
	EventPong        = "pusher:pong"
	EventSignin      = "pusher:signin"

	ClientEventPrefix = "client-"
)

// maxNesting bounds the depth of inbound JSON. No SDK comes near it; the
// parsers behind it recurse once a level.
const maxNesting = 512

// Frame is one frame from a client. Its slices share the memory of the frame
// it was decoded from.
type Frame struct {
	Event   string
	Channel string // client events only
	Data    []byte // raw JSON value; nil when absent
}

// Decode reads one text frame: a JSON object with a string "event". Unknown
// keys are ignored; of equal keys the last counts. It returns ErrBadFrame for
// anything else.
func Decode(raw []byte) (Frame, *Error) {
	if !ValidJSON(raw) {
		return Frame{}, ErrBadFrame
	}
	var f Frame
	named := false
	for key, value := range Fields(raw) {
		switch string(key) {
		case "event":
			f.Event, named = text(value)
		case "channel":
			f.Channel, _ = text(value)
		case "data":
			f.Data = value
		}
	}
	if !named {
		return Frame{}, ErrBadFrame
	}
	return f, nil
}

// IsClientEvent reports whether the frame is an event for other clients.
func (f Frame) IsClientEvent() bool { return strings.HasPrefix(f.Event, ClientEventPrefix) }

// ClientData returns what the data of a client event becomes in the
// delivered "data" string: a string's own text, and the JSON text of
// anything else (vendor documentation: "Double encoding"). It is a copy. ok
// is false when there is no data.
func (f Frame) ClientData() (data []byte, ok bool) {
	if len(f.Data) == 0 {
		return nil, false
	}
	if f.Data[0] == '"' {
		return AppendText(make([]byte, 0, len(f.Data)), f.Data), true
	}
	return bytes.Clone(f.Data), true
}

// Subscribe is the data of pusher:subscribe. An absent, null or non-string
// auth is nil, as is channel_data: clients in the field send all of these.
type Subscribe struct {
	Channel     ChannelName
	Auth        *string
	ChannelData *string
}

// DecodeSubscribe reads the data of pusher:subscribe and pusher:unsubscribe.
func DecodeSubscribe(data []byte) (Subscribe, *Error) {
	if !isObject(data) {
		return Subscribe{}, ErrNotHash
	}
	var channel, auth, channelData *string
	for key, value := range Fields(data) {
		switch string(key) {
		case "channel":
			channel = optional(value)
		case "auth":
			auth = optional(value)
		case "channel_data":
			channelData = optional(value)
		}
	}
	if channel == nil {
		return Subscribe{}, ErrMissing("channel")
	}
	return Subscribe{Channel: ChannelName(*channel), Auth: auth, ChannelData: channelData}, nil
}

// Signin is the data of pusher:signin.
type Signin struct {
	Auth     string
	UserData string // exactly as received; it is what was signed
}

// DecodeSignin reads the data of pusher:signin.
func DecodeSignin(data []byte) (Signin, *Error) {
	if !isObject(data) {
		return Signin{}, ErrNotHash
	}
	var auth, user *string
	for key, value := range Fields(data) {
		switch string(key) {
		case "auth":
			auth = optional(value)
		case "user_data":
			user = optional(value)
		}
	}
	if auth == nil {
		return Signin{}, ErrMissing("auth")
	}
	if user == nil {
		return Signin{}, ErrMissing("user_data")
	}
	return Signin{Auth: *auth, UserData: *user}, nil
}

// User is the content of user_data.
type User struct {
	ID        string
	Info      []byte   // raw user_info object; nil when absent
	Watchlist []string // as sent, not yet cut to the limit
}

// DecodeUser reads user_data: an object with a non-empty string id, and
// optionally user_info (an object) and watchlist (an array of strings;
// anything else in it is passed over).
func DecodeUser(userData string) (User, *Error) {
	raw := []byte(userData)
	if !ValidJSON(raw) {
		return User{}, ErrBadUser
	}
	var u User
	for key, value := range Fields(raw) {
		switch string(key) {
		case "id":
			u.ID, _ = text(value)
		case "user_info":
			if u.Info = nil; isObject(value) {
				u.Info = bytes.Clone(value) // it may be a small part of a large text
			}
		case "watchlist":
			u.Watchlist = texts(value)
		}
	}
	switch {
	case u.ID == "":
		return User{}, ErrBadUser
	case len(u.ID) > MaxUserIDLength || !validText(u.ID):
		return User{}, ErrUserID // the user's channel would have no valid name
	}
	return u, nil
}

// Member is one user of a presence channel.
type Member struct {
	UserID string
	Info   []byte // raw user_info object exactly as received; nil when absent
}

// DecodeMember reads the channel_data of a presence subscription. A numeric
// user_id becomes its digits as written, not passed through a float.
func DecodeMember(channel ChannelName, channelData string, maxBytes int) (Member, *Error) {
	if len(channelData) > maxBytes {
		return Member{}, ErrPresenceData(channel, sizeText(len(channelData), maxBytes))
	}
	raw := []byte(channelData)
	if !ValidJSON(raw) || !isObject(raw) {
		return Member{}, ErrPresenceData(channel, "it must be a JSON object")
	}
	var id, info []byte
	for key, value := range Fields(raw) {
		switch string(key) {
		case "user_id":
			id = value
		case "user_info":
			info = value
		}
	}
	m := Member{}
	var err *Error
	if m.UserID, err = memberID(channel, id); err != nil {
		return Member{}, err
	}
	if isObject(info) {
		m.Info = info
	} else if len(info) > 0 && string(info) != "null" {
		return Member{}, ErrUserInfo
	}
	return m, nil
}

// memberID returns the text of a raw user_id: a string, or a number's digits.
func memberID(channel ChannelName, raw []byte) (string, *Error) {
	id, ok := text(raw)
	if len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		id, ok = string(raw), true
	}
	switch {
	case !ok:
		return "", ErrPresenceData(channel, "it must have a user_id")
	case id == "":
		return "", ErrPresenceData(channel, "user_id must not be empty")
	case utf8.RuneCountInString(id) > MaxUserIDLength:
		return "", ErrPresenceData(channel, "user_id must have at most 128 characters")
	}
	return id, nil
}

func sizeText(got, limit int) string {
	return "it has " + itoa(got) + " bytes, at most " + itoa(limit) + " are allowed"
}

// isObject tells whether a valid JSON text is an object.
func isObject(raw []byte) bool {
	raw = Trim(raw)
	return len(raw) > 0 && raw[0] == '{'
}

// text returns the text of a raw JSON value, if it is a string.
func text(raw []byte) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	return string(AppendText(nil, raw)), true
}

// texts returns the strings of a raw JSON array.
func texts(raw []byte) (list []string) {
	for element := range Elements(raw) {
		if s, ok := text(element); ok {
			list = append(list, s)
		}
	}
	return list
}

func optional(raw []byte) *string {
	s, ok := text(raw)
	if !ok {
		return nil
	}
	return &s
}

// ValidJSON reports whether raw is one JSON text of bounded depth. It does not
// look at the encoding of its strings.
func ValidJSON(raw []byte) bool { return shallow(raw) && gjson.ValidBytes(raw) }

func shallow(raw []byte) bool {
	depth := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = skipString(raw, i) - 1
		case '{', '[':
			if depth++; depth > maxNesting {
				return false
			}
		case '}', ']':
			depth--
		}
	}
	return true
}

// Trim returns raw without surrounding JSON white space.
func Trim(raw []byte) []byte {
	if n := len(raw); n > 0 && raw[0] > ' ' && raw[n-1] > ' ' {
		return raw
	}
	return bytes.Trim(raw, " \t\r\n")
}
