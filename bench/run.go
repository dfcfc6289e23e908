package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// run holds what the tests share. It lives on one thread.
type run struct {
	target  Target
	load    Load
	loop    *loop
	dialect dialect
	fleet   *fleet
	api     *api
	ledger  *ledger
	result  Result
}

// Run does one test and returns what it measured. A result comes with every
// error after the start, and its counts tell how far the test got: events
// that were lost, doubled or reordered are an error too.
func Run(ctx context.Context, t Target, l Load) (Result, error) {
	if err := l.validate(); err != nil {
		return Result{}, err
	}
	test, ok := map[string]func(*run, context.Context) error{
		"fanout": (*run).fanout, "rate": (*run).rate, "client-events": (*run).clientEvents,
		"channels": (*run).channels, "publish": (*run).publish, "idle": (*run).idle,
		"presence": (*run).presence, "storm": (*run).storm, "slow": (*run).slow, "churn": (*run).churn,
	}[l.Test]
	if !ok {
		return Result{}, fmt.Errorf("bench: unknown test %q; known are %v", l.Test, Tests())
	}
	// The loop keeps its thread, and so its CPU's caches. The heap of a test
	// is small and dies with it: collecting late costs nothing.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(800))

	r, err := newRun(t, l)
	if err != nil {
		return Result{}, err
	}
	defer r.close()
	err = test(r, ctx)
	return r.finish(err)
}

func newRun(t Target, l Load) (*run, error) {
	d, err := newDialect(t)
	if err != nil {
		return nil, err
	}
	to, err := resolve(t.Addr)
	if err != nil {
		return nil, err
	}
	lp, err := newLoop(l.Spin)
	if err != nil {
		return nil, err
	}
	return &run{
		target: t, load: l, loop: lp, dialect: d,
		fleet:  &fleet{loop: lp, dialect: d, to: to, host: t.Addr},
		result: Result{Server: t.Name, Test: l.Test},
	}, nil
}

func (r *run) close() {
	r.fleet.dropAll()
	if r.api != nil {
		r.api.close()
	}
	r.loop.close()
}

// finish fills in the counts and turns wrong deliveries into an error.
func (r *run) finish(err error) (Result, error) {
	res := &r.result
	if l := r.ledger; l != nil {
		res.Lost, res.Duplicated, res.Disordered, res.Unknown = l.lost(), l.duplicated, l.disordered, l.unknown
		if err == nil {
			err = l.verify()
		}
	}
	if r.api != nil {
		res.Failed = r.api.failed
		if r.api.failure != nil {
			res.Trouble = r.api.failure.Error()
		}
	}
	res.Closed, res.Retries = r.fleet.closed, r.fleet.retries
	if r.fleet.failure != nil {
		res.Trouble = r.fleet.failure.Error()
	}
	if err == nil && (res.Failed > 0 || res.Closed > 0) {
		err = fmt.Errorf("bench: %d requests failed, %d clients were closed: %s", res.Failed, res.Closed, res.Trouble)
	}
	if err != nil && res.Trouble == "" {
		res.Trouble = err.Error()
	}
	return *res, err
}

func (r *run) openAPI(conns int) error {
	to, err := resolve(r.target.apiAddr())
	if err != nil {
		return err
	}
	r.api, err = newAPI(r.loop, to, conns)
	return err
}

// follow prepares the ledger.
func (r *run) follow(lanes int, private bool) {
	r.ledger = newLedger(r.load.Subscribers, lanes, private)
	r.fleet.ledger = r.ledger
}

// A pump sends the next event, if it can send one at the moment.
type pump interface {
	ready() bool
	send(at int64)
}

// closedLoop keeps the window full for a while: the next event goes out when
// an earlier one has reached everybody.
func (r *run) closedLoop(ctx context.Context, d time.Duration, p pump) error {
	end := r.loop.clock() + int64(d)
	return r.loop.run(ctx, d+r.load.Patience, func() (bool, int64) {
		if r.loop.now >= end || r.broken() {
			return true, 0
		}
		for r.ledger.outstanding+r.load.Batch <= r.load.Window && p.ready() {
			p.send(r.loop.clock())
		}
		return false, end
	})
}

// openLoop sends at fixed times, whatever the server does. Latency counts
// from the time an event was due, so that a stalled server cannot hide the
// events that it kept from being sent.
func (r *run) openLoop(ctx context.Context, d time.Duration, rate float64, p pump) error {
	start, sent := r.loop.clock(), 0
	due := func(n int) int64 { return start + int64(float64(n)/rate*1e9) }
	end := start + int64(d)
	return r.loop.run(ctx, d+r.load.Patience, func() (bool, int64) {
		for due(sent) <= min(r.loop.now, end) && p.ready() {
			p.send(due(sent))
			sent++
		}
		if due(sent) > end || r.broken() {
			return true, 0
		}
		return false, due(sent)
	})
}

// broken ends a test whose server refuses everything.
func (r *run) broken() bool { return r.api != nil && r.api.failed > 100 }

// settle waits for everything that is on its way.
func (r *run) settle(ctx context.Context) error {
	err := r.loop.run(ctx, min(r.load.Patience, 15*time.Second), func() (bool, int64) {
		return r.ledger.outstanding == 0 && (r.api == nil || r.api.busy == 0) || r.broken(), 0
	})
	if errors.Is(err, errDeadline) {
		return nil // the ledger tells what is missing
	}
	return err
}

// quiet lets a while pass in which only the server has something to do.
func (r *run) quiet(ctx context.Context, d time.Duration) error {
	end := r.loop.clock() + int64(d)
	return r.loop.run(ctx, 2*d, func() (bool, int64) { return r.loop.now >= end, end })
}

// measured runs a load with and without measuring, and waits for its end.
func (r *run) measured(ctx context.Context, load func(time.Duration) error) error {
	if err := load(r.load.Warmup); err != nil {
		return err
	}
	if err := r.measure(func() error { return load(r.load.Duration) }); err != nil {
		return err
	}
	return r.settle(ctx)
}

// measure wraps what is to be measured and fills in the common figures.
func (r *run) measure(work func() error) error {
	before, err := readUsage(r.target.PID)
	if err != nil {
		return err
	}
	start, polls, reads, frames := r.loop.clock(), r.loop.polls, r.loop.reads, r.fleet.frames
	issued := r.ledger.next
	r.ledger.measuring = true
	if err := work(); err != nil {
		return err
	}
	r.ledger.measuring = false
	after, err := readUsage(r.target.PID)
	if err != nil {
		return err
	}
	res, seconds := &r.result, float64(r.loop.clock()-start)/1e9
	res.Seconds = seconds
	res.DeliveriesPerSecond = float64(r.ledger.measured) / seconds
	res.EventsPerSecond = float64(r.ledger.next-issued) / seconds
	res.Latency = quantiles(r.ledger.latency)
	cpu := after.cpuSeconds - before.cpuSeconds
	res.CPUShare, res.RSS = cpu/seconds, after.rssBytes
	if r.ledger.measured > 0 {
		res.CPUPerMillion = cpu / float64(r.ledger.measured) * 1e6
	}
	if n := r.loop.reads - reads; n > 0 {
		res.FramesPerRead = float64(r.fleet.frames-frames) / float64(n)
		res.ReadsPerPoll = float64(n) / float64(max(r.loop.polls-polls, 1))
	}
	return nil
}
