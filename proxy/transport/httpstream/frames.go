package httpstream

import (
	"encoding/json"
	"errors"
	"strconv"

	"github.com/offramp/offramp/proxy/protocol"
)

// appendMessages appends one frame that holds every queued message as a JSON
// string.
func appendMessages(dst []byte, queue []queued) []byte {
	dst = append(dst, "a["...)
	first := true
	for _, q := range queue {
		for i := q.from; i < q.batch.Len(); i++ {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = protocol.AppendString(dst, q.batch.Payload(i))
		}
	}
	return append(dst, "]\n"...)
}

// appendClose appends the frame that ends a session.
func appendClose(dst []byte, why *protocol.Error) []byte {
	dst = strconv.AppendInt(append(dst, "c["...), int64(why.Code), 10)
	dst = protocol.AppendString(append(dst, ','), why.Message)
	return append(dst, "]\n"...)
}

// Errors of decodeMessages, with the texts that SockJS has for them.
var (
	errNoPayload  = errors.New("Payload expected.")
	errBrokenJSON = errors.New("Broken JSON encoding.")
)

// decodeMessages reads the body of an xhr_send: a JSON array of strings, each
// a message. An empty array is a heartbeat.
func decodeMessages(body []byte) ([]string, error) {
	if len(body) == 0 {
		return nil, errNoPayload
	}
	var messages []string
	if err := json.Unmarshal(body, &messages); err != nil || messages == nil {
		return nil, errBrokenJSON
	}
	return messages, nil
}
