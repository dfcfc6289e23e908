package upstream

import (
	"bytes"
	"context"

	"github.com/offramp/offramp/proxy"
)

// What a cache channel keeps moves with its clients. The vendor has every
// event, those from here among them, so it knows the latest; a tap is told it
// when it subscribes. Here it is news only if the engine does not have it.

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

// stale reports whether the engine has what the vendor keeps, or something
// that is still on its way there.
func (b *bridge) stale(ctx context.Context, f serverFrame, data []byte) bool {
	state, err := b.relay.settings.Engine.Channel(ctx, proxy.Topic{App: b.id, Channel: f.channel})
	if err != nil || state.Cache == nil {
		return false
	}
	return bytes.Equal(state.Cache.Data, data) || b.relay.settings.Feed.unsettled(b.id) > 0
}
