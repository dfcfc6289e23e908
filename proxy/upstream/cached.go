package upstream

import (
	"bytes"
	"context"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// What a cache channel keeps moves with its clients. The vendor has every
// event, those from here among them, so it knows the latest; a tap is told it
// when it subscribes. Here it is news only if the engine does not have it.

// learnWithin bounds how long a client waits for what the vendor keeps of a
// channel on which nobody was here before.
const learnWithin = time.Second

// keeps reports whether a frame is the event that a cache channel keeps: the
// first after its confirmation. Otherwise the vendor says that there is none.
func (t *tap) keeps(f serverFrame) bool {
	if !f.channel.Cached() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.event == "pusher_internal:subscription_succeeded" {
		t.asks[f.channel] = true
		return false
	}
	kept := t.asks[f.channel] && !f.internal()
	if kept || f.event == "pusher:cache_miss" {
		delete(t.asks, f.channel)
	}
	return kept
}

// tell tells those who wait that a cache channel's kept event is known here.
func (t *tap) tell(f serverFrame) {
	if !f.kept && f.event != "pusher:cache_miss" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if waiting := t.told[f.channel]; waiting != nil {
		close(waiting)
		delete(t.told, f.channel)
	}
}

// awaits returns a channel that is closed when what a cache channel keeps is
// known here.
func (t *tap) awaits(channel protocol.ChannelName) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told[channel] == nil {
		t.told[channel] = make(chan struct{})
	}
	return t.told[channel]
}

// stale reports whether the engine has what the vendor keeps, or something
// that is still on its way there.
func (b *bridge) stale(ctx context.Context, f serverFrame, data []byte) bool {
	state, err := b.relay.settings.Engine.Channel(ctx, proxy.Topic{App: b.id, Channel: f.channel})
	if err != nil || state.Cache == nil {
		return false
	}
	return bytes.Equal(state.Cache.Data, data) || b.relay.settings.Feed.unsettled(b.id) > 0
}

// learn waits until the engine knows what the vendor keeps of a cache channel
// that a client is about to join. What it returns is to be called afterwards.
func (b *bridge) learn(channel protocol.ChannelName) (joined func()) {
	if k := channel.Kind(); !channel.Cached() || k == protocol.Presence || k == protocol.ServerToUser || !b.shared(channel) {
		return func() {}
	}
	topic := proxy.Topic{App: b.id, Channel: channel}
	state, err := b.relay.settings.Engine.Channel(context.Background(), topic)
	if err != nil || state.Occupied || state.Cache != nil {
		return func() {}
	}
	told := b.tap.awaits(channel)
	b.want(channel, true)
	select {
	case <-told:
	case <-time.After(learnWithin):
	}
	return func() {
		if state, err := b.relay.settings.Engine.Channel(context.Background(), topic); err == nil && !state.Occupied {
			b.want(channel, false) // it was refused
		}
	}
}
