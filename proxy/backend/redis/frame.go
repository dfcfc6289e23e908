package redis

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// An event on the bus is one version byte, the publisher, three numbers, how
// many texts there are, the texts, each behind its length, and its data. It
// names its app by id and has nothing secret in it. The last text is its place
// in the log of its bucket, which Redis puts in.
//
// Nodes of two releases meet while one follows the other. Version 2 has no
// place, and does not say how many texts it has. Of a later version those
// texts that this release does not know come last, and are passed over.
const (
	frameVersion = 3
	frameTexts   = 9
	mostTexts    = 64 // of any version

	placelessVersion = 2
	placelessTexts   = 8
)

// Bounds of what is taken from the bus, which is not trusted.
const (
	maxFrame = 2 << 20 // bytes
	maxPlace = 1 + 41  // bytes of a place, with its length
	maxName  = 4 * 200 // bytes of an event's name
	maxLeg   = 256
	maxApp   = 256
	maxUser  = 4 * protocol.MaxUserIDLength
)

// ErrFrame is the error of frames that do not read as events.
var ErrFrame = errors.New("redis: malformed frame")

// ErrTooLong is returned for an event that does not fit into a frame.
var ErrTooLong = fmt.Errorf("redis: event of more than %d bytes", maxFrame)

// appendHead appends an event as it travels between nodes, as far as its place.
func appendHead(dst []byte, ev *proxy.Event) []byte {
	dst = append(dst, frameVersion, byte(ev.Publisher))
	dst = binary.BigEndian.AppendUint64(dst, ev.ID.Node)
	dst = binary.BigEndian.AppendUint64(dst, ev.ID.Seq)
	dst = binary.BigEndian.AppendUint64(dst, uint64(ev.At.UnixNano()))
	dst = append(dst, frameTexts)
	for _, text := range [...]string{
		ev.Topic.App, string(ev.Topic.Channel), ev.Name, string(ev.Except), ev.UserID, string(ev.Socket), string(ev.Origin), ev.Via,
	} {
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	return dst
}

// noPlace stands for the place of an event that is in no log.
const noPlace = 0

// appendFrame appends an event that is in no log.
func appendFrame(dst []byte, ev *proxy.Event) []byte {
	return append(append(appendHead(dst, ev), noPlace), ev.Data...)
}

// What a cache channel keeps has its order in front of it, which Redis gives
// it: a mark, and digits.
const (
	orderMark   = 'o'
	orderDigits = 16
	maxOrder    = 1 + orderDigits // bytes
)

// appendOrdered appends an event as Redis keeps it.
func appendOrdered(dst []byte, ev *proxy.Event) []byte {
	return appendFrame(fmt.Appendf(dst, "%c%0*d", orderMark, orderDigits, ev.Order), ev)
}

// cutOrder takes the order off a frame, if it has one.
func cutOrder(frame string) (order uint64, rest string, err error) {
	if frame == "" || frame[0] != orderMark {
		return 0, frame, nil
	}
	if len(frame) <= orderDigits {
		return 0, "", fmt.Errorf("%w: the order is cut off", ErrFrame)
	}
	for _, digit := range []byte(frame[1 : 1+orderDigits]) {
		if digit < '0' || digit > '9' {
			return 0, "", fmt.Errorf("%w: the order is no number", ErrFrame)
		}
		order = 10*order + uint64(digit-'0')
	}
	return order, frame[1+orderDigits:], nil
}

// frameHead is the length of what comes before the texts.
const frameHead = 2 + 3*8

// parseFrame reads what appendFrame or appendOrdered has written, and its
// place. What it returns shares no memory with the frame.
func parseFrame(frame string) (*proxy.Event, place, error) {
	order, frame, err := cutOrder(frame)
	if err != nil {
		return nil, place{}, err
	}
	if len(frame) < frameHead || len(frame) > maxFrame {
		return nil, place{}, fmt.Errorf("%w: %d bytes", ErrFrame, len(frame))
	}
	if frame[0] < placelessVersion {
		return nil, place{}, fmt.Errorf("%w: version %d, this node speaks %d and later ones", ErrFrame, frame[0], placelessVersion)
	}
	head := []byte(frame[2:frameHead])
	ev := &proxy.Event{
		Publisher: proxy.Publisher(frame[1]),
		ID:        proxy.EventID{Node: binary.BigEndian.Uint64(head), Seq: binary.BigEndian.Uint64(head[8:])},
		At:        time.Unix(0, int64(binary.BigEndian.Uint64(head[16:]))),
		Order:     order,
	}
	texts, rest, err := cutTexts(frame[frameHead:], frame[0] > placelessVersion)
	if err != nil {
		return nil, place{}, err
	}
	ev.Topic = proxy.Topic{App: texts[0], Channel: protocol.ChannelName(texts[1])}
	ev.Name, ev.Except, ev.UserID = texts[2], protocol.SocketID(texts[3]), texts[4]
	ev.Socket, ev.Origin, ev.Via, ev.Data = protocol.SocketID(texts[5]), proxy.Leg(texts[6]), texts[7], []byte(rest)
	if rest == "" {
		ev.Data = nil
	}
	at, ok := parsePlace(texts[8])
	what := fault(ev)
	if !ok {
		what = "place"
	}
	if what != "" {
		return nil, place{}, fmt.Errorf("%w: %s", ErrFrame, what)
	}
	return ev, at, nil
}

// cutTexts takes the texts off a frame that this release knows. counted: it
// says how many there are.
func cutTexts(frame string, counted bool) (texts [frameTexts]string, rest string, err error) {
	count, rest := placelessTexts, frame
	if counted {
		if rest == "" || rest[0] < placelessTexts || rest[0] > mostTexts {
			return texts, "", fmt.Errorf("%w: number of texts", ErrFrame)
		}
		count, rest = int(rest[0]), rest[1:]
	}
	for i := range count {
		text, more, ok := cutText(rest)
		if !ok {
			return texts, "", fmt.Errorf("%w: text %d is cut off", ErrFrame, i)
		}
		if rest = more; i < frameTexts {
			texts[i] = text
		}
	}
	return texts, rest, nil
}

func cutText(s string) (text, rest string, ok bool) {
	length, n := uint64(0), 0
	for shift := 0; ; shift += 7 {
		if n == len(s) || shift > 28 {
			return "", "", false
		}
		b := s[n]
		n++
		length |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	if length > uint64(len(s)-n) {
		return "", "", false
	}
	return s[n : n+int(length)], s[n+int(length):], true
}

// fault says what an event cannot have if one of our nodes has published it.
func fault(ev *proxy.Event) string {
	switch {
	case ev.Order != 0 && !ev.Keeps():
		return "an order for what is not kept"
	case ev.Publisher > proxy.ByEngine:
		return "unknown publisher"
	case ev.Topic.App == "" || len(ev.Topic.App) > maxApp:
		return "app id"
	case ev.Topic.Channel == "" || len(ev.Topic.Channel) > maxChannel || !utf8.ValidString(string(ev.Topic.Channel)):
		return "channel name"
	case len(ev.Name) > maxName || !utf8.ValidString(ev.Name):
		return "event name"
	case len(ev.UserID) > maxUser || !utf8.ValidString(ev.UserID):
		return "user id"
	case ev.Except != "" && !ev.Except.Valid(), ev.Socket != "" && !ev.Socket.Valid():
		return "socket id"
	case len(ev.Origin) > maxLeg:
		return "origin"
	case len(ev.Via) > protocol.MaxVia:
		return "gateways it came through"
	}
	return ""
}

// maxChannel has room for the internal channel of a user.
const maxChannel = 1024
