package engine

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Publication is an event on one or more channels, validated by the caller.
type Publication struct {
	Channels []protocol.ChannelName // distinct
	Name     string
	Data     []byte            // content of the "data" string; kept, so never changed afterwards
	Except   protocol.SocketID // skipped on delivery; empty: nobody
	Origin   proxy.Leg         // where it entered; empty: this engine
	Via      string            // gateways that it came through; empty: none
	By       string            // who published, as in proxy.Event
	// Of a client event that a client of another leg sent:
	Publisher proxy.Publisher
	UserID    string // its presence user
}

// Publish accepts an event on each of its channels, in their order. Cache
// channels keep it for newcomers. A nil error means that it was accepted on
// all of them; with an error it may have been on some.
func (e *Engine) Publish(ctx context.Context, app *proxy.App, p Publication) error {
	if p.Origin == "" {
		p.Origin = proxy.LegEngine
	}
	t := e.tenant(app.ID)
	now := time.Now()
	for _, name := range p.Channels {
		ev := &proxy.Event{
			ID:        e.nextID(),
			Topic:     proxy.Topic{App: t.id, Channel: name},
			Name:      p.Name,
			Data:      p.Data,
			Except:    p.Except,
			Publisher: p.Publisher,
			UserID:    p.UserID,
			Origin:    p.Origin,
			Via:       p.Via,
			By:        p.By,
			At:        now,
		}
		if ev.Keeps() {
			ev.Data = bytes.Clone(p.Data) // of a larger request, as a rule
		}
		if err := e.broker.Publish(ctx, ev); err != nil {
			e.backendErrors.Add(1)
			return fmt.Errorf("engine: publish on %s: %w", ev.Topic, err)
		}
		t.serverEvents.Add(1)
	}
	return nil
}

// TerminateUser closes every connection that is signed in as that user, on
// all nodes, with code 4009.
func (e *Engine) TerminateUser(ctx context.Context, app *proxy.App, userID string) error {
	ev := &proxy.Event{Topic: proxy.Topic{App: app.ID, Channel: accountName(userID)}, Name: newsTerminate, UserID: userID}
	if err := e.publishNews(ctx, ev); err != nil {
		return fmt.Errorf("engine: terminate connections of user %q: %w", userID, err)
	}
	return nil
}

// Names of the events that engines send each other.
const (
	newsMemberAdded   = "pusher_internal:member_added"   // Data: user_info
	newsMemberRemoved = "pusher_internal:member_removed" //
	newsOnline        = "online"                         // on an account
	newsOffline       = "offline"
	newsTerminate     = "terminate"
	newsCount         = "subscription_count" // Data: the count, in decimal
	newsLook          = "look"               // what subscribers were told of the channel may be untrue
)

// tell publishes news to every node; a failure concerns no client command, and
// is made up for.
func (e *Engine) tell(ev *proxy.Event) {
	if err := e.publishNews(context.Background(), ev); err != nil {
		e.failed(err, ev.Topic, "tell the news "+ev.Name)
		e.repairs.add(ev.Topic, true)
	}
}

func (e *Engine) publishNews(ctx context.Context, ev *proxy.Event) error {
	ev.ID, ev.Publisher, ev.Origin, ev.At = e.nextID(), proxy.ByEngine, proxy.LegEngine, time.Now()
	return e.broker.Publish(ctx, ev)
}

func (e *Engine) nextID() proxy.EventID { return proxy.EventID{Node: e.node, Seq: e.events.Add(1)} }
