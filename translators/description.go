package translators

import "fmt"

// Description is what a Translator says of itself before it knows any
// settings. It is the row of the fidelity table.
type Description struct {
	Name    string // lower case, such as "nats"
	Version string // semantic version of the translator
	// Settings is the schema of the operator's settings: SchemaOf(Config{}).
	Settings  Schema
	Features  map[Feature]Fidelity // what is absent is Unsupported
	Limits    Limits               // of the backend as such; a session may tighten them
	Ordering  Ordering
	Guarantee Guarantee
	Echo      Echo
}

// Feature names something that Pusher Channels offers.
type Feature string

// The features a description rates.
const (
	FeatureEvents        Feature = "events"         // channel, event name and data
	FeatureClientEvents  Feature = "client_events"  // with their sender
	FeatureExcludeSocket Feature = "exclude_socket" // not delivered to one connection
	FeatureSubscribe     Feature = "subscribe"      // what the backend delivers can be observed
	FeaturePresence      Feature = "presence"       // who is on a channel
	FeatureUserInfo      Feature = "user_info"      // what is told about members
	FeatureServerToUser  Feature = "server_to_user" // events to one user
	FeatureEncrypted     Feature = "encrypted"      // ciphertext passes unread
	FeatureCache         Feature = "cache"          // last event for newcomers
	FeatureQuery         Feature = "query"          // occupancy and members
	FeatureWebhooks      Feature = "webhooks"
	FeatureHistory       Feature = "history" // beyond what Pusher offers
	FeatureDedupe        Feature = "dedupe"  // an item sent twice with one mirror id is delivered once
	// FeatureIdentity: mirror id and origin travel with the message and are
	// observed with it. Without, observed events have neither, and are told
	// apart by what they contain.
	FeatureIdentity Feature = "identity"
)

// Features returns every feature, in the order of the fidelity table.
func Features() []Feature {
	return []Feature{
		FeatureEvents, FeatureClientEvents, FeatureExcludeSocket, FeatureSubscribe, FeaturePresence, FeatureUserInfo,
		FeatureServerToUser, FeatureEncrypted, FeatureCache, FeatureQuery, FeatureWebhooks, FeatureHistory, FeatureDedupe,
		FeatureIdentity,
	}
}

// Fidelity is how well a feature survives, and in what way it does not.
type Fidelity struct {
	Level Level
	Note  string
}

// Level grades a Fidelity.
type Level uint8

// The levels. The zero Level is Unsupported, so that silence promises nothing.
const (
	Unsupported Level = iota
	Lossy             // something is lost; the note says what
	Emulated          // the same to clients, by other means
	Exact

	levels
)

// String returns the level's name in the fidelity table.
func (l Level) String() string {
	return name("LEVEL", l, levels, "UNSUPPORTED", "LOSSY", "EMULATED", "EXACT")
}

// Limits are bounds of a backend. Zero: none that is known.
type Limits struct {
	PayloadBytes        int     // largest Data
	ChannelNameBytes    int     // longest channel name, in Pusher's form
	EventNameBytes      int     // longest event name
	Channels            int     // subscriptions that one session can hold
	PublishesPerSecond  float64 // of a session
	PerChannelPerSecond float64 // publishes on one channel
	PresenceMembers     int     // on one channel
}

// Ordering is the order in which a backend delivers.
type Ordering uint8

// The orderings, weakest first.
const (
	OrderNone         Ordering = iota // none is promised
	OrderPerPublisher                 // of one session's publishes on one channel
	OrderPerChannel                   // the same for every subscriber of a channel

	orderings
)

// String returns the ordering's name.
func (o Ordering) String() string {
	return name("ORDERING", o, orderings, "NONE", "PER_PUBLISHER", "PER_CHANNEL")
}

// Guarantee is what becomes of an acknowledged item.
type Guarantee uint8

// The guarantees, weakest first.
const (
	AtMostOnce      Guarantee = iota // may be lost on the way to a subscriber
	AtLeastOnce                      // may arrive more than once
	EffectivelyOnce                  // at least once, and repeats are recognised

	guarantees
)

// String returns the guarantee's name.
func (g Guarantee) String() string {
	return name("GUARANTEE", g, guarantees, "AT_MOST_ONCE", "AT_LEAST_ONCE", "EFFECTIVELY_ONCE")
}

// Echo is how a session keeps its own publishes from coming back to it.
type Echo uint8

// The means of echo control.
const (
	EchoNone   Echo = iota // it cannot
	EchoTagged             // they come back, recognisable by their origin
	EchoNative             // the backend does not send them

	echoes
)

// String returns the means' name.
func (e Echo) String() string { return name("ECHO", e, echoes, "NONE", "TAGGED", "NATIVE") }

func name[E ~uint8](kind string, value, count E, names ...string) string {
	if value >= count {
		return fmt.Sprintf("%s_%d", kind, uint8(value))
	}
	return names[value]
}
