package translators

import (
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Envelope is one event on its way to a backend, or observed on one. Its Data
// is shared: nobody changes it.
type Envelope struct {
	// ID is the mirror id: stable over retries and restarts, unique in the
	// deployment. Backends use it as their own de-duplication key. It is zero
	// on an observed event that somebody else published.
	ID      proxy.EventID
	App     string
	Channel protocol.ChannelName // the true name, never the backend's form of it
	Event   string               // event name
	// Data is the event's data exactly as published. It need not be JSON, nor
	// text. What is observed must equal what was published, byte for byte.
	Data   []byte
	UserID string            // sender's user id; empty when there is none
	Except protocol.SocketID // connection that must not receive it; empty: all do
	Kind   Kind
	// Lane and Seq are the order key: items of one lane reach the backend in
	// the order of Seq. A channel stays in its lane.
	Lane uint32
	Seq  uint64
	// Origin names the gateway that published it, Hops how many gateways have
	// passed it on. Both travel with the message, so that a bridge can tell its
	// own messages and end a loop.
	Origin   string
	Hops     uint32
	Ingress  time.Time // acceptance by the gateway
	Deadline time.Time // no attempt starts later; zero: none
	Attrs    map[string]string
}

// Kind says what an Envelope stands for.
type Kind uint8

// The kinds of envelope.
const (
	KindServer        Kind = iota // published through the HTTP API
	KindClientEvent               // sent by a client
	KindPresenceJoin              // a user arrived; for backends without presence of their own
	KindPresenceLeave             // a user left; likewise
	KindCacheSeed                 // the last event of a cache channel, to start a backend's cache with
	KindProbe                     // a measurement that no client receives

	kinds
)

var kindNames = [...]string{"server", "client_event", "presence_join", "presence_leave", "cache_seed", "probe"}

// String returns the kind's name in logs and previews.
func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return kindNames[k]
}
