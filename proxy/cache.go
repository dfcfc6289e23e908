package proxy

import (
	"context"
	"time"
)

// CacheFor is how long a cache channel keeps its last event (vendor
// documentation: cache channels).
const CacheFor = 30 * time.Minute

// Kept is what a cache channel keeps for newcomers.
type Kept struct {
	Event *Event        // nil: nothing
	Left  time.Duration // life that is left
}

// Cache is the cluster-wide truth about what cache channels keep. It is part
// of Broker: Publish stores an event in the step that gives it its place among
// the others, if Event.Keeps. So what is kept is the last one in the order
// that all subscribers see.
type Cache interface {
	// Last returns what a channel keeps. have is what this node knows of it:
	// it is taken over if the others know of nothing as late, as when what
	// they meet at has lost its memory.
	Last(ctx context.Context, t Topic, have Kept) (Kept, error)
}

// Keeps reports whether the event is to be kept by its channel.
func (e *Event) Keeps() bool { return e.Publisher == ByServer && e.Topic.Channel.Cached() }
