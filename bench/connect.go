package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ownChannel gives every client a channel of its own.
func ownChannel(i int) []string { return []string{fmt.Sprintf("own-%d", i)} }

// idle measures what connected, subscribed and silent clients cost, then how
// fast as many come back after all have left, then what further
// subscriptions cost.
func (r *run) idle(ctx context.Context) error {
	f, res := r.fleet, &r.result
	base, err := readUsage(r.target.PID)
	if err != nil {
		return err
	}
	n := float64(r.load.Subscribers)
	f.grow(r.load.Subscribers, ownChannel)
	if err := f.connect(ctx, f.clients, dialLimit, r.load.Patience, nil); err != nil {
		return err
	}
	full, err := r.usageAfter(ctx, r.load.Still)
	if err != nil {
		return err
	}
	idle, err := r.usageAfter(ctx, r.load.Duration)
	if err != nil {
		return err
	}
	res.BaseRSS, res.RSS = base.rssBytes, idle.rssBytes
	res.BytesPerClient = float64(idle.rssBytes-base.rssBytes) / n
	res.IdleCPU = (idle.cpuSeconds - full.cpuSeconds) / r.load.Duration.Seconds()
	if err := r.comeBack(ctx); err != nil {
		return err
	}
	if r.load.Extra == 0 {
		return nil
	}
	return r.subscribeFurther(ctx)
}

// comeBack lets all clients leave, and connects them again.
func (r *run) comeBack(ctx context.Context) error {
	f, res := r.fleet, &r.result
	f.dropAll()
	gone, err := r.usageAfter(ctx, r.load.Still)
	if err != nil {
		return err
	}
	res.RSSAfterLeaving = gone.rssBytes
	start := r.loop.clock()
	if err := f.connect(ctx, f.clients, dialLimit, r.load.Patience, nil); err != nil {
		return err
	}
	n := float64(r.load.Subscribers)
	res.Seconds = float64(r.loop.clock()-start) / 1e9
	res.ClientsPerSecond = n / res.Seconds
	back, err := readUsage(r.target.PID)
	if err != nil {
		return err
	}
	res.CPUPerClient = (back.cpuSeconds - gone.cpuSeconds) / n * 1e6
	return nil
}

func (r *run) subscribeFurther(ctx context.Context) error {
	before, err := r.usageAfter(ctx, r.load.Still)
	if err != nil {
		return err
	}
	further := func(i int) []string { return numbered(fmt.Sprintf("more-%d-", i), r.load.Extra) }
	if err := r.fleet.subscribeAll(ctx, further, r.load.Patience); err != nil {
		return err
	}
	after, err := r.usageAfter(ctx, r.load.Still)
	if err != nil {
		return err
	}
	total := float64(r.load.Subscribers * r.load.Extra)
	r.result.BytesPerSubscription = float64(after.rssBytes-before.rssBytes) / total
	return nil
}

func (r *run) usageAfter(ctx context.Context, d time.Duration) (usage, error) {
	if err := r.quiet(ctx, d); err != nil {
		return usage{}, err
	}
	return readUsage(r.target.PID)
}

// storm drops every client at once and lets all come back at once.
func (r *run) storm(ctx context.Context) error {
	f, res := r.fleet, &r.result
	f.grow(r.load.Subscribers, ownChannel)
	if err := f.connect(ctx, f.clients, dialLimit, r.load.Patience, nil); err != nil {
		return err
	}
	if err := r.quiet(ctx, r.load.Still); err != nil {
		return err
	}
	before, err := readUsage(r.target.PID)
	if err != nil {
		return err
	}
	f.retries = 0
	took := hdrhistogram.New(1, longestLatency, 3)
	start := r.loop.clock()
	f.dropAll()
	if err := f.connect(ctx, f.clients, 0, r.load.Patience, took); err != nil {
		return err
	}
	res.BackSeconds = float64(r.loop.clock()-start) / 1e9
	res.Seconds, res.Back = res.BackSeconds, quantiles(took)
	after, err := readUsage(r.target.PID)
	if err != nil {
		return err
	}
	res.CPUPerClient = (after.cpuSeconds - before.cpuSeconds) / float64(r.load.Subscribers) * 1e6
	res.RSS = after.rssBytes
	return nil
}

// churn lets clients come, subscribe and crash, as many at a time as there
// are subscribers, and looks for what the server keeps of them.
func (r *run) churn(ctx context.Context) error {
	f, res := r.fleet, &r.result
	f.grow(r.load.Subscribers, ownChannel)
	round := func() error {
		if err := f.connect(ctx, f.clients, dialLimit, r.load.Patience, nil); err != nil {
			return err
		}
		f.dropAll()
		return nil
	}
	for range 3 { // until heaps and pools have their size
		if err := round(); err != nil {
			return err
		}
	}
	before, err := r.usageAfter(ctx, r.load.Still)
	if err != nil {
		return err
	}
	start, clients := r.loop.clock(), 0
	for r.loop.clock() < start+int64(r.load.Duration) {
		if err := round(); err != nil {
			return err
		}
		clients += r.load.Subscribers
	}
	res.Seconds = float64(r.loop.clock()-start) / 1e9
	res.ClientsPerSecond = float64(clients) / res.Seconds
	after, err := r.usageAfter(ctx, r.load.Still)
	if err != nil {
		return err
	}
	res.BaseRSS, res.RSSAfterLeaving = before.rssBytes, after.rssBytes
	res.DescriptorsBefore, res.DescriptorsAfter = before.descriptors, after.descriptors
	return nil
}
