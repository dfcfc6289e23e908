package engine

import (
	"context"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// join subscribes c to a channel, as m if it is a presence channel, and
// confirms it. Whatever is published from then on reaches the client after
// the confirmation.
func (e *Engine) join(app *proxy.App, c *Conn, name protocol.ChannelName, m *protocol.Member) *protocol.Error {
	ch := c.tenant.acquire(name)
	err := e.joinHeld(app, c, ch, m)
	if err != nil {
		ch.release()
	}
	return err
}

func (e *Engine) joinHeld(app *proxy.App, c *Conn, ch *channel, m *protocol.Member) *protocol.Error {
	ch.turn.Lock()
	defer ch.turn.Unlock()
	if err := e.listen(ch); err != nil {
		return err
	}
	sub := &subscription{member: fanout.Member{Outlet: c.out}, channel: ch}
	success := protocol.AppendSubscriptionSucceeded(nil, ch.name)
	var members []protocol.Member
	arrived := false
	if m != nil {
		var err *protocol.Error
		if members, arrived, err = e.enter(app, c, ch, m); err != nil {
			e.unlisten(ch)
			return err
		}
		sub.userID = m.UserID
		success = protocol.AppendPresenceSucceeded(nil, ch.name, members)
	}
	// Before the client can know that it is subscribed: what it then publishes
	// with its socket id is not for itself. Whoever ends the subscription waits
	// for the channel's turn.
	c.mu.Lock()
	c.joined.add(sub)
	c.mu.Unlock()
	here, miss := e.enroll(c, sub, success, members)
	c.tenant.subscriptions.Add(1)
	if here == 1 && !ch.hidden() {
		ch.tenant.channels.Add(1)
	}
	count, known := e.tally(ch, here, here-1)
	e.recordJoin(c, sub, count, arrived, miss)
	if known {
		e.countChanged(app, ch, count.After)
	}
	return nil
}

// listen asks the broker for the channel's events. The caller has its turn.
func (e *Engine) listen(ch *channel) *protocol.Error {
	if ch.live {
		return nil
	}
	if err := e.broker.Subscribe(context.Background(), ch.topic()); err != nil {
		e.failed(err, ch.topic(), "subscribe at the broker")
		return protocol.ErrUnavailable
	}
	ch.live = true
	if !ch.name.Cached() {
		return nil
	}
	err := e.followCache(ch)
	if err != nil {
		e.unlisten(ch)
	}
	return err
}

// unlisten ends what listen began once nobody is on the channel.
func (e *Engine) unlisten(ch *channel) {
	if !ch.live || ch.group.Len() > 0 || ch.attended() {
		return
	}
	ch.live = false
	if ch.name.Cached() {
		ch.forgetCache()
	}
	if err := e.broker.Unsubscribe(context.Background(), ch.topic()); err != nil {
		e.failed(err, ch.topic(), "unsubscribe at the broker")
	}
}

// enroll adds the subscription to the channel's group. The confirmation, and
// on a cache channel what is kept, are sent before anything else. members are
// the answer of Presence, of presence channels only.
func (e *Engine) enroll(c *Conn, sub *subscription, success []byte, members []protocol.Member) (count int, miss bool) {
	ch := sub.channel
	if ch.rare == nil {
		return ch.group.Join(&sub.member, func() { c.send(success) }), false
	}
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	if members != nil {
		e.reconcile(ch, members)
		ch.rare.roster.known[sub.userID]++
		defer e.catchUp(ch)
	}
	if !ch.name.Cached() {
		return ch.group.Join(&sub.member, func() { c.send(success) }), false
	}
	kept := ch.rare.cache.fresh(time.Now())
	count = ch.group.Join(&sub.member, func() {
		c.send(success)
		if kept == nil {
			c.send(protocol.AppendCacheMiss(nil, ch.name))
		} else {
			c.send(protocol.AppendEvent(nil, ch.name, kept.Name, kept.Data, ""))
		}
	})
	return count, kept == nil
}

// leave ends a subscription.
func (e *Engine) leave(c *Conn, sub *subscription) {
	c.mu.Lock()
	c.joined.remove(sub)
	c.mu.Unlock()
	c.tenant.subscriptions.Add(-1)
	defer sub.channel.release()
	e.leaveHeld(c, sub)
}

func (e *Engine) leaveHeld(c *Conn, sub *subscription) {
	ch := sub.channel
	ch.turn.Lock()
	defer ch.turn.Unlock()
	here := ch.group.Leave(&sub.member)
	if here == 0 && !ch.hidden() {
		ch.tenant.channels.Add(-1)
	}
	gone := ch.name.Kind() == protocol.Presence && e.exit(c, sub)
	e.unlisten(ch)
	count, known := e.tally(ch, here, here+1)
	e.recordLeave(c, sub, count, gone)
	if app, ok := e.apps(ch.tenant.id); ok && known {
		e.countChanged(app, ch, count.After)
	}
}

// recordJoin offers what a join means to watchers. The caller has the
// channel's turn, which keeps the channel's records in order.
func (e *Engine) recordJoin(c *Conn, sub *subscription, count proxy.Count, arrived, miss bool) {
	ch := sub.channel
	r := proxy.Record{Topic: ch.topic(), Socket: c.id, UserID: sub.userID, Count: count.After}
	if count.Before == 0 && count.After > 0 && !ch.hidden() {
		e.offer(proxy.Record{Kind: proxy.KindOccupied, Topic: r.Topic})
	}
	r.Kind = proxy.KindSubscribed
	e.offer(r)
	if arrived {
		e.offer(proxy.Record{Kind: proxy.KindMemberAdded, Topic: r.Topic, UserID: sub.userID})
	}
	if miss {
		e.offer(proxy.Record{Kind: proxy.KindCacheMiss, Topic: r.Topic, Socket: c.id})
	}
}

func (e *Engine) recordLeave(c *Conn, sub *subscription, count proxy.Count, gone bool) {
	ch := sub.channel
	r := proxy.Record{Topic: ch.topic(), Socket: c.id, UserID: sub.userID, Count: count.After}
	r.Kind = proxy.KindUnsubscribed
	e.offer(r)
	if gone {
		e.offer(proxy.Record{Kind: proxy.KindMemberRemoved, Topic: r.Topic, UserID: sub.userID})
	}
	if count.Before > 0 && count.After == 0 && !ch.hidden() {
		e.offer(proxy.Record{Kind: proxy.KindVacated, Topic: r.Topic})
	}
}
