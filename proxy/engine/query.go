package engine

import (
	"context"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// ChannelState is what can be known of a channel.
type ChannelState struct {
	Name              protocol.ChannelName
	Occupied          bool
	SubscriptionCount int
	UserCount         int         // distinct users; presence channels only
	Cache             *CacheState // the kept event of a cache channel; nil: none. Only from Channel
}

// CacheState is the event that a cache channel keeps.
type CacheState struct {
	Data []byte        // content of its "data" string
	TTL  time.Duration // life that is left, above 0
}

// ConnState is what can be known of a connection.
type ConnState struct {
	Socket        protocol.SocketID
	UserID        string // signed in as; empty: not signed in
	Client        proxy.Client
	Since         time.Time
	Subscriptions int
}

// Channels returns the occupied channels of an app whose names begin with
// prefix, in no particular order. Server-to-user channels are not shown.
func (e *Engine) Channels(ctx context.Context, app string, prefix string) ([]ChannelState, error) {
	return nil, nil
}

// Channel returns the state of one channel, occupied or not.
func (e *Engine) Channel(ctx context.Context, t proxy.Topic) (ChannelState, error) {
	return ChannelState{}, nil
}

// Users returns the ids of a presence channel's users in order of arrival.
func (e *Engine) Users(ctx context.Context, t proxy.Topic) ([]string, error) { return nil, nil }

// Connections returns an app's connections on this node, oldest first.
func (e *Engine) Connections(app string) []ConnState { return nil }

// Stats are an app's counts on this node: the first three now, the others
// since the process began.
type Stats struct {
	Connections   int
	Channels      int
	Subscriptions int

	ServerEvents uint64 // accepted from the HTTP API, per channel
	ClientEvents uint64 // accepted from clients
	Deliveries   uint64 // frames of both that were queued to subscribers
	Refusals     uint64 // commands and connections refused
}

// Stats returns an app's counts.
func (e *Engine) Stats(app string) Stats { return Stats{} }
