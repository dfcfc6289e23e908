package ably

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ably/ably-go/ably"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// The headers of a message, in its extras.
const (
	headerID     = "offramp-id"
	headerUser   = "offramp-user"
	headerExcept = "offramp-except"
	headerKind   = "offramp-kind"
	headerOrigin = "offramp-origin"
	headerHops   = "offramp-hops"
	headerTime   = "offramp-time" // acceptance, Unix nanoseconds
)

// encode returns an envelope as a message without an id. Data that is no text
// becomes base64, which client libraries undo.
func encode(e translators.Envelope) *ably.Message {
	h := map[string]any{}
	optional := func(name, value string) {
		if value != "" {
			h[name] = value
		}
	}
	if !e.ID.IsZero() {
		h[headerID] = e.ID.String()
	}
	optional(headerUser, e.UserID)
	optional(headerExcept, string(e.Except))
	optional(headerOrigin, e.Origin)
	if e.Kind != translators.KindServer {
		h[headerKind] = e.Kind.String()
	}
	if e.Hops > 0 {
		h[headerHops] = strconv.FormatUint(uint64(e.Hops), 10)
	}
	if !e.Ingress.IsZero() {
		h[headerTime] = strconv.FormatInt(e.Ingress.UnixNano(), 10)
	}
	m := &ably.Message{Name: e.Event, Data: string(e.Data)}
	if len(h) > 0 {
		m.Extras = map[string]any{"headers": h}
	}
	if !utf8.Valid(e.Data) {
		m.Data, m.Encoding = base64.StdEncoding.EncodeToString(e.Data), "base64"
	}
	return m
}

// decode returns what a message says. Headers that are absent or make no
// sense leave their fields empty: anybody may publish.
func decode(app string, m *ably.Message) translators.Envelope {
	h := headers(m.Extras)
	id, _ := proxy.ParseEventID(h[headerID])
	hops, _ := strconv.ParseUint(h[headerHops], 10, 32)
	e := translators.Envelope{
		ID: id, App: app, Event: m.Name, Data: dataOf(m), UserID: h[headerUser], Except: protocol.SocketID(h[headerExcept]),
		Origin: h[headerOrigin], Hops: uint32(hops),
	}
	if e.UserID == "" {
		e.UserID = m.ClientID
	}
	if nano, err := strconv.ParseInt(h[headerTime], 10, 64); err == nil {
		e.Ingress = time.Unix(0, nano)
	}
	for kind := translators.KindServer; kind <= translators.KindProbe; kind++ {
		if kind.String() == h[headerKind] {
			e.Kind = kind
		}
	}
	return e
}

// headers returns the headers that are text. MessagePack and JSON give nested
// maps of different types.
func headers(extras map[string]any) map[string]string {
	found := map[string]string{}
	switch nested := extras["headers"].(type) {
	case map[string]any:
		for name, value := range nested {
			if text, ok := textOf(value); ok {
				found[name] = text
			}
		}
	case map[any]any:
		for name, value := range nested {
			key, isText := textOf(name)
			if text, ok := textOf(value); ok && isText {
				found[key] = text
			}
		}
	}
	return found
}

func textOf(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// dataOf returns a message's data as bytes. JSON stays the text that was
// published; ciphers are left as they are.
func dataOf(m *ably.Message) []byte {
	text, ok := textOf(m.Data)
	switch {
	case m.Data == nil:
		return []byte{}
	case !ok: // a publisher that left out the encoding
		raw, err := json.Marshal(m.Data)
		if err != nil {
			return fmt.Append(nil, m.Data)
		}
		return raw
	case strings.HasSuffix(m.Encoding, "base64"):
		if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
			return raw
		}
	}
	return []byte(text)
}

// sizeOf is what counts towards Ably's limit (vendor documentation: "Maximum
// message size").
func sizeOf(m *ably.Message) int {
	n := len(m.Name)
	if text, ok := m.Data.(string); ok {
		n += len(text)
	}
	if m.Extras != nil {
		text, _ := json.Marshal(m.Extras) // maps of strings
		n += len(text)
	}
	return n
}
