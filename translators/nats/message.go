package nats

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// The headers of a message. Their values are escaped like subjects, but for
// dots and what else is harmless in a header.
const (
	headerID     = nats.MsgIdHdr // JetStream's own de-duplication key
	headerEvent  = "Offramp-Event"
	headerUser   = "Offramp-User"
	headerExcept = "Offramp-Except"
	headerKind   = "Offramp-Kind"
	headerOrigin = "Offramp-Origin"
	headerHops   = "Offramp-Hops"
	headerTime   = "Offramp-Time" // acceptance, Unix nanoseconds
)

// encode returns an envelope as a message. Its data is shared.
func encode(subject string, e translators.Envelope) *nats.Msg {
	h := nats.Header{headerEvent: {headerValue(e.Event)}}
	if !e.ID.IsZero() {
		h[headerID] = []string{e.ID.String()}
	}
	optional := func(name, value string) {
		if value != "" {
			h[name] = []string{headerValue(value)}
		}
	}
	optional(headerUser, e.UserID)
	optional(headerExcept, string(e.Except))
	optional(headerOrigin, e.Origin)
	if e.Kind != translators.KindServer {
		h[headerKind] = []string{e.Kind.String()}
	}
	if e.Hops > 0 {
		h[headerHops] = []string{strconv.FormatUint(uint64(e.Hops), 10)}
	}
	if !e.Ingress.IsZero() {
		h[headerTime] = []string{strconv.FormatInt(e.Ingress.UnixNano(), 10)}
	}
	return &nats.Msg{Subject: subject, Header: h, Data: e.Data}
}

// decode returns what a message says. Headers that are absent or make no
// sense leave their fields empty: anybody may publish on the subject.
func decode(app string, h nats.Header, data []byte) translators.Envelope {
	id, _ := proxy.ParseEventID(h.Get(headerID))
	hops, _ := strconv.ParseUint(h.Get(headerHops), 10, 32)
	e := translators.Envelope{
		ID: id, App: app, Event: plainValue(h.Get(headerEvent)), Data: data, UserID: plainValue(h.Get(headerUser)),
		Except: protocol.SocketID(plainValue(h.Get(headerExcept))), Origin: plainValue(h.Get(headerOrigin)),
		Hops: uint32(hops),
	}
	if nano, err := strconv.ParseInt(h.Get(headerTime), 10, 64); err == nil {
		e.Ingress = time.Unix(0, nano)
	}
	for kind := translators.KindServer; kind <= translators.KindProbe; kind++ {
		if kind.String() == h.Get(headerKind) {
			e.Kind = kind
		}
	}
	return e
}

// headerValue escapes what a header line cannot hold, and the escape itself.
func headerValue(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return escape(s)
		}
	}
	return s
}

func plainValue(s string) string {
	plain, ok := unescape(s)
	if !ok {
		return s
	}
	return plain
}
