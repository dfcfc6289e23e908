package bench

import (
	"context"
	"time"
)

// everybody subscribes all clients to one channel.
func (r *run) everybody(ctx context.Context, channel string) error {
	r.fleet.grow(r.load.Subscribers, func(int) []string { return []string{channel} })
	return r.fleet.connect(ctx, r.fleet.clients, dialLimit, r.load.Patience, nil)
}

// fanout publishes to one channel with the window always full.
func (r *run) fanout(ctx context.Context) error {
	r.follow(r.load.Publishers, false)
	if err := r.everybody(ctx, "fanout"); err != nil {
		return err
	}
	if err := r.openAPI(r.load.Publishers); err != nil {
		return err
	}
	p := r.newAPIPump("fanout", r.load.Subscribers)
	return r.measured(ctx, func(d time.Duration) error { return r.closedLoop(ctx, d, p) })
}

// rate publishes to one channel at fixed times.
func (r *run) rate(ctx context.Context) error {
	r.follow(r.load.Publishers, false)
	if err := r.everybody(ctx, "rate"); err != nil {
		return err
	}
	if err := r.openAPI(r.load.Publishers); err != nil {
		return err
	}
	p := r.newAPIPump("rate", r.load.Subscribers)
	return r.measured(ctx, func(d time.Duration) error { return r.openLoop(ctx, d, r.load.Rate, p) })
}

// clientEvents lets some of a room's members send to all the others.
func (r *run) clientEvents(ctx context.Context) error {
	r.follow(r.load.Senders, false)
	if err := r.everybody(ctx, "private-room"); err != nil {
		return err
	}
	p := r.newClientPump("private-room")
	return r.measured(ctx, func(d time.Duration) error { return r.closedLoop(ctx, d, p) })
}

// channels publishes to many channels in turn, each with one subscriber.
func (r *run) channels(ctx context.Context) error {
	r.follow(r.load.Channels, true)
	names := numbered("channel-", r.load.Channels)
	r.fleet.grow(r.load.Subscribers, func(i int) (own []string) {
		for ; i < len(names); i += r.load.Subscribers {
			own = append(own, names[i])
		}
		return own
	})
	if err := r.fleet.connect(ctx, r.fleet.clients, dialLimit, r.load.Patience, nil); err != nil {
		return err
	}
	if err := r.openAPI(min(r.load.Publishers, len(names))); err != nil {
		return err
	}
	p := r.newRoundPump(names)
	return r.measured(ctx, func(d time.Duration) error { return r.closedLoop(ctx, d, p) })
}

// publish publishes to a channel that nobody is subscribed to. What is
// measured is the answers.
func (r *run) publish(ctx context.Context) error {
	r.follow(r.load.Publishers, false)
	if err := r.openAPI(r.load.Publishers); err != nil {
		return err
	}
	r.load.Window = r.load.Publishers * r.load.Batch // the connections are the bound
	p := r.newAPIPump("nobody", 0)
	if err := r.closedLoop(ctx, r.load.Warmup, p); err != nil {
		return err
	}
	answered := r.api.answered
	r.api.measuring = true
	if err := r.measure(func() error { return r.closedLoop(ctx, r.load.Duration, p) }); err != nil {
		return err
	}
	r.api.measuring = false
	events := float64(r.api.answered-answered) * float64(r.load.Batch)
	res := &r.result
	res.EventsPerSecond = events / res.Seconds
	res.Latency = quantiles(r.api.latency)
	res.CPUPerMillion = res.CPUShare * res.Seconds / max(events, 1) * 1e6
	return r.settle(ctx)
}
