package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/translators"
)

const (
	openPatience = 30 * time.Second
	beatEvery    = time.Second
	// beatPatience is how long a plugin may leave a beat unanswered before it
	// is taken for hung.
	beatPatience = 10 * time.Second
	// flushPatience bounds how long a stop waits for what is queued, and
	// drainPatience how long for what the plugin has.
	flushPatience = 5 * time.Second
	drainPatience = 5 * time.Second
)

// run keeps one plugin process alive until ctx ends.
func (l *link) run(ctx context.Context) error {
	ticking, stop := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { l.tickUntil(ticking); return nil })
	defer group.Wait() //nolint:errcheck // returns nil
	defer stop()
	failures := failures{policy: l.settings.Restart}
	for {
		tail, err := l.live(ctx)
		if ctx.Err() != nil {
			l.enter(StateStopped, func(s *Status) { s.PID = 0 })
			return nil
		}
		now := time.Now()
		l.book.lose(now, fmt.Sprintf("the plugin was not running: %v", err))
		wait, tooMany := failures.add(now)
		record := func(s *Status) { s.PID, s.Healthy, s.LastError, s.LastLog = 0, false, err.Error(), tail }
		if tooMany {
			l.enter(StateQuarantined, record)
			l.log.Error().Err(err).Strs("output", last(tail, 5)).Msg("plugin failed too often and is quarantined")
			if !l.quarantine(ctx) {
				return nil
			}
			failures.forget()
			continue
		}
		l.enter(StateWaiting, record)
		l.log.Warn().Err(err).Dur("wait", wait).Msg("plugin failed and will be started again")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		l.change(func(s *Status) { s.Restarts++ })
	}
}

// quarantine waits until the link is released. Meanwhile events are dropped
// like those that do not fit. It reports false when ctx ended first.
func (l *link) quarantine(ctx context.Context) bool {
	l.book.shut(true)
	defer l.book.shut(false)
	select {
	case <-l.released:
		return true
	case <-ctx.Done():
		l.enter(StateStopped, func(*Status) {})
		return false
	}
}

// failures counts a plugin's recent deaths.
type failures struct {
	policy RestartPolicy
	at     []time.Time // within the window
	streak int         // without a quiet minute between
}

// add notes a failure, and returns how long to wait before the next start, or
// that there have been too many.
func (f *failures) add(now time.Time) (wait time.Duration, tooMany bool) {
	f.at = slices.DeleteFunc(f.at, func(t time.Time) bool { return now.Sub(t) > f.policy.Window })
	if n := len(f.at); n > 0 && now.Sub(f.at[n-1]) > time.Minute {
		f.streak = 0
	}
	f.at = append(f.at, now)
	if len(f.at) > f.policy.Budget {
		return 0, true
	}
	wait = min(f.policy.First<<f.streak, f.policy.Max)
	f.streak = min(f.streak+1, 16)
	return wait/2 + rand.N(wait/2+1), false
}

func (f *failures) forget() { f.at, f.streak = nil, 0 }

// live is one process's life, from launch until it fails or ctx ends. It
// returns the process's last lines.
func (l *link) live(ctx context.Context) (tail []string, err error) {
	l.enter(StateStarting, func(*Status) {})
	p, err := Launch(ctx, l.command)
	if failed, ok := errors.AsType[*LaunchError](err); ok {
		return failed.Tail, err
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		p.Stop()
		tail = p.Tail()
		if err != nil {
			err = because(err, tail)
		}
	}()
	opened, err := l.open(ctx, p)
	if err != nil {
		return nil, err
	}
	return nil, l.work(ctx, p, opened)
}

// because adds a panic in the output to the error of a broken stream.
func because(err error, tail []string) error {
	if len(tail) == 0 {
		return err
	}
	if line := cause(tail); line != tail[len(tail)-1] {
		return fmt.Errorf("%w: it said: %s", err, line)
	}
	return err
}

