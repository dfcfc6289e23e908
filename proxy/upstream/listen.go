package upstream

import (
	"context"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// A client that is confirmed on a channel may rely on hearing all of it, from
// both sides. So the first one here waits until the tap is confirmed at the
// vendor, and has told what a cache channel keeps.

// listenWithin bounds that wait. Whoever waited in vain was the last to, until
// the vendor confirms something again: a vendor that is slow or down does not
// hold up each channel's first client anew.
const listenWithin = time.Second

// tell notes that a channel is heard, and tells those who wait for it.
func (t *tap) tell(f serverFrame) {
	heard := f.event == "pusher_internal:subscription_succeeded"
	if f.channel.Cached() {
		heard = f.kept || f.event == "pusher:cache_miss"
	}
	if !heard {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hears[f.channel], t.late = true, false
	if waiting := t.told[f.channel]; waiting != nil {
		close(waiting)
		delete(t.told, f.channel)
	}
}

// awaits returns a channel that is closed when the tap hears a channel; nil
// when it does already, or when there is no use in waiting.
func (t *tap) awaits(channel protocol.ChannelName) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hears[channel] || t.late {
		return nil
	}
	if t.told[channel] == nil {
		t.told[channel] = make(chan struct{})
	}
	return t.told[channel]
}

// givenUp notes that somebody has waited for a channel in vain.
func (t *tap) givenUp(channel protocol.ChannelName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if waiting := t.told[channel]; waiting != nil {
		t.late = true
		close(waiting)
		delete(t.told, channel)
	}
}

// listen waits until a channel is heard that a client is about to join with
// sub. What it returns is to be called afterwards.
func (b *bridge) listen(sub protocol.Subscribe, socket protocol.SocketID) (joined func()) {
	joined = func() {}
	switch k := sub.Channel.Kind(); {
	case k == protocol.ServerToUser || !b.shared(sub.Channel):
		return joined
	case k == protocol.Presence:
		return b.listenAs(sub, socket)
	}
	heard := b.tap.awaits(sub.Channel)
	if heard == nil {
		return joined
	}
	b.want(sub.Channel, true)
	select {
	case <-heard:
	case <-time.After(listenWithin):
		b.tap.givenUp(sub.Channel)
	}
	return func() {
		topic := proxy.Topic{App: b.id, Channel: sub.Channel}
		if state, err := b.relay.settings.Engine.Channel(context.Background(), topic); err == nil && !state.Occupied {
			b.want(sub.Channel, false) // it was refused
		}
	}
}

// arrival is a user who is about to join a presence channel here.
type arrival struct {
	channel protocol.ChannelName
	socket  protocol.SocketID
	user    string
	data    string // channel_data
	eye     chan *ghost
}

// listenAs waits until somebody hears a presence channel: the ghost of the
// first user to join, who for that is shown at the vendor before.
func (b *bridge) listenAs(sub protocol.Subscribe, socket protocol.SocketID) (joined func()) {
	joined = func() {}
	if sub.ChannelData == nil || b.people.eye(sub.Channel) != nil || b.people.late.Load() {
		return joined
	}
	app, ok := b.app()
	if !ok {
		return joined
	}
	m, err := protocol.DecodeMember(sub.Channel, *sub.ChannelData, app.Limits.PresenceUserInfoBytes)
	if err != nil {
		return joined // the engine says why
	}
	a := &arrival{sub.Channel, socket, m.UserID, *sub.ChannelData, make(chan *ghost, 1)}
	late := time.After(listenWithin)
	select {
	case b.people.coming <- a:
	case <-late:
		return joined
	}
	select {
	case eye := <-a.eye:
		b.people.hear(eye, a.channel, late)
	case <-late:
	}
	return func() { b.people.came(a) }
}

// hear waits until a ghost hears a channel.
func (p *people) hear(eye *ghost, channel protocol.ChannelName, late <-chan time.Time) {
	if eye == nil {
		return
	}
	heard := eye.tap.awaits(channel)
	if heard == nil {
		return
	}
	select {
	case <-heard:
	case <-late:
		eye.tap.givenUp(channel)
		p.late.Store(true)
	}
}

// expect takes somebody for a member who is about to be one.
func (p *people) expect(ctx context.Context, a *arrival) {
	topic := proxy.Topic{App: p.bridge.id, Channel: a.channel}
	p.moved(proxy.Record{Kind: proxy.KindSubscribed, Topic: topic, Socket: a.socket, UserID: a.user})
	p.rooms[a.channel].data[a.user] = a.data
	p.settle(ctx, a.channel)
	a.eye <- p.eye(a.channel)
}

// came notes that somebody who was expected is a member, or was refused.
func (p *people) came(a *arrival) {
	topic := proxy.Topic{App: p.bridge.id, Channel: a.channel}
	members, err := p.bridge.relay.settings.Engine.Members(context.Background(), topic)
	if err == nil && !slices.ContainsFunc(members, func(m protocol.Member) bool { return m.UserID == a.user }) {
		p.take(proxy.Record{Kind: proxy.KindUnsubscribed, Topic: topic, Socket: a.socket, UserID: a.user})
	}
}

// awaitBridge returns an app's bridge. After a move a client may be here
// before the bridge is open; nil: the app has none.
func (r *Relay) awaitBridge(app *proxy.App) *bridge {
	late := time.NewTimer(listenWithin)
	defer late.Stop()
	for {
		r.mu.Lock()
		opening := r.opening
		r.mu.Unlock()
		b := r.bridgeOf(app.ID)
		if b != nil || r.settings.Feed == nil || !r.bridged(app) || r.stopped(app.ID) {
			return b
		}
		select {
		case <-opening:
		case <-late.C:
			return nil
		}
	}
}

// opened tells those who wait for a bridge.
func (r *Relay) opened() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.opening)
	r.opening = make(chan struct{})
}
