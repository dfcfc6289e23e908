package bench

import (
	"bytes"
	"fmt"
	"strconv"
)

// kind is what a text frame without a numbered payload means to a client.
type kind int

const (
	other kind = iota
	greeted
	subscribed
	pinged
	joined  // a member was added to the client's presence channel
	left    // a member was removed
	refused // an error for this client
)

// A dialect is a server's language on both its sides. Its methods append
// ready bytes; none of them keeps an argument.
type dialect interface {
	// upgradePath is the resource of the WebSocket handshake.
	upgradePath() string
	// hello appends the text that a client sends first, if the server waits for one.
	hello(dst []byte) []byte
	// classify reads a text frame that carries no numbered payload.
	classify(text []byte) kind
	// socketID finds the connection's ID in a greeting.
	socketID(greeting []byte) string
	// members finds the number of members in a subscription's confirmation.
	members(confirmation []byte) int
	subscribe(dst []byte, channel, socketID, user string) []byte
	unsubscribe(dst []byte, channel string) []byte
	pong(dst []byte) []byte
	// clientEvent appends a text that makes the server send data to the other
	// subscribers of channel.
	clientEvent(dst []byte, channel string, data []byte) []byte
	// echoes says whether a client event also comes back to its sender.
	echoes() bool
	// publish appends a whole HTTP request that sends every payload to channel.
	publish(dst []byte, channel string, payloads [][]byte) []byte
}

// A Dialect names the language that a server under test speaks.
type Dialect string

// The dialects.
const (
	Pusher     Dialect = "pusher"     // Pusher Channels, requests signed
	Plain      Dialect = "plain"      // the same without signatures: floors and bare servers
	Centrifugo Dialect = "centrifugo" // Centrifugo's JSON protocol and HTTP API
)

func newDialect(t Target) (dialect, error) {
	switch t.Dialect {
	case Pusher:
		return newPusher(t, true), nil
	case Plain:
		return newPusher(t, false), nil
	case Centrifugo:
		return &centrifugo{host: t.Addr, key: t.Key}, nil
	}
	return nil, fmt.Errorf("bench: unknown dialect %q; known are %s, %s and %s", t.Dialect, Pusher, Plain, Centrifugo)
}

// appendRequest appends a POST with a JSON body. headers is either empty or
// whole lines.
func appendRequest(dst []byte, path, host, headers string, body []byte) []byte {
	dst = append(dst, "POST "...)
	dst = append(dst, path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, "\r\nContent-Type: application/json\r\n"...)
	dst = append(dst, headers...)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// between returns what stands between two markers, or nothing.
func between(b []byte, before, after string) []byte {
	_, b, ok := bytes.Cut(b, []byte(before))
	if !ok {
		return nil
	}
	b, _, ok = bytes.Cut(b, []byte(after))
	if !ok {
		return nil
	}
	return b
}
