package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Set implements proxy.Occupancy: one round trip. While Redis is away it is
// put off, and what comes of it told as a change.
func (l *Ledger) Set(ctx context.Context, t proxy.Topic, here int) (proxy.Count, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	l.epoch.RLock()
	defer l.epoch.RUnlock()
	a := l.open(t)
	defer l.close(t, a)
	fewer := here < a.count
	if a.count = here; fewer && a.told == 0 {
		// What is left of a lease that was lost: the others have told of its end.
		return proxy.Count{}, fmt.Errorf("count of %s: %w", t, ErrAway)
	}
	if !l.exact {
		return proxy.Count{}, fmt.Errorf("count of %s: %w", t, ErrAway)
	}
	if err := l.claim(ctx, t.App); err != nil {
		return proxy.Count{}, fmt.Errorf("redis: count of %s: %w", t, err)
	}
	count, err := l.tell(ctx, t, a)
	if err != nil {
		return proxy.Count{}, fmt.Errorf("redis: count of %s: %w", t, err)
	}
	return count, nil
}

// tell brings Redis up to an account's count.
func (l *Ledger) tell(ctx context.Context, t proxy.Topic, a *account) (proxy.Count, error) {
	n, err := countScript.Run(ctx, l.client, l.keys.counts(l.lease, t), string(t.Channel), a.count).Int64Slice()
	if err == nil && len(n) != 2 {
		err = fmt.Errorf("answer of %d numbers", len(n))
	}
	if err != nil {
		a.told = max(a.told, a.count, 1) // Redis may have it
		return proxy.Count{}, l.judge(0, err)
	}
	if err := l.judge(int(n[0]), nil); err != nil {
		return proxy.Count{}, err
	}
	a.told = a.count
	count := proxy.Count{Before: int(n[0]), After: int(n[1])}
	if (count.Before > 0) != (count.After > 0) {
		l.owe(t, false, "", count.After <= 0)
	}
	return count, nil
}

// Count implements proxy.Occupancy: one round trip.
func (l *Ledger) Count(ctx context.Context, t proxy.Topic) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	l.epoch.RLock()
	defer l.epoch.RUnlock()
	if !l.exact {
		return 0, fmt.Errorf("count of %s: %w", t, ErrAway)
	}
	n, err := l.client.HGet(ctx, l.keys.counts("", t)[2], string(t.Channel)).Int()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("redis: count of %s: %w", t, err)
	}
	return n, nil
}

// Channels implements proxy.Occupancy: one round trip.
func (l *Ledger) Channels(ctx context.Context, app string) (map[protocol.ChannelName]int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	l.epoch.RLock()
	defer l.epoch.RUnlock()
	if !l.exact {
		return nil, fmt.Errorf("channels of app %s: %w", app, ErrAway)
	}
	pipe := l.client.Pipeline()
	var parts [buckets]*redis.MapStringStringCmd
	for i := range parts {
		parts[i] = pipe.HGetAll(ctx, l.keys.bucket(app, i)+"t")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("redis: channels of app %s: %w", app, err)
	}
	channels := make(map[protocol.ChannelName]int)
	for _, part := range parts {
		for name, count := range part.Val() {
			n, err := strconv.Atoi(count)
			if err != nil {
				return nil, fmt.Errorf("redis: count of %s: %w", name, err)
			}
			channels[protocol.ChannelName(name)] = n
		}
	}
	return channels, nil
}
