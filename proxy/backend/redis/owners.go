package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
)

const (
	// ownedFor is how long a claim is kept that is not made again.
	ownedFor = 10 * time.Minute
	// ownedOnce is how long it is remembered that something had an owner.
	ownedOnce = 5 * time.Second
)

// Owners is proxy.Owners over Redis. A claim is bound to the lease of its
// node: it needs no renewal of its own, and ends when the lease does.
type Owners struct {
	keys   keys
	client client
	ledger *Ledger
}

var _ proxy.Owners = (*Owners)(nil)

// term is a lease, and until when a node goes by it: half of it is left then
// for what was begun before.
type term struct {
	lease string
	until time.Time
}

// Term implements proxy.Owners.
func (o *Owners) Term() string {
	if t := o.ledger.term.Load(); t != nil && time.Now().Before(t.until) {
		return t.lease
	}
	return ""
}

// Claim implements proxy.Owners: one round trip.
func (o *Owners) Claim(ctx context.Context, t proxy.Topic, backend string, inherit bool) (proxy.Claim, error) {
	lease := o.Term()
	if lease == "" {
		return proxy.ClaimRefused, fmt.Errorf("claim %s of %s: %w", t, backend, ErrAway)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	keys := []string{o.keys.owner(t, backend), o.keys.leases(), o.keys.dead(lease)}
	n, err := ownScript.Run(ctx, o.client, keys, lease, ownedFor.Milliseconds(), flag(inherit)).Int()
	if err != nil {
		return proxy.ClaimRefused, fmt.Errorf("redis: claim %s of %s: %w", t, backend, err)
	}
	switch n {
	case 1:
		return proxy.ClaimGranted, nil
	case 2:
		return proxy.ClaimInherited, nil
	}
	return proxy.ClaimRefused, nil
}

// Release implements proxy.Owners: one round trip.
func (o *Owners) Release(ctx context.Context, t proxy.Topic, backend string) error {
	lease := o.Term()
	if lease == "" {
		return nil // it ends with the lease
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := disownScript.Run(ctx, o.client, []string{o.keys.owner(t, backend)}, lease, ownedOnce.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("redis: release %s of %s: %w", t, backend, err)
	}
	return nil
}
