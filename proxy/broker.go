package proxy

import "context"

// Broker carries events between the nodes of a gateway, and keeps what cache
// channels keep. Events of one topic reach every subscribed node in the same
// order; each at most once.
//
// Implementations: proxy/backend/memory (one node), proxy/backend/redis. They
// pass proxy/backend/backendtest.
type Broker interface {
	Cache
	// Publish hands an event to every node subscribed to its topic, and in any
	// case to this one, subscribed or not: what watches this node sees all
	// that is published on it. When it returns nil the event is accepted: it
	// is delivered by each of those nodes unless the node or its link dies.
	// Implementations bound the time that it takes even if ctx does not.
	Publish(ctx context.Context, ev *Event) error
	// Subscribe asks for a topic's events on this node from now on. It is
	// called on a channel's first local subscription.
	Subscribe(ctx context.Context, t Topic) error
	// Unsubscribe ends what Subscribe began.
	Unsubscribe(ctx context.Context, t Topic) error
	// Run connects and serves until ctx ends. deliver must not block, nor
	// publish; events of one topic are passed to it one after the other.
	Run(ctx context.Context, deliver func(*Event)) error
}
