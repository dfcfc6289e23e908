package shadow

import (
	"maps"
	"time"
)

// Key says which traffic a cell is about.
type Key struct {
	Type    string // channel type: "public", "presence", "private-cache", …
	Pattern string // learned channel pattern, such as "presence-room-{int}", or "other"
	Event   string // event name, or "other"
}

// Counts is what came of the events of one cell. Each is a number of events
// on one channel, however many clients were subscribed to it.
type Counts struct {
	Expected       int64 // scored: Matched + Missing + PayloadDiffers
	Matched        int64 // the candidate delivered the event with the same bytes
	Missing        int64 // the candidate accepted the event and did not deliver it
	Duplicate      int64 // further deliveries of one event by the candidate
	Reordered      int64 // fewest events to take out for the candidate's order to be right
	PayloadDiffers int64 // delivered by the candidate with another payload
	SameJSON       int64 // of those, equal as JSON: re-encoded
	// Signatures are the others by what differs: see signature.
	Signatures map[string]int64
	Unknown    int64            // could not be compared: gap, shed, overflow, edge of a subscription
	Extra      int64            // delivered by the candidate only
	Rejected   map[string]int64 // refused by the candidate, by its result code

	// Affected is how many clients the reference delivered the missing events
	// to, summed over the events.
	Affected int64

	ReferenceMissing   int64 // not delivered by the reference, of Expected
	ReferenceDuplicate int64
	ReferenceReordered int64

	MaxDisplacement int64 // farthest an event of the candidate was from its place

	// Siblings are events seen by two or more sockets of the reference that
	// the comparator watches; SiblingMissing and SiblingReordered are how
	// often those sockets disagree with each other: the reference's own noise.
	Siblings, SiblingMissing, SiblingReordered int64

	// Of a reference alone: events it delivered, and those of them whose
	// publish passed the gateway.
	Delivered, Published int64

	Clusters Clusters
	Delays   *Delays `json:",omitempty"` // nil: nothing was timed
	Presence Presence
	Webhooks Webhooks

	// Decisions of the reference and of the candidate on the same question,
	// such as "allow | deny 4009", and how often.
	Decisions map[string]int64

	// Structures are how sampled frames are built, by leg: see SplitStructures.
	Structures map[string]int64

	// Groups break the events of a cell down: see GroupedBy.
	Groups Groups
}

// Add adds other's counts to c.
func (c *Counts) Add(o *Counts) {
	c.Expected += o.Expected
	c.Matched += o.Matched
	c.Missing += o.Missing
	c.Duplicate += o.Duplicate
	c.Reordered += o.Reordered
	c.PayloadDiffers += o.PayloadDiffers
	c.SameJSON += o.SameJSON
	c.Unknown += o.Unknown
	c.Extra += o.Extra
	c.Affected += o.Affected
	addCounts(&c.Rejected, o.Rejected)
	addCounts(&c.Signatures, o.Signatures)
	c.ReferenceMissing += o.ReferenceMissing
	c.ReferenceDuplicate += o.ReferenceDuplicate
	c.ReferenceReordered += o.ReferenceReordered
	c.MaxDisplacement = max(c.MaxDisplacement, o.MaxDisplacement)
	c.Siblings += o.Siblings
	c.SiblingMissing += o.SiblingMissing
	c.SiblingReordered += o.SiblingReordered
	c.Delivered += o.Delivered
	c.Published += o.Published
	c.Clusters.Add(o.Clusters)
	if o.Delays != nil {
		c.delays().Add(o.Delays)
	}
	c.Presence.Add(o.Presence)
	c.Webhooks.Add(o.Webhooks)
	addCounts(&c.Decisions, o.Decisions)
	addCounts(&c.Structures, o.Structures)
	c.Groups.merge(o.Groups)
}

// maxNamed bounds the names counted apart in one map of one cell.
const maxNamed = 64

func addCounts(into *map[string]int64, from map[string]int64) {
	for name, n := range from {
		countNamed(into, name, n)
	}
}

// countNamed counts under a name, or under "other" when there are too many.
func countNamed(into *map[string]int64, name string, n int64) {
	if *into == nil {
		*into = make(map[string]int64)
	}
	if _, known := (*into)[name]; !known && len(*into) >= maxNamed {
		name = other
	}
	(*into)[name] += n
}

func (c *Counts) clone() Counts {
	out := *c
	out.Rejected, out.Decisions, out.Signatures = maps.Clone(c.Rejected), maps.Clone(c.Decisions), maps.Clone(c.Signatures)
	if c.Delays != nil {
		out.Delays = new(Delays)
		*out.Delays = *c.Delays
	}
	out.Structures, out.Groups = maps.Clone(c.Structures), c.Groups.clone()
	return out
}

// Clusters are the sums from which the design effect of losses is estimated.
// A cluster is one channel in one minute, with n events expected and x lost by
// the candidate.
type Clusters struct {
	Number int64   `json:"number"`
	N2     float64 `json:"n2"` // sum of n²
	X2     float64 `json:"x2"` // sum of x²
	NX     float64 `json:"nx"` // sum of n·x
	X4     float64 `json:"x4"` // sum of x⁴
}

// Observe adds a cluster of n of which x are amiss.
func (c *Clusters) Observe(n, x int64) {
	if n == 0 {
		return
	}
	nf, xf := float64(n), float64(x)
	c.Add(Clusters{Number: 1, N2: nf * nf, X2: xf * xf, NX: nf * xf, X4: xf * xf * xf * xf})
}

// Add adds other's sums to c.
func (c *Clusters) Add(o Clusters) {
	c.Number += o.Number
	c.N2 += o.N2
	c.X2 += o.X2
	c.NX += o.NX
	c.X4 += o.X4
}

// Cell is the counts of one key in a span of Config.Cell, or in an hour once it
// is old.
type Cell struct {
	Key
	Start  time.Time
	Span   time.Duration
	Counts Counts
	// Latency of the key in the hour that begins at Start; nil on all cells
	// of the key but the first of each hour.
	Latency *Latency
}
