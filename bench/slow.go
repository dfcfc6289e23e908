package bench

import (
	"context"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// slow publishes at a fixed rate, first with everybody reading, then with a
// tenth of the clients not reading any more, and compares the others'
// latency. In the end it counts which of the slow ones the server has closed.
func (r *run) slow(ctx context.Context) error {
	const peakEvery = 100 * time.Millisecond
	f, res := r.fleet, &r.result
	r.follow(r.load.Publishers, false)
	if err := r.everybody(ctx, "slow"); err != nil {
		return err
	}
	if err := r.openAPI(r.load.Publishers); err != nil {
		return err
	}
	all := r.newAPIPump("slow", r.load.Subscribers)
	load := func(d time.Duration, p pump) error { return r.openLoop(ctx, d, r.load.Rate, p) }
	if err := load(r.load.Warmup, all); err != nil {
		return err
	}
	if err := r.measure(func() error { return load(r.load.Duration, all) }); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	res.Before, res.BaseRSS = res.Latency, res.RSS
	r.ledger.latency, r.ledger.measured = hdrhistogram.New(1, longestLatency, 3), 0

	slow := f.clients[len(f.clients)-len(f.clients)/10:]
	for _, c := range slow {
		c.paused = true
		if err := c.pause(); err != nil {
			return err
		}
	}
	res.SlowClients = len(slow)
	others := &watchedPump{pump: r.newAPIPump("slow", r.load.Subscribers-len(slow)), every: int64(peakEvery), r: r}
	if err := r.measure(func() error { return load(r.load.Duration, others) }); err != nil {
		return err
	}
	if others.err != nil {
		return others.err
	}
	res.RSSPeak = max(others.peak, res.RSS)
	if err := r.settle(ctx); err != nil {
		return err
	}
	return r.countClosed(ctx, slow)
}

// countClosed reads from the slow clients again and counts those whose
// connection the server has ended.
func (r *run) countClosed(ctx context.Context, slow []*client) error {
	for _, c := range slow {
		if c.state == closed {
			continue
		}
		if err := c.resume(); err != nil {
			return err
		}
	}
	// What the kernel still holds for them comes first, some megabytes each.
	left := func() (n int) {
		for _, c := range slow {
			if c.state != closed {
				n++
			}
		}
		return n
	}
	err := r.loop.run(ctx, 5*r.load.Still, func() (bool, int64) { return left() == 0, 0 })
	r.result.SlowClosed = len(slow) - left()
	if errors.Is(err, errDeadline) {
		return nil
	}
	return err
}

// watchedPump reads the server's memory now and then.
type watchedPump struct {
	pump
	r     *run
	every int64
	next  int64
	peak  int64
	err   error
}

func (p *watchedPump) send(at int64) {
	p.pump.send(at)
	if at < p.next {
		return
	}
	p.next = at + p.every
	u, err := readUsage(p.r.target.PID)
	if err != nil {
		p.err = err
	}
	p.peak = max(p.peak, u.rssBytes)
}
