package host

import (
	"context"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// share publishes what was taken, in its order, as far as this node owns its
// channel, until ctx ends.
func (in *inlet) share(ctx context.Context) {
	ticker := time.NewTicker(custodyLook)
	defer ticker.Stop()
	for {
		select {
		case ev := <-in.queue:
			if why := in.custody.arrive(ev, time.Now()); why != "" {
				in.withhold(why, "")
			} else {
				in.publishOwned(ctx, ev.Topic.Channel)
			}
			in.tellMissed()
		case <-ticker.C:
			in.review(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// review looks at what was left to other nodes, and gives up what this one
// cannot speak for.
func (in *inlet) review(ctx context.Context) {
	left, release, dropped := in.custody.review(in.link.book.sees, time.Now())
	for range dropped {
		in.withhold(withheldNode, "")
	}
	for _, name := range release {
		if err := in.link.settings.Owners.Release(ctx, in.topic(name), in.link.binding.Backend.Name); err != nil {
			in.link.log.Warn().Err(err).Msg("channel of a bridge not given up yet")
			continue
		}
		in.custody.released(name)
	}
	for _, name := range left {
		in.publishOwned(ctx, name)
	}
}

// publishOwned publishes what is left on a channel, if this node owns it or
// becomes its owner now.
func (in *inlet) publishOwned(ctx context.Context, name protocol.ChannelName) {
	owners := in.link.settings.Owners
	term := owners.Term()
	if ask, inherit := in.custody.asks(name, term, time.Now()); ask {
		claim, err := owners.Claim(ctx, in.topic(name), in.link.binding.Backend.Name, inherit)
		if err != nil {
			in.link.log.Debug().Err(err).Msg("channel of a bridge not claimed")
		}
		in.custody.answer(name, claim, term, time.Now())
	}
	for {
		ev := in.custody.next(name, owners.Term(), time.Now())
		if ev == nil {
			return
		}
		in.done(ev, in.link.settings.Publish(ctx, ev))
	}
}

func (in *inlet) topic(name protocol.ChannelName) proxy.Topic {
	return proxy.Topic{App: in.link.binding.App, Channel: name}
}

// attend keeps to who is on a channel of this node, and to what other nodes
// have published of the backend's.
func (in *inlet) attend(r proxy.Record, now time.Time) {
	name := r.Topic.Channel
	switch r.Kind {
	case proxy.KindSubscribed:
		if in.custody.count(name, 1) == 1 && in.link.takes(name) {
			in.link.book.occupy(name, true, now)
		}
	case proxy.KindUnsubscribed:
		if in.custody.count(name, -1) == 0 {
			in.link.book.occupy(name, false, now)
		}
	case proxy.KindDelivered:
		ev := r.Event
		if ev == nil || ev.Origin != in.link.leg || ev.ID.Node == in.link.settings.Node || !in.link.book.sees(name) {
			return
		}
		if in.custody.published(ev, now) {
			in.withhold(withheldNode, "")
		}
	}
}
