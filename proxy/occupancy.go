package proxy

import (
	"context"

	"github.com/offramp/offramp/proxy/protocol"
)

// Count is how many subscriptions a channel has on all nodes, before and
// after one of them has told of a change.
type Count struct{ Before, After int }

// Occupancy is the cluster-wide truth about how many subscriptions channels
// have. A gateway of one node needs none: what it counts is the truth.
//
// Implementations: proxy/backend/memory (several engines in one process),
// proxy/backend/redis. They pass proxy/backend/backendtest.
type Occupancy interface {
	// Set says how many subscriptions this node has on a topic from now on.
	// It is absolute, so that a call which was lost is made up for by the next
	// one. Calls for one topic come one after the other.
	Set(ctx context.Context, t Topic, here int) (Count, error)
	// Count returns how many subscriptions a topic has.
	Count(ctx context.Context, t Topic) (int, error)
	// Channels returns the occupied channels of an app and their counts.
	Channels(ctx context.Context, app string) (map[protocol.ChannelName]int, error)
}

// ChangeKind says what a Change reports.
type ChangeKind uint8

const (
	// MemberGone: a user's last socket is gone, as its node has died or had
	// no connection to the others when it left. Member.UserID.
	MemberGone ChangeKind = iota
	// MemberBack: nodes have told once more of a member that the others may
	// have lost sight of. It is no arrival. Member.
	MemberBack
	// ChannelVacated: a channel's last subscription is gone in the same way.
	ChannelVacated
	// ChannelOccupied: a channel's first subscription, which could not be told
	// when it was made.
	ChannelOccupied
)

// Change is a change of presence or occupancy that is not the answer to a
// call. Each is told to one node, which tells the others.
type Change struct {
	Kind   ChangeKind
	Topic  Topic
	Member Member // MemberGone, MemberBack
}
