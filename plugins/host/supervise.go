package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
	defer l.letGo()
	failures := failures{policy: l.settings.Restart}
	for {
		tail, err := l.live(ctx)
		if ctx.Err() != nil {
			l.enter(StateStopped, func(s *Status) { s.PID = 0 })
			return nil
		}
		now := time.Now()
		l.book.lose(now, fmt.Sprintf("the plugin was not running: %v", err))
		l.fallBack(err, now)
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

// live is the life of one process and of those that take over from it, until
// the last of them fails or ctx ends. It returns that one's last lines.
func (l *link) live(ctx context.Context) (tail []string, err error) {
	l.enter(StateStarting, func(*Status) {})
	command := l.executable()
	if l.returned {
		command = l.fallback.command
	}
	t, tail, err := l.moveIn(ctx, command, nil)
	if err != nil {
		return tail, err
	}
	l.book.open(t.watch != nil, t.opened.Credit)
	l.tell(l.book.up(time.Now()))
	l.serve(t)
	for heir := l.work(ctx, t); heir != nil; heir = l.work(ctx, t) {
		l.handOver(ctx, t, heir)
		t = heir
	}
	l.session.Store(nil)
	err = t.end()
	tail = t.process.Tail()
	return tail, because(err, tail)
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

var (
	errExited = errors.New("the plugin process ended")
	errHung   = fmt.Errorf("the plugin did not answer for %s", beatPatience)
)

// work waits while a tenant serves. It returns the successor when there is one
// that is ready. When ctx ends it lets the plugin drain before it returns.
func (l *link) work(ctx context.Context, t *tenant) (heir *tenant) {
	succession, stop := context.WithCancel(ctx)
	defer stop()
	heirs := make(chan *tenant, 1)
	go func() { heirs <- l.succeed(succession, t) }()
	select {
	case heir = <-heirs:
		if heir != nil {
			return heir
		}
	case <-t.streams.Done():
	case <-ctx.Done():
	}
	stop()
	if heir == nil {
		if late := <-heirs; late != nil {
			_ = late.end()
		}
	}
	if ctx.Err() != nil && t.streams.Err() == nil {
		l.retire(ctx, t)
	}
	return nil
}

// retire lets a plugin finish: what is queued, then what it has.
func (l *link) retire(ctx context.Context, t *tenant) {
	l.book.shut(true)
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushPatience)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !l.book.empty() && flush.Err() == nil && t.streams.Err() == nil {
		select {
		case <-ticker.C:
		case <-flush.Done():
		}
	}
	l.drain(ctx, t)
}

// drain has a plugin flush and close its session.
func (l *link) drain(ctx context.Context, t *tenant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainPatience+answerPatience)
	defer cancel()
	drained, err := t.process.Client.Drain(ctx, drainPatience)
	if err != nil {
		l.log.Warn().Err(err).Msg("plugin did not drain")
		return
	}
	if t.current() {
		l.report(drained.Report)
	}
	if drained.Leftover > 0 {
		l.log.Warn().Int("items", drained.Leftover).Msg("plugin drained with items left")
	}
}

// lease beats until the streams end, the process breaks, or a beat is left
// unanswered for too long.
func (l *link) lease(t *tenant) error {
	ctx, cancel := context.WithCancelCause(t.streams)
	defer cancel(nil)
	stream, err := t.process.Client.Lease(ctx)
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
			t.process.runner.kill() // a frozen process hears nothing else
			return errHung
		}
		if err != nil {
			return err
		}
		if t.current() {
			l.report(report)
		}
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
