package translators

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Translator connects one kind of backend.
type Translator interface {
	// Describe returns what holds for every session. It does no I/O.
	Describe() Description
	// Open connects with an operator's settings, which have passed the
	// description's schema. It returns once the backend accepted the session,
	// or with an error that says what the operator should change.
	Open(ctx context.Context, b Binding) (Session, error)
}

// Binding is what a session is opened for: one backend of one app.
type Binding struct {
	App     string // app id
	Backend string // name of the backend in the app's configuration
	Role    proxy.Role
	// Gateway marks this deployment's messages: see Envelope.Origin. A shadow
	// session must show its own messages when they are observed; a bridge
	// session must not.
	Gateway  string
	Settings Settings
	// Log goes to the gateway's log. Secrets do not belong there.
	Log zerolog.Logger
}

// Session is a connection to a backend. Its methods may be called from
// several goroutines at once, but the items of one channel arrive in one call
// after the other.
type Session interface {
	// Publish hands a slice of one lane, in order, to the backend, and returns
	// exactly one result per item, in the same order. OK means that the backend
	// acknowledged. After an item that failed with CodeTransient it must not
	// attempt later items of the same channel: it answers CodeTransient for
	// them too, and all are tried again. It returns when ctx ends.
	Publish(ctx context.Context, batch []Envelope) []Result
	// Close flushes, disconnects, and ends every goroutine of the session.
	Close(ctx context.Context) error
}

// Subscriber is a Session that can observe what its backend delivers.
type Subscriber interface {
	// Subscribe shows a channel's events to o from now on; when it returns nil
	// the backend has confirmed the subscription. The returned function ends
	// it; what o is shown after that is ignored.
	Subscribe(ctx context.Context, channel protocol.ChannelName, o Observer) (stop func(), err error)
}

// Observer is shown what a backend delivers on one channel. Its methods do
// not block and may be called from any goroutine, one call at a time.
type Observer interface {
	// Deliver shows one event. Channel may be left empty.
	Deliver(e Envelope)
	// State shows a change of the subscription itself. A hole in what could be
	// observed must be shown, as StateDetached until StateAttached, or as one
	// StateGap afterwards.
	State(s ChannelState)
}

// ChannelState is a change of one channel's subscription.
type ChannelState struct {
	State    State
	From, To time.Time // StateGap: when; StateDetached: From, when it began
	Detail   string
}

// State says what a ChannelState reports.
type State uint8

// The states.
const (
	StateAttached State = iota // observed from now on
	StateDetached              // not observed from From on, until attached again
	StateGap                   // was not observed From..To
	StateError                 // given up; Detail says why. The gateway will ask anew

	states
)

// String returns the state's name.
func (s State) String() string {
	return name("STATE", s, states, "ATTACHED", "DETACHED", "GAP", "ERROR")
}

// Presencer is a Session whose backend knows who is on a channel.
type Presencer interface {
	// SetMembers makes the gateway's members of a channel on the backend equal
	// to want. It is a desired state, not a change: after a restart the same
	// call repairs whatever was left behind.
	SetMembers(ctx context.Context, channel protocol.ChannelName, want []proxy.Member) error
}

// Querier is a Session that can ask its backend about a channel.
type Querier interface {
	// Query returns what the backend knows of a channel now.
	Query(ctx context.Context, channel protocol.ChannelName) (Occupancy, error)
}

// Occupancy is what a backend knows of a channel.
type Occupancy struct {
	Occupied      bool
	Subscriptions int // -1: the backend does not count them
	Members       []proxy.Member
}

// Previewer is a Session that can show what it would send.
type Previewer interface {
	// Preview returns an item's native form, and what of it would be lost. It
	// does no I/O.
	Preview(e Envelope) (Native, []Loss)
}

// Native is a message in a backend's own form.
type Native struct {
	Destination string // subject, topic, key
	Headers     map[string]string
	Body        []byte
}

// Loss names a field of an Envelope that does not survive.
type Loss struct {
	Field  string // such as "exclude_socket"
	Detail string
}

// Limited is a Session whose settings decide what its backend takes.
type Limited interface {
	// Limits returns what is in force in place of the description's Limits. The
	// gateway itself keeps to all that is set: what is larger, or over a rate,
	// is refused in the session's place and not handed over. Leave a rate out
	// where several items become one publish. It does no I/O.
	Limits() Limits
}

// Reporter is a Session that knows how it is doing.
type Reporter interface {
	// Report returns the session's health and counters now. It does no I/O.
	Report() Report
}

// Report is a session's health.
type Report struct {
	Healthy  bool
	Detail   string            // what is wrong, when it is not healthy
	Counters map[string]uint64 // monotonic; names in snake case
}

// Find returns the first session in the chain of s that implements T. A
// session that wraps another has a method Unwrap() Session.
func Find[T any](s Session) (T, bool) {
	for s != nil {
		if found, ok := s.(T); ok {
			return found, true
		}
		wrapper, ok := s.(interface{ Unwrap() Session })
		if !ok {
			break
		}
		s = wrapper.Unwrap()
	}
	var none T
	return none, false
}
