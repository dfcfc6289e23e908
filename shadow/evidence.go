package shadow

import (
	"time"

	"github.com/offramp/offramp/proxy"
)

// Evidence is everything the comparator knows of one app over a span of time.
// It is a copy: the caller may keep it.
type Evidence struct {
	App      string
	From, To time.Time // first and last minute with evidence; zero when there is none
	Stage    proxy.Stage
	Pairs    []Pair // in order of reference, then candidate
	Coverage Coverage
	Health   Health
	Exhibits []Exhibit
	// Nodes are those of the gateway's nodes that saw it, by name; empty: there
	// is only one. Missing are nodes that live and whose evidence is not in it,
	// each with the reason.
	Nodes   []string `json:",omitempty"`
	Missing []string `json:",omitempty"`
}

// Pair is the comparison of one candidate with one reference.
type Pair struct {
	Reference, Candidate proxy.Leg
	Cells                []Cell // in order of start, then key
}

// Coverage says how much of the traffic the gateway saw pass.
type Coverage struct {
	Delivered int64 // events the reference leg delivered
	Published int64 // those of them whose publish passed the gateway
	// Webhooks of the vendor that came in here. 0: they go elsewhere, and
	// nothing is known of how the engine's would agree with them.
	Webhooks int64
}

// Health is the comparator's account of its own blindness.
type Health struct {
	Records  int64         // offered to the comparator, all apps
	Shed     int64         // of those, dropped because its queue was full
	Overflow int64         // events of this app closed early because a window was full
	Gaps     int64         // spans in which a leg could not be observed
	Open     int64         // comparisons of this app still open
	Lag      time.Duration // age of the oldest record in the queue when it was last emptied
}

// Exhibit is one finding shown in full: what each leg was seen to do with one
// event. Payloads are keyed hashes and shapes unless bodies were asked for.
type Exhibit struct {
	Finding   string // what was found, such as "missing"
	Reference proxy.Leg
	Candidate proxy.Leg
	Channel   string
	Pattern   string
	Event     string
	ID        string // event id; empty when the publish did not pass the gateway
	At        time.Time
	Before    *Frame // what the reference delivered; nil: nothing
	After     *Frame // what the candidate delivered; nil: nothing
	Note      string
	// Steps are what happened on the channel around the finding, in order.
	Steps []Step
}

// Step is one thing that happened: an event published, a delivery of it on a
// leg, or what else its Kind says.
type Step struct {
	Leg     proxy.Leg // where it happened; empty: an event was published
	Kind    string    // a StepKind; empty: an event was published or delivered
	Event   string
	ID      string // event id, where the leg carries it
	User    string // keyed hash of the user's id
	Text    string // of a publish, what the candidate answered; else as the kind says
	Subject bool   // it is what the finding is about
	Frame
}

// The kinds of step that are no event.
const (
	StepMember  = "member"  // User was a member when the exhibit begins
	StepJoined  = "joined"  // User became one
	StepLeft    = "left"    // User was none any more
	StepLasted  = "lasted"  // the legs still differed
	StepDecided = "decided" // on what Event names; Text is "allow", or "deny" with its code
	StepRelayed = "relayed" // a relayed client did what webhooks of type Text tell
	StepTold    = "told"    // a webhook of type Text was, or would have been, sent
	StepFrame   = "frame"   // a frame was sent; Text is how it is built
)

// Frame is what one leg delivered.
type Frame struct {
	At     time.Time
	Bytes  int
	Digest string // keyed hash of the payload
	Shape  string // JSON paths and types; empty when it is not JSON
}
