package engine

import (
	"context"
	"fmt"
	"strings"
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
func (e *Engine) Channels(ctx context.Context, app, prefix string) ([]ChannelState, error) {
	if e.occupancy != nil {
		return e.channelsEverywhere(ctx, app, prefix)
	}
	var states []ChannelState
	var failure error
	e.tenant(app).each(func(ch *channel) {
		if failure != nil || ch.hidden() || !strings.HasPrefix(string(ch.name), prefix) {
			return
		}
		count := ch.group.Len()
		if count == 0 {
			return
		}
		s := ChannelState{Name: ch.name, Occupied: true, SubscriptionCount: count}
		s.UserCount, failure = e.userCount(ctx, ch.topic())
		states = append(states, s)
	})
	if failure != nil {
		return nil, failure
	}
	return states, nil
}

// Channel returns the state of one channel, occupied or not.
func (e *Engine) Channel(ctx context.Context, t proxy.Topic) (ChannelState, error) {
	s := ChannelState{Name: t.Channel}
	if t.Channel[0] == '#' {
		return s, nil
	}
	var err error
	if t.Channel.Cached() {
		kept, err := e.lastKept(ctx, t)
		if err != nil {
			return s, err
		}
		if kept.Event != nil {
			s.Cache = &CacheState{Data: kept.Event.Data, TTL: kept.Left}
		}
	}
	if ch := e.tenant(t.App).find(t.Channel); ch != nil {
		s.SubscriptionCount = ch.group.Len()
	}
	if e.occupancy != nil {
		if s.SubscriptionCount, err = e.occupancy.Count(ctx, t); err != nil {
			e.backendErrors.Add(1)
			return s, fmt.Errorf("engine: count of %s: %w", t, err)
		}
	}
	s.Occupied = s.SubscriptionCount > 0
	s.UserCount, err = e.userCount(ctx, t)
	return s, err
}

func (e *Engine) userCount(ctx context.Context, t proxy.Topic) (int, error) {
	if t.Channel.Kind() != protocol.Presence {
		return 0, nil
	}
	members, err := e.members(ctx, t)
	return len(members), err
}

func (e *Engine) members(ctx context.Context, t proxy.Topic) ([]protocol.Member, error) {
	members, err := e.presence.Members(ctx, t)
	if err != nil {
		e.backendErrors.Add(1)
		return nil, fmt.Errorf("engine: members of %s: %w", t, err)
	}
	return members, nil
}

// Users returns the ids of a presence channel's users in order of arrival.
func (e *Engine) Users(ctx context.Context, t proxy.Topic) ([]string, error) {
	if t.Channel.Kind() != protocol.Presence {
		return nil, nil
	}
	members, err := e.members(ctx, t)
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.UserID
	}
	return ids, err
}

// Members returns a presence channel's users in order of arrival, with their
// info.
func (e *Engine) Members(ctx context.Context, t proxy.Topic) ([]proxy.Member, error) {
	return e.members(ctx, t)
}

// Connections returns an app's connections on this node, oldest first.
func (e *Engine) Connections(app string) []ConnState {
	t := e.tenant(app)
	conns := e.conns.all(func(c *Conn) bool { return c.tenant == t })
	states := make([]ConnState, len(conns))
	for i, c := range conns {
		states[i] = c.state()
	}
	return states
}

func (c *Conn) state() ConnState {
	s := ConnState{Socket: c.id, Client: *c.client, Since: c.engine.started.Add(c.since)}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Subscriptions = c.joined.len()
	if c.login != nil {
		s.UserID = c.login.user.ID
	}
	return s
}

// Stats are an app's counts on this node: the first three as they are now, the
// others since the process began.
type Stats struct {
	Connections   int
	Channels      int // occupied, without server-to-user channels
	Subscriptions int

	ServerEvents uint64 // accepted from the HTTP API, counted per channel
	ClientEvents uint64 // accepted from clients
	Deliveries   uint64 // frames of both that were queued for subscribers
	Refusals     uint64 // commands and connections refused
}

// Stats returns an app's counts.
func (e *Engine) Stats(app string) Stats { return e.tenant(app).stats() }

func (t *tenant) stats() Stats {
	return Stats{
		Connections:   int(t.connections.Load()),
		Channels:      int(t.channels.Load()),
		Subscriptions: int(t.subscriptions.Load()),
		ServerEvents:  t.serverEvents.Load(),
		ClientEvents:  t.clientEvents.Load(),
		Deliveries:    t.deliveries.Load(),
		Refusals:      t.refusals.Load(),
	}
}
