package redis

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
)

// settle is how long after its return to a Redis that was away a node waits
// for the others to have told what they have.
const settle = 2 * time.Second

// deadFor is how long the writes of a dead node are refused, in seconds: how
// long a node may be paused and still be kept from doing harm.
const deadFor = 24 * 60 * 60

// Run renews the node's lease until ctx ends, removes the entries of nodes
// whose leases have run out, and tells everything again after Redis was away.
func (l *Ledger) Run(ctx context.Context) error {
	every := min(l.settings.Lease/10, time.Second)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	k := keeper{Ledger: l, jobs: make(chan func(context.Context), 1)}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { k.work(ctx) })
	for {
		k.beat(ctx)
		select {
		case <-ticker.C:
		case <-l.failed:
			k.away("an exchange has failed")
			select {
			case <-time.After(every / 4):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return l.quit()
		}
	}
}

// keeper is the state of a running ledger, of one goroutine.
type keeper struct {
	*Ledger
	server string    // its run id
	steady time.Time // since when everything is told under the present lease
	told   bool      // it is
	forgot bool      // Redis may have lost its memory since
	// jobs are done beside the goroutine that must renew the lease: telling of
	// many changes takes its time.
	jobs chan func(context.Context)
}

// away notes that Redis does not answer, or has lost what it knew.
func (k *keeper) away(why string) {
	k.epoch.Lock()
	defer k.epoch.Unlock()
	if k.exact {
		k.log.Warn().Str("why", why).Msg("presence and counts are not known exactly")
	}
	k.exact, k.told, k.steady = false, false, time.Time{}
}

// beat renews the lease and does what its answer asks for.
func (k *keeper) beat(ctx context.Context) {
	server, err := k.identify(ctx)
	if err != nil {
		k.away(err.Error())
		return
	}
	if k.server != "" && k.server != server {
		k.away("redis was started again, or is another server")
		k.forgot = true
		k.moved()
	}
	k.server = server
	if k.lease != "" {
		state, expired, err := k.renew(ctx, k.lease, false)
		switch {
		case err != nil:
			k.away(err.Error())
			return
		case state < 0:
			k.fence(ctx)
			return
		case state == 0:
			k.away("redis does not know this node's lease")
			k.forgot = true
		case k.told && k.exact:
			k.offerExpired(expired)
			return
		}
	}
	switch {
	case !k.told:
		k.retell(ctx)
	case time.Since(k.steady) > settle:
		k.finish(ctx)
	}
}

// identify asks Redis who it is.
func (l *Ledger) identify(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return l.client.identity(ctx)
}

// renew renews a lease, or begins one.
func (l *Ledger) renew(ctx context.Context, lease string, begin bool) (state int, expired []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked := time.Now()
	answer, err := beatScript.Run(ctx, l.client, []string{l.keys.leases(), l.keys.dead(lease)}, lease, l.settings.Lease.Milliseconds(), flag(begin)).Slice()
	if err != nil {
		return 0, nil, fmt.Errorf("renew the lease: %w", err)
	}
	if n, ok := answer[0].(int64); ok {
		state = int(n)
	}
	l.term.Store(nil)
	if state > 0 {
		l.term.Store(&term{lease, asked.Add(l.settings.Lease / 2)})
	}
	if len(answer) > 1 {
		expired = texts(answer[1])
	}
	return state, expired, nil
}

// fence begins a new lease with nothing: the others have removed all that
// this node had, and told of it.
func (k *keeper) fence(ctx context.Context) {
	k.fenced.Add(1)
	k.log.Error().Str("lease", k.lease).Msg("this node was taken for dead by the others; its clients are sent away")
	k.epoch.Lock()
	for _, t := range k.all() {
		a := k.open(t)
		clear(a.sockets)
		clear(a.left)
		a.told = 0
		k.close(t, a)
	}
	k.stale = nil // whoever has taken the lease takes them as well
	k.exact, k.told = false, false
	k.epoch.Unlock()
	if k.settings.Fenced != nil {
		k.settings.Fenced() // before anybody joins under the new lease
	}
	k.epoch.Lock()
	err := k.change(ctx)
	k.told, k.steady = err == nil, time.Now()
	k.epoch.Unlock()
	if err != nil {
		k.log.Warn().Err(err).Msg("no new lease yet")
		return
	}
	k.finish(ctx)
}

// change begins a new lease. The caller has epoch.
func (l *Ledger) change(ctx context.Context) error {
	l.seq++
	l.lease = strconv.FormatUint(l.settings.Node, 16) + "." + strconv.Itoa(l.seq)
	l.mu.Lock()
	clear(l.apps)
	l.mu.Unlock()
	if err := l.load(ctx); err != nil {
		return err
	}
	_, _, err := l.renew(ctx, l.lease, true)
	return err
}

// load gives Redis the scripts: pipelines name them only.
func (l *Ledger) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, s := range []*redis.Script{joinScript, leaveScript, membersScript, countScript} {
		if err := s.Load(ctx, l.client).Err(); err != nil {
			return fmt.Errorf("load scripts: %w", err)
		}
	}
	return nil
}

// quit gives the lease up when the node ends: what it still has is removed by
// the others without waiting.
func (l *Ledger) quit() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	l.term.Store(nil)
	l.epoch.Lock()
	defer l.epoch.Unlock()
	if !l.exact {
		return nil // it runs out
	}
	l.exact = false
	if err := l.client.ZAdd(ctx, l.keys.leases(), redis.Z{Member: l.lease}).Err(); err != nil {
		return fmt.Errorf("redis: end the lease: %w", err)
	}
	return nil
}

func (l *Ledger) changed(c proxy.Change) {
	switch c.Kind {
	case proxy.MemberGone, proxy.ChannelVacated, proxy.ChannelOccupied:
		l.owe(c.Topic, c.Kind == proxy.MemberGone, c.Member.UserID, c.Kind != proxy.ChannelOccupied)
	}
	if l.settings.Changed != nil {
		l.settings.Changed(c)
	}
}
