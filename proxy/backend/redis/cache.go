package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Last implements proxy.Broker's Cache: one round trip.
func (b *Broker) Last(ctx context.Context, t proxy.Topic, have proxy.Kept) (proxy.Kept, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var mine []byte
	if have.Event != nil {
		mine = appendOrdered(nil, have.Event)
	}
	answer, err := lastScript.Run(ctx, b.client, []string{b.keys.kept(t)}, mine, max(have.Left.Milliseconds(), 1)).Slice()
	if err != nil {
		return proxy.Kept{}, fmt.Errorf("redis: what %s keeps: %w", t, err)
	}
	if len(answer) != 2 {
		return proxy.Kept{}, nil
	}
	frame, _ := answer[0].(string)
	left, _ := answer[1].(int64)
	ev, _, err := parseFrame(frame)
	if err == nil && (ev.Topic != t || !ev.Keeps()) {
		err = fmt.Errorf("%w: not of this channel", ErrFrame)
	}
	if err != nil {
		b.refuse(err)
		return proxy.Kept{}, nil // as good as nothing, and soon replaced
	}
	return proxy.Kept{Event: ev, Left: min(time.Duration(left)*time.Millisecond, proxy.CacheFor)}, nil
}
