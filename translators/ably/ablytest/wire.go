package ablytest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// The actions of protocol messages.
const (
	actionHeartbeat    = 0
	actionAck          = 1
	actionNack         = 2
	actionConnected    = 4
	actionDisconnected = 6
	actionClose        = 7
	actionClosed       = 8
	actionError        = 9
	actionAttach       = 10
	actionAttached     = 11
	actionDetach       = 12
	actionDetached     = 13
	actionPresence     = 14
	actionMessage      = 15
	actionSync         = 16
	actionAuth         = 17
)

// The flags of protocol messages.
const (
	flagHasPresence  = 1 << 0
	flagResumed      = 1 << 2
	flagAttachResume = 1 << 5
	flagPresence     = 1 << 16
	flagPublish      = 1 << 17
	flagSubscribe    = 1 << 18
	flagAllModes     = flagPresence | flagPublish | flagSubscribe | 1<<19
)

// frame is a protocol message.
type frame struct {
	Action            int               `json:"action"`
	ID                string            `json:"id,omitempty"`
	Channel           string            `json:"channel,omitempty"`
	ChannelSerial     string            `json:"channelSerial,omitempty"`
	ConnectionID      string            `json:"connectionId,omitempty"`
	ConnectionDetails *details          `json:"connectionDetails,omitempty"`
	Error             *Error            `json:"error,omitempty"`
	MsgSerial         int64             `json:"msgSerial"` // clients want it also when it is 0
	Count             int               `json:"count,omitempty"`
	Flags             int64             `json:"flags,omitempty"`
	Timestamp         int64             `json:"timestamp,omitempty"`
	Messages          []Message         `json:"messages,omitempty"`
	Presence          []Message         `json:"presence,omitempty"`
	Params            map[string]string `json:"params,omitempty"`
	Auth              *authDetails      `json:"auth,omitempty"`
}

type authDetails struct {
	AccessToken string `json:"accessToken,omitempty"`
}

// details are what a connection is told of itself.
type details struct {
	ClientID           string `json:"clientId,omitempty"`
	ConnectionKey      string `json:"connectionKey"`
	MaxMessageSize     int    `json:"maxMessageSize"`
	MaxFrameSize       int    `json:"maxFrameSize"`
	MaxInboundRate     int    `json:"maxInboundRate"`
	ConnectionStateTTL int64  `json:"connectionStateTtl"` // milliseconds
	MaxIdleInterval    int64  `json:"maxIdleInterval"`    // milliseconds
	ServerID           string `json:"serverId"`
}

// Message is a message, or a presence message, as it is kept.
type Message struct {
	ID           string `json:"id,omitempty"`
	ClientID     string `json:"clientId,omitempty"`
	ConnectionID string `json:"connectionId,omitempty"`
	Name         string `json:"name,omitempty"`
	Data         any    `json:"data,omitempty"` // string or []byte
	Encoding     string `json:"encoding,omitempty"`
	Extras       any    `json:"extras,omitempty"`
	Timestamp    int64  `json:"timestamp,omitempty"`
	// Action is of presence messages only: 1 present, 2 enter, 3 leave, 4 update.
	Action *int `json:"action,omitempty"`
}

// Error is an error as clients are told it.
type Error struct {
	Code       int    `json:"code"`
	StatusCode int    `json:"statusCode"`
	Message    string `json:"message"`
	HRef       string `json:"href,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("[%d] %s", e.Code, e.Message) }

func errorf(code, status int, format string, args ...any) *Error {
	return &Error{code, status, fmt.Sprintf(format, args...), fmt.Sprintf("https://help.ably.io/error/%d", code)}
}

// format is one of the protocol's two encodings.
type format uint8

const (
	formatJSON format = iota
	formatMsgpack
)

const (
	typeJSON    = "application/json"
	typeMsgpack = "application/x-msgpack"
)

func (f format) contentType() string {
	if f == formatMsgpack {
		return typeMsgpack
	}
	return typeJSON
}

func (f format) marshal(v any) ([]byte, error) {
	if f == formatJSON {
		return json.Marshal(v)
	}
	var b bytes.Buffer
	e := msgpack.NewEncoder(&b)
	e.SetCustomStructTag("json")
	e.UseCompactInts(true)
	err := e.Encode(v)
	return b.Bytes(), err
}

func (f format) unmarshal(raw []byte, v any) error {
	if f == formatJSON {
		return json.Unmarshal(raw, v)
	}
	d := msgpack.NewDecoder(bytes.NewReader(raw))
	d.SetCustomStructTag("json")
	return d.Decode(v)
}

// normal returns a message as it is kept: base64 of binary data is undone, and
// data that is neither text nor binary becomes JSON text.
func (m Message) normal() (Message, error) {
	switch d := m.Data.(type) {
	case nil, []byte:
	case string:
		rest, isBase64 := strings.CutSuffix(m.Encoding, "base64")
		if !isBase64 {
			return m, nil
		}
		raw, err := base64.StdEncoding.DecodeString(d)
		if err != nil {
			return m, errorf(40013, 400, "data is not base64, as its encoding says")
		}
		m.Data, m.Encoding = raw, strings.TrimSuffix(rest, "/")
	default:
		text, err := json.Marshal(d)
		if err != nil {
			return m, errorf(40013, 400, "data cannot become JSON")
		}
		m.Data, m.Encoding = string(text), appendEncoding(m.Encoding, "json")
	}
	return m, nil
}

// in returns a kept message as it is sent in a format.
func (m Message) in(f format) Message {
	if raw, ok := m.Data.([]byte); ok && f == formatJSON {
		m.Data, m.Encoding = base64.StdEncoding.EncodeToString(raw), appendEncoding(m.Encoding, "base64")
	}
	return m
}

func allIn(f format, messages []Message) []Message {
	all := make([]Message, len(messages))
	for i, m := range messages {
		all[i] = m.in(f)
	}
	return all
}

func appendEncoding(encoding, more string) string {
	if encoding == "" {
		return more
	}
	return encoding + "/" + more
}

// size is what counts towards the limit of a publish: names, client ids, data
// and extras, in bytes (vendor documentation: "Maximum message size").
func size(messages []Message) int {
	n := 0
	for _, m := range messages {
		n += len(m.Name) + len(m.ClientID)
		switch d := m.Data.(type) {
		case string:
			n += len(d)
		case []byte:
			n += len(d)
		}
		if m.Extras != nil {
			text, _ := json.Marshal(m.Extras) // what was decoded can be encoded
			n += len(text)
		}
	}
	return n
}
