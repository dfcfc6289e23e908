package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// Topic is one channel of one app: the unit of routing, of interest between
// nodes, and of comparison.
type Topic struct {
	App     string // app id
	Channel protocol.ChannelName
}

// String returns "app/channel", for logs and error texts.
func (t Topic) String() string { return t.App + "/" + string(t.Channel) }

// EventID identifies one accepted publish on one channel across all nodes.
// Node is drawn at random when a process starts; Seq counts from 1 on that
// node, so ids of one node are ordered by acceptance.
type EventID struct {
	Node uint64
	Seq  uint64
}

// String returns 32 lower-case hex digits. It is stable, and so serves as the
// mirror id that backends use as their own de-duplication key
// (migration.md 1.6).
func (id EventID) String() string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], id.Node)
	binary.BigEndian.PutUint64(raw[8:], id.Seq)
	return hex.EncodeToString(raw[:])
}

// ParseEventID reads what String wrote. ok is false for anything else.
func ParseEventID(s string) (id EventID, ok bool) {
	var raw [16]byte
	if len(s) != 2*len(raw) {
		return EventID{}, false
	}
	if _, err := hex.Decode(raw[:], []byte(s)); err != nil {
		return EventID{}, false
	}
	return EventID{Node: binary.BigEndian.Uint64(raw[:8]), Seq: binary.BigEndian.Uint64(raw[8:])}, true
}

// IsZero reports whether the id was never assigned.
func (id EventID) IsZero() bool { return id == EventID{} }

// Publisher says by which door an event came in.
type Publisher uint8

const (
	// ByServer: the HTTP API (events, batch_events, the legacy endpoint).
	ByServer Publisher = iota
	// ByClient: a client event, sent over a client's own connection.
	ByClient
	// ByEngine: news between the nodes of a gateway, such as a presence
	// member's arrival. Name and UserID say what; it is never shown to
	// watchers as published.
	ByEngine
)

// Event is one accepted publish on one channel. It is never changed once
// published: Data is shared by every holder.
type Event struct {
	ID    EventID
	Topic Topic
	Name  string // event name, at most 200 characters
	// Data is the content of the wire's "data" string, unescaped, exactly as
	// published: at most Limits.EventBytes bytes. It need not be JSON.
	Data      []byte
	Except    protocol.SocketID // skipped on delivery; empty: nobody
	UserID    string            // sender's presence user id; only ByClient on presence channels
	Socket    protocol.SocketID // sender; only ByClient
	Publisher Publisher
	Origin    Leg       // where it entered; it is never forwarded back there
	Via       string    // gateways that it came through, as in Client; empty: none
	By        string    // who called the HTTP API: key and User-Agent; known where it was called
	At        time.Time // acceptance, this node's clock (with monotonic reading where it was accepted)
	// Order is given by Broker to what a cache channel keeps: of two such
	// events on a channel, the later one has the higher. 0: not known.
	Order uint64
}
