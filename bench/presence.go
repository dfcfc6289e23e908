package bench

import (
	"context"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	presenceChannel = "presence-room"
	singleJoins     = 20
)

// presence lets many members join one channel, then a single one several
// times, then half of the first leave. What a client knows is the count it
// was confirmed with and the members added and removed since.
func (r *run) presence(ctx context.Context) error {
	if r.load.Subscribers < 2 {
		return fmt.Errorf("bench: the presence test needs at least 2 subscribers")
	}
	f, n := r.fleet, r.load.Subscribers
	f.grow(n+1, func(int) []string { return []string{presenceChannel} })
	members, guest := f.clients[:n], f.clients[n]
	start := r.loop.clock()
	if err := f.connect(ctx, members, 0, r.load.Patience, nil); err != nil {
		return err
	}
	if err := r.awaitMembers(ctx, members, n); err != nil {
		return err
	}
	r.result.JoinSeconds = float64(r.loop.clock()-start) / 1e9

	took := hdrhistogram.New(1, longestLatency, 3)
	for range singleJoins {
		if err := r.oneJoin(ctx, members, guest, took); err != nil {
			return err
		}
	}
	r.result.OneJoin = quantiles(took)

	staying, leaving := members[:n/2], members[n/2:]
	start = r.loop.clock()
	for _, c := range leaving {
		c.leave()
	}
	if err := r.awaitMembers(ctx, staying, len(staying)); err != nil {
		return err
	}
	r.result.LeaveSeconds = float64(r.loop.clock()-start) / 1e9
	r.result.Seconds = r.result.JoinSeconds + r.result.LeaveSeconds
	return nil
}

// awaitMembers waits until each of the clients knows of exactly want members.
func (r *run) awaitMembers(ctx context.Context, clients []*client, want int) error {
	err := r.loop.run(ctx, r.load.Patience, func() (bool, int64) {
		for _, c := range clients {
			if c.members != want {
				return false, 0
			}
		}
		return true, 0
	})
	if err != nil {
		wrong := 0
		for _, c := range clients {
			if c.members != want {
				wrong++
			}
		}
		return fmt.Errorf("%d of %d members do not know of %d: %w", wrong, len(clients), want, err)
	}
	return nil
}

// oneJoin lets a guest, connected before, subscribe and unsubscribe. took
// takes when each member saw it come.
func (r *run) oneJoin(ctx context.Context, members []*client, guest *client, took *hdrhistogram.Histogram) error {
	f := r.fleet
	if guest.state == closed {
		guest.channels = nil
		if err := f.connect(ctx, []*client{guest}, 1, r.load.Patience, nil); err != nil {
			return err
		}
	}
	start := r.loop.clock()
	f.onMember = func(c *client) {
		if c != guest {
			_ = took.RecordValue((r.loop.now - start) / 1000)
		}
	}
	guest.subscribe(presenceChannel)
	err := r.awaitMembers(ctx, members, len(members)+1)
	f.onMember = nil
	if err != nil {
		return err
	}
	guest.write(opText, r.dialect.unsubscribe(f.scratch[:0], presenceChannel))
	guest.members = 0
	return r.awaitMembers(ctx, members, len(members))
}
