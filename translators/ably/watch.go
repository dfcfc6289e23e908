package ably

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ably/ably-go/ably"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// watch shows one channel to an observer. The library calls it from several
// goroutines.
type watch struct {
	app      string
	link     *link
	observer translators.Observer

	mu       sync.Mutex
	attached bool // has been
	detached bool // has been told so
}

// Subscribe implements translators.Subscriber.
func (s *session) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	l, err := s.pool.hold(ctx, channel)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", channel, err)
	}
	ch := l.client.Channels.Get(ablyName(channel))
	w := &watch{app: s.app, link: l, observer: o, attached: ch.State() == ably.ChannelStateAttached}
	off := ch.OnAll(w.changed)
	unsubscribe, err := ch.SubscribeAll(ctx, w.deliver)
	if err != nil {
		off()
		s.pool.release(channel)
		return nil, fmt.Errorf("subscribe to %s: %s", ch.Name, scrub(err.Error()))
	}
	return sync.OnceFunc(func() {
		unsubscribe()
		off()
		s.pool.release(channel)
	}), nil
}

func (w *watch) deliver(m *ably.Message) {
	e := decode(w.app, m)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observer.Deliver(e)
}

// changed follows the channel's state. One that is attached anew without
// having been resumed has a hole.
func (w *watch) changed(change ably.ChannelStateChange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.attached { // the first attachment, or its failure, is Subscribe's to tell
		w.attached = change.Current == ably.ChannelStateAttached
		return
	}
	now := time.Now()
	detail := ""
	if change.Reason != nil {
		detail = scrub(change.Reason.Error())
	}
	switch change.Current {
	case ably.ChannelStateAttached:
		switch {
		case w.detached:
			w.detached = false
			w.observer.State(translators.ChannelState{State: translators.StateAttached})
		case !change.Resumed:
			from := w.link.lostAt()
			if from.IsZero() {
				from = now
			}
			w.observer.State(translators.ChannelState{State: translators.StateGap, From: from, To: now, Detail: "Ably could not resume: " + detail})
		}
	case ably.ChannelStateSuspended, ably.ChannelStateDetached:
		if !w.detached {
			w.detached = true
			w.observer.State(translators.ChannelState{State: translators.StateDetached, From: now, Detail: detail})
		}
	case ably.ChannelStateFailed:
		w.observer.State(translators.ChannelState{State: translators.StateError, Detail: detail})
	}
}
