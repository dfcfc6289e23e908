package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

var errBackend = errors.New("backend is down")

// flakyBroker fails while told to.
type flakyBroker struct {
	proxy.Broker
	publish, subscribe bool
}

func (b *flakyBroker) Publish(ctx context.Context, ev *proxy.Event) error {
	if b.publish {
		return errBackend
	}
	return b.Broker.Publish(ctx, ev)
}

func (b *flakyBroker) Subscribe(ctx context.Context, t proxy.Topic) error {
	if b.subscribe {
		return errBackend
	}
	return b.Broker.Subscribe(ctx, t)
}

// flakyPresence fails or hangs on the channels told to.
type flakyPresence struct {
	proxy.Presence
	fail bool
	hang chan struct{} // nil: does not; else presence-slow waits for it
}

func (p *flakyPresence) Join(ctx context.Context, t proxy.Topic, m proxy.Member, id protocol.SocketID, limit int) ([]proxy.Member, bool, error) {
	if p.fail {
		return nil, false, errBackend
	}
	if p.hang != nil && t.Channel == "presence-slow" {
		<-p.hang
	}
	return p.Presence.Join(ctx, t, m, id, limit)
}

func (p *flakyPresence) Members(ctx context.Context, t proxy.Topic) ([]proxy.Member, error) {
	if p.fail {
		return nil, errBackend
	}
	return p.Presence.Members(ctx, t)
}

// A client that could not be served is sent away for a second, so that its
// library tries again; an unanswered subscription would stay deaf.
func TestBackendFailureSendsTheClientAwayForAMoment(t *testing.T) {
	for name, tc := range map[string]struct {
		broker   *flakyBroker
		presence *flakyPresence
		act      func(*client)
	}{
		"broker, on subscribing":  {broker: &flakyBroker{subscribe: true}, act: func(c *client) { c.subscribe("c", "") }},
		"presence, on joining":    {presence: &flakyPresence{fail: true}, act: func(c *client) { c.subscribe("presence-a", `{"user_id":"7"}`) }},
		"presence, on signing in": {presence: &flakyPresence{fail: true}, act: func(c *client) { c.signin(`{"id":"u"}`) }},
		"broker, on signing in":   {broker: &flakyBroker{subscribe: true}, act: func(c *client) { c.signin(`{"id":"u"}`) }},
		"broker, on a client's event": {broker: &flakyBroker{publish: true}, act: func(c *client) {
			c.subscribe("private-a", "")
			c.take()
			c.send(`{"event":"client-x","channel":"private-a","data":1}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := nodeSettings{}
			if tc.broker != nil {
				s.broker = func(b proxy.Broker) proxy.Broker { tc.broker.Broker = b; return tc.broker }
			}
			if tc.presence != nil {
				s.presence = func(p proxy.Presence) proxy.Presence { tc.presence.Presence = p; return tc.presence }
			}
			n := run(t, s)
			c := n.dial()
			tc.act(c)
			if code, _ := c.closed(); code != protocol.CodeOverCapacity {
				t.Errorf("closed with %d, want %d", code, protocol.CodeOverCapacity)
			}
			if got := c.take(); len(got) != 0 {
				t.Errorf("got %q, want nothing", got)
			}
			c.conn.Close(0, "")
			n.tenant(testApp).each(func(ch *channel) { t.Errorf("channel %s is left over", ch.name) })
			if n.backendErrors.Load() == 0 {
				t.Error("the failure was not counted")
			}
		})
	}
}

func TestBackendFailureIsToldToTheServer(t *testing.T) {
	presence := &flakyPresence{fail: true}
	n := run(t, nodeSettings{
		broker:   func(b proxy.Broker) proxy.Broker { return &flakyBroker{Broker: b, publish: true} },
		presence: func(p proxy.Presence) proxy.Presence { presence.Presence = p; return presence },
	})
	ctx, app, topic := t.Context(), n.app.Load(), n.topic("presence-a")
	n.dial().subscribe("c", "")
	for what, err := range map[string]error{
		"Publish":       n.Publish(ctx, app, Publication{Channels: []protocol.ChannelName{"c"}, Name: "e"}),
		"TerminateUser": n.TerminateUser(ctx, app, "u"),
		"Users":         func() error { _, err := n.Users(ctx, topic); return err }(),
	} {
		if !errors.Is(err, errBackend) || !strings.HasPrefix(err.Error(), "engine: ") {
			t.Errorf("%s = %v, want one of %v", what, err, errBackend)
		}
	}
}

func TestSlowPresenceHoldsUpNoOtherChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		presence := &flakyPresence{hang: make(chan struct{})}
		n := run(t, nodeSettings{presence: func(p proxy.Presence) proxy.Presence { presence.Presence = p; return presence }})
		slow := n.dial()
		go slow.subscribe("presence-slow", `{"user_id":"7"}`)
		time.Sleep(time.Minute)
		quick := n.dial()
		quick.subscribe("presence-a", `{"user_id":"8"}`)
		quick.subscribe("c", "")
		n.publish("c", "e", "1")
		n.publish("presence-slow", "e", "1")
		synctest.Wait()
		if got := quick.take(); len(got) != 3 {
			t.Errorf("the others got %q, want two confirmations and an event", got)
		}
		if got := slow.take(); len(got) != 0 {
			t.Errorf("the slow one got %q before its confirmation", got)
		}
		close(presence.hang)
		synctest.Wait()
		if got := slow.take(); len(got) != 1 || !succeeded(got) {
			t.Errorf("then the slow one got %q, want its confirmation", got)
		}
	})
}
