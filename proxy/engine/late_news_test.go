package engine

import (
	"context"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/memory"
	"github.com/offramp/offramp/proxy/protocol"
)

// hookedPresence calls back between an answer and its return: where, with
// several nodes, anything may happen.
type hookedPresence struct {
	proxy.Presence
	joined, left func()
}

func (p *hookedPresence) Join(ctx context.Context, t proxy.Topic, m proxy.Member, id protocol.SocketID, limit int) ([]proxy.Member, bool, error) {
	members, first, err := p.Presence.Join(ctx, t, m, id, limit)
	if hook := p.joined; hook != nil {
		p.joined = nil
		hook()
	}
	return members, first, err
}

func (p *hookedPresence) Leave(ctx context.Context, t proxy.Topic, userID string, id protocol.SocketID) (bool, error) {
	last, err := p.Presence.Leave(ctx, t, userID, id)
	if hook := p.left; hook != nil {
		p.left = nil
		hook()
	}
	return last, err
}

// elsewhere is a node that is not run: only what it does to the others is.
type elsewhere struct {
	t        *testing.T
	broker   *busNode
	presence proxy.Presence
}

func (o elsewhere) joins(topic proxy.Topic, user, news string) {
	if _, _, err := o.presence.Join(context.Background(), topic, proxy.Member{UserID: user}, "9.9", 100); err != nil {
		o.t.Error(err)
	}
	o.tell(topic, user, news)
}

func (o elsewhere) leaves(topic proxy.Topic, user, news string) {
	if _, err := o.presence.Leave(context.Background(), topic, user, "9.9"); err != nil {
		o.t.Error(err)
	}
	o.tell(topic, user, news)
}

func (o elsewhere) tell(topic proxy.Topic, user, news string) {
	ev := &proxy.Event{ID: proxy.EventID{Node: 99, Seq: 1}, Topic: topic, Name: news, UserID: user, Publisher: proxy.ByEngine}
	if err := o.broker.Publish(context.Background(), ev); err != nil {
		o.t.Error(err)
	}
}

// around returns two nodes with a presence to hook into on the second, and a
// third node that is elsewhere.
func around(t *testing.T) (a, b *node, hooks *hookedPresence, other elsewhere) {
	bus, truth := &bus{}, memory.NewPresence()
	hooks = &hookedPresence{Presence: truth}
	join := func(id uint64, presence proxy.Presence) *node {
		broker := bus.join()
		return run(t, nodeSettings{
			node:     id,
			broker:   func(proxy.Broker) proxy.Broker { return broker },
			presence: func(proxy.Presence) proxy.Presence { return presence },
		})
	}
	a, b = join(1, truth), join(2, hooks)
	return a, b, hooks, elsewhere{t, bus.join(), truth}
}

// sees waits until the client's view of presence-a is that.
func (c *client) sees(v *view, want ...string) {
	c.n.t.Helper()
	eventually(c.n.t, "the view is as it should be", func() bool {
		for _, text := range c.take() {
			v.apply(c.n.t.(*testing.T), text)
		}
		for _, id := range want {
			if !v.members[id] {
				return false
			}
		}
		return len(v.members) == len(want)
	})
}

// A member who goes while the answer to a join, which still has it, is on its
// way back: news must not overtake the answer.
func TestNewsWaitForTheAnswerOfPresence(t *testing.T) {
	_, b, hooks, other := around(t)
	topic := b.topic("presence-a")
	first, second := b.dial(), b.dial()
	firstView, secondView := &view{me: "1"}, &view{me: "2"}
	first.subscribe("presence-a", `{"user_id":"1"}`)
	other.joins(topic, "x", newsMemberAdded)
	first.sees(firstView, "1", "x")
	hooks.joined = func() {
		other.leaves(topic, "x", newsMemberRemoved)
		eventually(t, "the news have come", func() bool { return len(b.broker.(*busNode).events) == 0 })
		other.tell(topic, "nobody", newsMemberRemoved) // and have been dealt with
		eventually(t, "the news have come", func() bool { return len(b.broker.(*busNode).events) == 0 })
	}
	second.subscribe("presence-a", `{"user_id":"2"}`)
	first.sees(firstView, "1", "2")
	second.sees(secondView, "1", "2")
}

// A user who is back on another node before the last socket's node has told
// of the end.
func TestReturnOvertakesTheNewsOfTheEnd(t *testing.T) {
	a, b, hooks, other := around(t)
	topic := a.topic("presence-a")
	watcher, leaver := a.dial(), b.dial()
	v := &view{me: "1"}
	watcher.subscribe("presence-a", `{"user_id":"1"}`)
	leaver.subscribe("presence-a", `{"user_id":"x"}`)
	watcher.sees(v, "1", "x")
	hooks.left = func() { other.joins(topic, "x", newsMemberAdded) }
	leaver.conn.Close(1000, "")
	other.joins(topic, "last", newsMemberAdded) // behind all the others
	watcher.sees(v, "1", "x", "last")
}

func TestSignInOvertakesTheNewsOfTheEnd(t *testing.T) {
	a, b, hooks, other := around(t)
	watcher, leaver := a.dial(), b.dial()
	watcher.signin(`{"id":"w","watchlist":["x"]}`)
	leaver.signin(`{"id":"x"}`)
	eventually(t, "x is online", func() bool { return watcher.count() == 3 })
	hooks.left = func() { other.joins(a.topic("#user-x"), "x", newsOnline) }
	leaver.conn.Close(1000, "")
	eventually(t, "the last news is that x is online", func() bool {
		watcher.mu.Lock()
		defer watcher.mu.Unlock()
		last := watcher.frames[len(watcher.frames)-1]
		return len(watcher.frames) > 4 && last == string(protocol.AppendWatchlist(nil, []string{"x"}, nil))
	})
}
