package memory

import (
	"context"
	"time"

	"github.com/offramp/offramp/proxy"
)

var _ proxy.Cache = (*Broker)(nil)

// sweepEvery is how often events are forgotten that channels have kept long
// enough.
const sweepEvery = time.Minute

type kept struct {
	event *proxy.Event
	until time.Time
}

// keep gives an event its order and stores it. The caller has mu.
func (l *lane) keep(ev *proxy.Event) {
	l.order++
	ev.Order = l.order
	if l.kept == nil {
		l.kept = make(map[proxy.Topic]kept)
	}
	l.kept[ev.Topic] = kept{ev, time.Now().Add(proxy.CacheFor)}
}

// Last implements proxy.Cache. Nothing is ever lost here, so what the caller
// has does not matter.
func (b *Broker) Last(_ context.Context, t proxy.Topic, _ proxy.Kept) (proxy.Kept, error) {
	l := b.lane(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.kept[t]
	if left := time.Until(k.until); ok && left > 0 {
		return proxy.Kept{Event: k.event, Left: left}, nil
	}
	return proxy.Kept{}, nil
}

func (b *Broker) sweep() {
	now := time.Now()
	for i := range b.lanes {
		l := &b.lanes[i]
		l.mu.Lock()
		for t, k := range l.kept {
			if !k.until.After(now) {
				delete(l.kept, t)
			}
		}
		l.mu.Unlock()
	}
}
