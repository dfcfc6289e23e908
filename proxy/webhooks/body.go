package webhooks

import (
	"strconv"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Bodies are put together by hand, because receivers compare signatures of
// exact bytes: no HTML escapes, no spaces, keys in the documented order, and
// every event a flat object of scalars (vendor documentation: webhooks).

// newLetter returns the letter that reports one event of type t on r's
// channel.
func newLetter(t proxy.WebhookType, r proxy.Record) letter {
	return letter{At: r.At, Type: t, Channel: r.Topic.Channel, Event: appendEvent(nil, t, r)}
}

func appendEvent(dst []byte, t proxy.WebhookType, r proxy.Record) []byte {
	dst = append(dst, `{"name":"`...)
	dst = append(dst, t...)
	dst = append(dst, '"')
	dst = appendField(dst, "channel", r.Topic.Channel)
	switch t {
	case proxy.WebhookMemberAdded, proxy.WebhookMemberRemoved:
		dst = appendField(dst, "user_id", r.UserID)
	case proxy.WebhookClientEvent:
		dst = appendClientEvent(dst, r.Event)
	case proxy.WebhookSubscriptionCount:
		dst = append(dst, `,"subscription_count":`...)
		dst = strconv.AppendInt(dst, int64(r.Count), 10)
	}
	return append(dst, '}')
}

func appendClientEvent(dst []byte, ev *proxy.Event) []byte {
	dst = appendField(dst, "event", ev.Name)
	dst = appendField(dst, "data", ev.Data)
	dst = appendField(dst, "socket_id", ev.Socket)
	if ev.Topic.Channel.Kind() == protocol.Presence {
		dst = appendField(dst, "user_id", ev.UserID)
	}
	return dst
}

func appendField[T ~[]byte | ~string](dst []byte, key string, value T) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, key...)
	dst = append(dst, `":`...)
	return protocol.AppendString(dst, value)
}

// appendBody appends a request's body. at is when the request was put
// together; it stays the same when the request is tried again.
func appendBody(dst []byte, at time.Time, events [][]byte) []byte {
	dst = append(dst, `{"time_ms":`...)
	dst = strconv.AppendInt(dst, at.UnixMilli(), 10)
	dst = append(dst, `,"events":[`...)
	for i, event := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, event...)
	}
	return append(dst, `]}`...)
}