// open checks what the process is and opens its session.
func (l *link) open(ctx context.Context, p *Process) (plugins.Opened, error) {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	d, err := p.Client.Describe(ctx)
	if err != nil {
		return plugins.Opened{}, err
	}
	l.learn(d)
	opened, err := p.Client.Open(ctx, translators.Binding{
		App: l.binding.App, Backend: l.binding.Backend.Name, Role: l.binding.Backend.Role, Gateway: l.settings.Gateway,
		Settings: l.binding.Backend.Settings,
	})
	if err != nil {
		return opened, fmt.Errorf("open %s: %w", d.Name, err)
	}
	l.enter(StateRunning, func(s *Status) { s.PID, s.Version, s.Healthy, s.Detail = p.PID(), d.Version, true, "" })
	l.log.Info().Str("plugin", d.Name).Str("version", d.Version).Int("pid", p.PID()).Msg("plugin running")
	return opened, nil
}

var (
	errExited = errors.New("the plugin process ended")
	errHung   = fmt.Errorf("the plugin did not answer for %s", beatPatience)
)

// work feeds and watches an open session. When ctx ends it lets the plugin
// drain before it returns.
func (l *link) work(ctx context.Context, p *Process, opened plugins.Opened) error {
	streams, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	group, streams := errgroup.WithContext(streams)
	watching := opened.Can(plugins.AbilitySubscribe) && l.book.isObserving()
	feed, err := p.Client.Publish(streams)
	if err != nil {
		return err
	}
	if watching {
		watch, err := p.Client.Subscribe(streams)
		if err != nil {
			return err
		}
		grants := make(chan int, 64)
		group.Go(func() error { return l.control(streams, watch, grants) })
		group.Go(func() error { return l.observe(streams, watch, grants) })
	}
	if opened.Can(plugins.AbilityPresence) && l.tellsPresence() {
		group.Go(func() error { return l.attend(streams, p.Client) })
	}
	l.session.Store(&session{client: p.Client, query: opened.Can(plugins.AbilityQuery)})
	defer l.session.Store(nil)
	l.book.open(watching, opened.Credit)
	l.tell(l.book.up(time.Now()))
	group.Go(func() error { return l.feed(streams, feed) })
	group.Go(func() error { return l.acknowledge(feed) })
	group.Go(func() error { return l.lease(streams, p) })
	group.Go(func() error {
		select {
		case <-p.Done():
			return errExited
		case <-streams.Done():
			return nil
		}
	})
	select {
	case <-streams.Done():
	case <-ctx.Done():
		l.retire(streams, p)
		cancel()
		_ = group.Wait()
		return nil
	}
	return group.Wait()
}

// retire lets a plugin finish: what is queued, then what it has.
func (l *link) retire(ctx context.Context, p *Process) {
	l.book.shut(true)
	flush, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !l.book.empty() && flush.Err() == nil {
		select {
		case <-ticker.C:
		case <-flush.Done():
		}
	}
	drained, err := p.Client.Drain(ctx, drainPatience)
	if err != nil {
		l.log.Warn().Err(err).Msg("plugin did not drain")
		return
	}
	l.report(drained.Report)
	if drained.Leftover > 0 {
		l.log.Warn().Int("items", drained.Leftover).Msg("plugin drained with items left")
	}
}

// lease beats until ctx ends, the process breaks, or a beat is left
// unanswered for too long.
func (l *link) lease(ctx context.Context, p *Process) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := p.Client.Lease(ctx)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		hung := time.AfterFunc(beatPatience, func() { cancel(errHung) })
		report, err := stream.Beat()
		hung.Stop()
		if errors.Is(context.Cause(ctx), errHung) {
			p.runner.kill() // a frozen process hears nothing else
			return errHung
		}
		if err != nil {
			return err
		}
		l.report(report)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *link) report(r translators.Report) {
	returned := false
	l.change(func(s *Status) {
		returned = r.Healthy && !s.Healthy
		s.Healthy, s.Detail, s.Counters = r.Healthy, r.Detail, r.Counters
	})
	if returned { // what the backend knew of members may be gone
		l.roll.again(time.Now())
	}
}

func last(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }
