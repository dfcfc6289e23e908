package redis

import (
	"context"
	_ "embed" // the script
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
)

//go:embed scripts/upstream.lua
var upstreamText string

var upstreamScript = redis.NewScript(upstreamText)

// upstreamOrder is how far apart two webhooks of the upstream can overtake
// each other: it tries for five minutes.
const upstreamOrder = 10 * time.Minute

// Upstream notes what the upstream has said, at a time by its own clock: that
// a channel is occupied or not, or that a member is there or not. As long as
// it is there, Departed reports that receivers are not to be told. fresh is
// false if it has said something newer already, to whichever node.
func (w *Told) Upstream(ctx context.Context, t proxy.Topic, member bool, userID string, there bool, said time.Time) (fresh bool, err error) {
	return w.upstream(ctx, t, toldEntry(t, member, userID), there, said.UnixMilli(), 0)
}

// UpstreamSeen is Upstream for what the upstream answered when it was asked,
// that long ago. fresh is false if it has said something since.
func (w *Told) UpstreamSeen(ctx context.Context, t proxy.Topic, member bool, userID string, there bool, ago time.Duration) (fresh bool, err error) {
	return w.upstream(ctx, t, toldEntry(t, member, userID), there, "", ago)
}

func (w *Told) upstream(ctx context.Context, t proxy.Topic, entry string, there bool, said any, ago time.Duration) (fresh bool, err error) {
	names := []string{w.keys.upstream(t), w.keys.upstreamSaid(t, entry)}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	n, err := upstreamScript.Run(ctx, w.client, names, entry, flag(there), said, upstreamOrder.Milliseconds(), ago.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("redis: note what the upstream says of %s: %w", t, err)
	}
	return n == 1, nil
}

// AtUpstream shows what is there of an app by the word of the upstream.
func (w *Told) AtUpstream(ctx context.Context, app string, show func(t proxy.Topic, member bool, userID string)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pipe := w.client.Pipeline()
	var parts [buckets]*redis.MapStringStringCmd
	for i := range parts {
		parts[i] = pipe.HGetAll(ctx, w.keys.bucket(app, i)+"v")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("redis: what is at the upstream of app %s: %w", app, err)
	}
	for _, part := range parts {
		for entry := range part.Val() {
			show(cutTold(app, entry))
		}
	}
	return nil
}

// upstream is the key of what the upstream says is there of a bucket: a hash
// of entries as in told. The script depart looks there, too.
func (k keys) upstream(t proxy.Topic) string { return k.bucketOf(t) + "v" }

// upstreamSaid is the key of when the upstream last spoke of an entry.
func (k keys) upstreamSaid(t proxy.Topic, entry string) string { return k.bucketOf(t) + "v:" + entry }
