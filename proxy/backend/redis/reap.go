package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// reapMost is how many entries one script removes: others wait meanwhile.
const reapMost = 200

// offerExpired has leases reaped that have run out. A node that has only just
// come back itself leaves the others time to do so too.
func (k *keeper) offerExpired(leases []string) {
	if len(leases) == 0 || time.Since(k.steady) <= settle {
		return
	}
	select {
	case k.jobs <- func(ctx context.Context) { k.reapAll(ctx, leases) }:
	default: // they are found again at the next beat
	}
}

// work does jobs, one after the other, until ctx ends.
func (k *keeper) work(ctx context.Context) {
	for {
		select {
		case job := <-k.jobs:
			job(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// reapAll removes what nodes have left whose leases have run out.
func (k *keeper) reapAll(ctx context.Context, leases []string) {
	for _, lease := range leases {
		k.log.Warn().Str("lease", lease).Msg("the lease of a node has ended; what it has left is removed")
		if err := k.reap(ctx, lease, false, k.changed); err != nil {
			k.log.Warn().Err(err).Str("lease", lease).Msg("entries of a dead node are left for now")
		}
	}
}

// reap removes everything that belongs to a lease. Several nodes may do it at
// once: each entry is removed by one of them. note is called by whoever has
// removed the last of its kind.
func (l *Ledger) reap(ctx context.Context, lease string, force bool, note func(proxy.Change)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	dead, err := condemnScript.Run(ctx, l.client, []string{l.keys.leases(), l.keys.dead(lease)}, lease, deadFor, flag(force)).Int()
	if err != nil {
		return fmt.Errorf("declare %s dead: %w", lease, err)
	}
	if dead == 0 {
		return nil // it lives again, or another node was quicker
	}
	apps, err := l.client.SMembers(ctx, l.keys.apps(lease)).Result()
	if err != nil {
		return fmt.Errorf("apps of %s: %w", lease, err)
	}
	for _, app := range apps {
		for i := range buckets {
			noted := make(map[string]bool)
			once := func(c proxy.Change) {
				noted[toldOf(c)] = true
				note(c)
			}
			if err := l.reapBucket(ctx, lease, app, i, once); err != nil {
				return err
			}
			if force { // this node's own lease: it has told of what went
				continue
			}
			if err := l.recall(ctx, app, i, noted, note); err != nil {
				return err
			}
		}
	}
	pipe := l.client.TxPipeline()
	pipe.Del(ctx, l.keys.apps(lease))
	pipe.ZRem(ctx, l.keys.leases(), lease)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("forget %s: %w", lease, err)
	}
	return nil
}

func (l *Ledger) reapBucket(ctx context.Context, lease, app string, number int, note func(proxy.Change)) error {
	b := l.keys.bucket(app, number)
	keys := []string{b + "x:" + lease, b + "s:" + lease, b + "c:" + lease, b + "t"}
	for {
		answer, err := reapScript.Run(ctx, l.client, keys, b, reapMost, deadFor).Slice()
		if err != nil {
			return fmt.Errorf("remove entries of %s: %w", lease, err)
		}
		if len(answer) != 3 {
			return fmt.Errorf("remove entries of %s: answer of %d parts", lease, len(answer))
		}
		gone, vacated := texts(answer[1]), texts(answer[2])
		for i := 0; i+1 < len(gone); i += 2 {
			t := proxy.Topic{App: app, Channel: protocol.ChannelName(gone[i])}
			note(proxy.Change{Kind: proxy.MemberGone, Topic: t, Member: proxy.Member{UserID: gone[i+1]}})
		}
		for _, name := range vacated {
			note(proxy.Change{Kind: proxy.ChannelVacated, Topic: proxy.Topic{App: app, Channel: protocol.ChannelName(name)}})
		}
		n, _ := answer[0].(int64)
		l.reaped.Add(uint64(max(n, 0)))
		if n == 0 {
			return nil
		}
	}
}
