package proxy

import (
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// Kind says what a Record reports.
type Kind uint8

// The kinds of record, and which of a Record's fields each one sets beside
// Kind, At, Leg and Topic.App.
const (
	// KindConnected: a client connection was established. Socket, Client.
	KindConnected Kind = iota
	// KindDisconnected: it ended. Socket, Client, Code, Text (reason).
	KindDisconnected
	// KindSubscribed: a socket joined a channel. Topic, Socket, UserID on
	// presence, Count (subscriptions now).
	KindSubscribed
	// KindUnsubscribed: it left. The same fields.
	KindUnsubscribed
	// KindOccupied: a channel got its first subscription. Topic.
	KindOccupied
	// KindVacated: it lost its last. Topic.
	KindVacated
	// KindMemberAdded: a user arrived on a presence channel. Topic, UserID.
	KindMemberAdded
	// KindMemberRemoved: its last socket left. Topic, UserID.
	KindMemberRemoved
	// KindCacheMiss: a socket joined an empty cache channel. Topic, Socket.
	KindCacheMiss
	// KindSubscriptionCount: a channel's count changed and is due to be told.
	// Topic, Count.
	KindSubscriptionCount
	// KindPublished: an event was accepted by the authoritative leg. Event,
	// whose own At is the acceptance; the record's is when it was made known,
	// which a relay may have to put off until the vendor has answered.
	KindPublished
	// KindDelivered: a leg handed an event to a view: to the subscribers of a
	// channel (engine: Socket empty, Count receivers), to one relayed socket
	// (vendor), or to a watcher of a backend. Event (with ID where the leg
	// knows it), Socket, Count.
	KindDelivered
	// KindGap: a leg could not be observed on Topic (all channels of the app
	// when Topic.Channel is empty) from From to At. What should have been
	// seen in it is unknown, not missing. Text.
	KindGap
	// KindRefused: a command, connection or HTTP request was refused.
	// Socket or empty, Code, Text, Action.
	KindRefused
	// KindAllowed: an authorisation was checked and held. Socket, Action.
	KindAllowed
	// KindMirrored: a backend answered for one event handed to it. Event.ID,
	// Text (result code), Leg, Count (its place among what the backend was
	// handed, from 1: answers may come in another order).
	KindMirrored
	// KindWebhook: a leg told of something by webhook. Action is its type, From
	// when it says that it was put together; Topic, and as the type has it
	// UserID, Count or Event (with Socket).
	KindWebhook
	// KindFrame: how a frame is built that a leg sent a relayed client, or its
	// double. Socket, Client, Topic where it has one, Action (which frame: the
	// event's name, "event", "client event", or "first frame" of a channel),
	// Text (keys and types; of a first frame, which it was).
	KindFrame

	kinds
)

var kindNames = [...]string{
	"connected", "disconnected", "subscribed", "unsubscribed", "occupied", "vacated", "member_added",
	"member_removed", "cache_miss", "subscription_count", "published", "delivered", "gap", "refused",
	"allowed", "mirrored", "webhook", "frame",
}

// String returns the kind's name in logs and the live feed.
func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return kindNames[k]
}

// Kinds is a set of kinds.
type Kinds uint32

// KindsOf returns the set of those kinds.
func KindsOf(ks ...Kind) Kinds {
	var set Kinds
	for _, k := range ks {
		set |= 1 << k
	}
	return set
}

// AllKinds is the set of every kind.
const AllKinds = Kinds(1<<kinds - 1)

// Has reports whether k is in the set.
func (s Kinds) Has(k Kind) bool { return s&(1<<k) != 0 }

// Client is what a connection said of itself in its URL (protocol.md 1.1),
// and how it came in.
type Client struct {
	Key       string // app key it used
	Library   string // "client" parameter, at most 100 bytes kept
	Version   string // "version" parameter, at most 100 bytes kept
	Protocol  int
	Transport string // "ws", "xhr_streaming", "xhr_polling"
	Remote    string // peer address
	TLS       bool
	Via       string // CDN-Loop header (RFC 8586), at most 512 bytes: the gateways that it came through
}

// Record is one thing that happened, as shown to watchers. It is a value;
// Event is shared and immutable.
type Record struct {
	Kind   Kind
	At     time.Time
	From   time.Time // KindGap: when it began; KindWebhook: when it was put together
	Leg    Leg       // the leg that did or saw it
	Topic  Topic
	Socket protocol.SocketID
	UserID string
	Event  *Event
	Client *Client
	Count  int
	Code   int
	Action string // KindRefused, KindAllowed: what was tried, such as "subscribe"; KindWebhook: its type
	Text   string
}

// Sink is anything that watches. Offer never blocks and never keeps a lock
// that its caller could wait for; it reports false when the record was
// dropped, which the sink has then counted.
type Sink interface {
	Offer(r Record) (accepted bool)
}
