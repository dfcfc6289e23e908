package translators

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// message is the JSON form of an envelope, for backends whose messages are one
// piece of text and have no room for anything else.
type message struct {
	ID    string `json:"id,omitempty"`
	Event string `json:"event"`
	// Data is the event's data, or Bytes where that is not text.
	Data   string `json:"data,omitempty"`
	Bytes  []byte `json:"bytes,omitempty"`
	User   string `json:"user_id,omitempty"`
	Except string `json:"exclude_socket,omitempty"`
	Kind   Kind   `json:"kind,omitempty"`
	Origin string `json:"origin,omitempty"`
	Hops   uint32 `json:"hops,omitempty"`
	Time   int64  `json:"time,omitempty"` // acceptance, Unix nanoseconds
}

// EncodeMessage returns an envelope as a JSON object, on one line. Its data is
// the string "data", or in base64 "bytes" where it is not valid UTF-8. The app
// and the channel are left to where it is sent.
func EncodeMessage(e Envelope) ([]byte, error) {
	m := message{Event: e.Event, User: e.UserID, Except: string(e.Except), Kind: e.Kind, Origin: e.Origin, Hops: e.Hops}
	if !e.ID.IsZero() {
		m.ID = e.ID.String()
	}
	if !e.Ingress.IsZero() {
		m.Time = e.Ingress.UnixNano()
	}
	if utf8.Valid(e.Data) {
		m.Data = string(e.Data)
	} else {
		m.Bytes = e.Data
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return raw, nil
}

// DecodeMessage is the inverse of EncodeMessage. Anything else, which somebody
// else published, is taken as the data of an event without a name.
func DecodeMessage(raw []byte) Envelope {
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		return Envelope{Data: raw}
	}
	id, ok := proxy.ParseEventID(m.ID)
	if !ok {
		return Envelope{Data: raw}
	}
	e := Envelope{
		ID: id, Event: m.Event, Data: []byte(m.Data), UserID: m.User, Except: protocol.SocketID(m.Except), Kind: m.Kind,
		Origin: m.Origin, Hops: m.Hops,
	}
	if m.Bytes != nil {
		e.Data = m.Bytes
	}
	if m.Time != 0 {
		e.Ingress = time.Unix(0, m.Time)
	}
	return e
}
