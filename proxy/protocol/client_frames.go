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
// keys are ignored. It returns ErrBadFrame for anything else.
func Decode(raw []byte) (Frame, *Error) {
	if !ValidJSON(raw) {
		return Frame{}, ErrBadFrame
	}
	root := gjson.ParseBytes(raw)
	if !root.IsObject() {
		return Frame{}, ErrBadFrame
	}
	var f Frame
	named := false
	root.ForEach(func(key, value gjson.Result) bool {
		switch key.String() {
		case "event":
			if named = value.Type == gjson.String; named {
				f.Event = value.String()
			}
		case "channel":
			f.Channel = ""
			if value.Type == gjson.String {
				f.Channel = value.String()
			}
		case "data":
			f.Data = raw[value.Index : value.Index+len(value.Raw)]
		}
		return true
	})
	if !named {
		return Frame{}, ErrBadFrame
	}
	return f, nil
}

// IsClientEvent reports whether the frame is an event for other clients.
func (f Frame) IsClientEvent() bool { return strings.HasPrefix(f.Event, ClientEventPrefix) }

// ClientData returns what the data of a client event becomes in the
// delivered "data" string: a string's own text, and the JSON text of
// anything else (vendor documentation: "Double encoding"). ok is false when
// there is no data.
func (f Frame) ClientData() (data []byte, ok bool) {
	if len(f.Data) == 0 {
		return nil, false
	}
	if f.Data[0] == '"' {
		return []byte(gjson.ParseBytes(f.Data).String()), true
	}
	return f.Data, true
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
	root, err := object(data)
	if err != nil {
		return Subscribe{}, err
	}
	channel := optional(root, "channel")
	if channel == nil {
		return Subscribe{}, ErrMissing("channel")
	}
	return Subscribe{
		Channel:     ChannelName(*channel),
		Auth:        optional(root, "auth"),
		ChannelData: optional(root, "channel_data"),
	}, nil
}

// Signin is the data of pusher:signin.
type Signin struct {
	Auth     string
	UserData string // exactly as received; it is what was signed
}

// DecodeSignin reads the data of pusher:signin.
func DecodeSignin(data []byte) (Signin, *Error) {
	root, err := object(data)
	if err != nil {
		return Signin{}, err
	}
	auth, user := optional(root, "auth"), optional(root, "user_data")
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
	if !ValidJSON([]byte(userData)) {
		return User{}, ErrBadUser
	}
	root := gjson.Parse(userData)
	id := field(root, "id")
	if !root.IsObject() || id.Type != gjson.String {
		return User{}, ErrBadUser
	}
	u := User{ID: id.String()}
	if u.ID == "" || len(u.ID) > MaxUserIDLength || !validText(u.ID) {
		return User{}, ErrBadUser
	}
	if info := field(root, "user_info"); info.IsObject() {
		u.Info = []byte(info.Raw)
	}
	if list := field(root, "watchlist"); list.IsArray() {
		list.ForEach(func(_, v gjson.Result) bool {
			if v.Type == gjson.String {
				u.Watchlist = append(u.Watchlist, v.String())
			}
			return true
		})
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
	root := gjson.Parse(channelData)
	if !ValidJSON([]byte(channelData)) || !root.IsObject() {
		return Member{}, ErrPresenceData(channel, "it must be a JSON object")
	}
	var m Member
	switch id := field(root, "user_id"); id.Type {
	case gjson.String:
		m.UserID = id.String()
	case gjson.Number:
		m.UserID = id.Raw
	default:
		return Member{}, ErrPresenceData(channel, "it must have a user_id")
	}
	if m.UserID == "" {
		return Member{}, ErrPresenceData(channel, "user_id must not be empty")
	}
	if utf8.RuneCountInString(m.UserID) > MaxUserIDLength {
		return Member{}, ErrPresenceData(channel, "user_id must have at most 128 characters")
	}
	switch info := field(root, "user_info"); {
	case !info.Exists() || info.Type == gjson.Null:
	case info.IsObject():
		m.Info = []byte(info.Raw)
	default:
		return Member{}, ErrUserInfo
	}
	return m, nil
}

func sizeText(got, limit int) string {
	return "it has " + itoa(got) + " bytes, at most " + itoa(limit) + " are allowed"
}

func object(data []byte) (gjson.Result, *Error) {
	root := gjson.ParseBytes(data)
	if len(data) == 0 || !root.IsObject() {
		return root, ErrNotHash
	}
	return root, nil
}

// field returns the value of a top-level key. gjson's own paths are not used
// for it, as they give meaning to characters such as "." and "*".
func field(root gjson.Result, name string) (found gjson.Result) {
	root.ForEach(func(key, value gjson.Result) bool {
		if key.String() == name {
			found = value
		}
		return true
	})
	return found
}

func optional(root gjson.Result, name string) *string {
	v := field(root, name)
	if v.Type != gjson.String {
		return nil
	}
	s := v.String()
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
