package redis

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
)

// retell tells Redis everything under a new lease. The old one keeps what has
// gone meanwhile, so that finish finds out what was the last of its kind.
func (k *keeper) retell(ctx context.Context) {
	var changes []proxy.Change
	err := k.retellAll(ctx, func(c proxy.Change) { changes = append(changes, c) })
	k.announce(ctx, changes, nil)
	if err != nil {
		k.log.Warn().Err(err).Msg("redis was not told everything yet")
	}
}

func (k *keeper) retellAll(ctx context.Context, back func(proxy.Change)) error {
	k.epoch.Lock()
	defer k.epoch.Unlock()
	old := k.lease
	if old != "" {
		if _, _, err := k.renew(ctx, old, true); err != nil { // the others reap it if this node dies now
			return err
		}
		k.term.Store(nil) // what was owned under it may be forgotten
		k.stale = append(k.stale, old)
	}
	if err := k.change(ctx); err != nil {
		return err
	}
	if old == "" { // a new node has nothing that others could wait for
		k.told, k.exact, k.steady = true, true, time.Now()
		k.log.Info().Str("lease", k.lease).Msg("joined the other nodes at redis")
		return nil
	}
	for part := range slices.Chunk(k.all(), 256) {
		if err := k.retellTopics(ctx, old, part, back); err != nil {
			return err
		}
	}
	if k.forgot {
		if err := k.rememberDepartures(ctx); err != nil {
			return err
		}
	}
	k.told, k.forgot, k.steady = true, false, time.Now()
	return nil
}

// retellTopics tells of some channels in one round trip.
func (k *keeper) retellTopics(ctx context.Context, old string, topics []proxy.Topic, back func(proxy.Change)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*timeout)
	defer cancel()
	pipe := k.client.Pipeline()
	var told []retold
	for _, t := range topics {
		for _, lease := range []string{old, k.lease} {
			pipe.SAdd(ctx, k.keys.apps(lease), t.App)
		}
		told = append(told, k.retellTopic(ctx, pipe, old, t)...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("redis: tell again: %w", err)
	}
	for _, r := range told {
		if n, err := r.joined.Int(); err == nil && n == 1 && !r.left {
			back(proxy.Change{Kind: proxy.MemberBack, Topic: r.topic, Member: r.member})
		}
	}
	for _, t := range topics {
		a := k.open(t)
		for s := range a.left {
			delete(a.sockets, s)
		}
		clear(a.left)
		if a.told > 0 {
			a.told = a.count
		}
		k.close(t, a)
	}
	return nil
}

// retold is a socket that Redis is told of again.
type retold struct {
	topic  proxy.Topic
	member proxy.Member
	left   bool
	joined *redis.Cmd
}

func (k *keeper) retellTopic(ctx context.Context, pipe redis.Pipeliner, old string, t proxy.Topic) []retold {
	a := k.open(t)
	defer k.close(t, a)
	list := make([]retold, 0, len(a.sockets))
	for s, m := range a.sockets {
		lease := k.lease
		if a.left[s] {
			lease = old
		}
		list = append(list, retold{t, *m, a.left[s], k.evalJoin(ctx, pipe, lease, t, s, *m, 0)})
		k.remember(ctx, pipe, t, true, s.user)
	}
	switch {
	case a.told > 0 && a.count > 0:
		countScript.EvalSha(ctx, pipe, k.keys.counts(k.lease, t), string(t.Channel), a.count)
	case a.told > 0:
		countScript.EvalSha(ctx, pipe, k.keys.counts(old, t), string(t.Channel), a.told)
	}
	if a.told > 0 {
		k.remember(ctx, pipe, t, false, "")
	}
	return list
}

// finish makes up for what had to be put off, once the other nodes have told
// what they have.
func (k *keeper) finish(ctx context.Context) {
	var changes []proxy.Change
	note := func(c proxy.Change) { changes = append(changes, c) }
	err := k.makeUp(ctx, note)
	if err == nil {
		err = k.receivers.askAgain(ctx, note)
	}
	returned := k.settings.Returned
	if err != nil {
		returned = nil
	}
	k.announce(ctx, changes, returned)
	if err != nil {
		k.log.Warn().Err(err).Msg("what was put off while redis was away cannot be made up for yet")
		k.away(err.Error())
		return
	}
	k.log.Info().Str("lease", k.lease).Int("changes", len(changes)).Msg("presence and counts are exact again")
}

// announce has changes told in their order, and then calls done.
func (k *keeper) announce(ctx context.Context, changes []proxy.Change, done func()) {
	job := func(context.Context) {
		for _, c := range changes {
			k.changed(c)
		}
		if done != nil {
			done()
		}
	}
	select {
	case k.jobs <- job:
	case <-ctx.Done():
	}
}

func (k *keeper) makeUp(ctx context.Context, note func(proxy.Change)) error {
	k.epoch.Lock()
	defer k.epoch.Unlock()
	for _, t := range k.all() {
		if err := k.makeUpTopic(ctx, t, note); err != nil {
			return err
		}
	}
	for len(k.stale) > 0 {
		if err := k.reap(ctx, k.stale[0], true, note); err != nil {
			return err
		}
		k.stale = k.stale[1:]
	}
	k.exact = true
	return nil
}

func (k *keeper) makeUpTopic(ctx context.Context, t proxy.Topic, note func(proxy.Change)) error {
	a := k.open(t)
	defer k.close(t, a)
	for s := range a.left {
		last, err := k.leave(ctx, t, a, s)
		if err != nil {
			return fmt.Errorf("leave %s: %w", t, err)
		}
		if last {
			note(proxy.Change{Kind: proxy.MemberGone, Topic: t, Member: proxy.Member{UserID: s.user}})
		}
	}
	if a.count == a.told {
		return nil
	}
	if err := k.claim(ctx, t.App); err != nil {
		return err
	}
	count, err := k.tell(ctx, t, a)
	switch {
	case err != nil:
		return fmt.Errorf("count of %s: %w", t, err)
	case count.Before == 0 && count.After > 0:
		note(proxy.Change{Kind: proxy.ChannelOccupied, Topic: t})
	case count.Before > 0 && count.After == 0:
		note(proxy.Change{Kind: proxy.ChannelVacated, Topic: t})
	}
	return nil
}
