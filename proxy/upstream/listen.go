package upstream

import (
	"context"
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

// listen waits until the tap hears a channel that a client is about to join.
// What it returns is to be called afterwards. On presence channels ghosts
// listen, who cannot be there before the member is.
func (b *bridge) listen(channel protocol.ChannelName) (joined func()) {
	joined = func() {}
	if k := channel.Kind(); k == protocol.Presence || k == protocol.ServerToUser || !b.shared(channel) {
		return joined
	}
	heard := b.tap.awaits(channel)
	if heard == nil {
		return joined
	}
	b.want(channel, true)
	select {
	case <-heard:
	case <-time.After(listenWithin):
		b.tap.givenUp(channel)
	}
	return func() {
		topic := proxy.Topic{App: b.id, Channel: channel}
		if state, err := b.relay.settings.Engine.Channel(context.Background(), topic); err == nil && !state.Occupied {
			b.want(channel, false) // it was refused
		}
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
