package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/translators"
)

// swapPatience is how long a new version may take to observe what the old one
// does.
const swapPatience = time.Minute

// answerPatience is how long the last answers of a drained plugin may be on
// their way.
const answerPatience = time.Second

// renew looks whether the executable is another one than the one that runs,
// and if so, has it take over. A link that is down starts with it.
func (l *link) renew(lock *Lock) error {
	command := l.executable()
	if command.builtin() {
		return nil // a part of this program changes when this program does
	}
	var err error
	if command.Checksum, err = lock.checksum(l.binding.Backend.Plugin); err != nil {
		return err
	}
	sum, err := verify(command.Path, command.Checksum)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.command, l.wanted = command, sum
	same, quarantined := l.running == sum, l.state.State == StateQuarantined
	l.mu.Unlock()
	if same {
		return nil
	}
	l.log.Info().Str("path", command.Path).Msg("plugin executable has changed")
	signal(l.renewed)
	if quarantined {
		l.release()
	}
	return nil
}

// succeed prepares a successor for t each time that the executable changes,
// until one is ready, which it returns. A new version that does not start, or
// cannot observe what the old one does, changes nothing.
func (l *link) succeed(ctx context.Context, t *tenant) *tenant {
	for {
		select {
		case <-l.renewed:
		case <-ctx.Done():
			return nil
		}
		if !l.outdated(t) {
			continue // it has been started anew in the meantime
		}
		heir, err := l.prepare(ctx, t)
		switch {
		case err == nil:
			return heir
		case ctx.Err() != nil:
			return nil
		}
		l.log.Error().Err(err).Str("serving", t.about.Version).Msg("new version of the plugin refused; the old one goes on")
		l.change(func(s *Status) {
			s.SwapsRefused++
			s.SwapError = err.Error()
		})
	}
}

// outdated reports whether another executable should run than t's.
func (l *link) outdated(t *tenant) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted != t.process.sum
}

// prepare starts a successor beside t and has it observe the same.
func (l *link) prepare(ctx context.Context, t *tenant) (*tenant, error) {
	heir, _, err := l.moveIn(ctx, l.executable(), newOverlap())
	if err != nil {
		return nil, err
	}
	if err = l.accompany(ctx, t, heir); err == nil {
		return heir, nil
	}
	t.heir.Store(nil)
	if died := heir.end(); errors.Is(err, errExited) {
		err = cmp.Or(died, err)
	}
	return nil, because(err, heir.process.Tail())
}

// accompany waits until heir observes every channel that t does.
func (l *link) accompany(ctx context.Context, t, heir *tenant) error {
	if heir.about.Name != t.about.Name {
		return fmt.Errorf("it is another plugin: it calls itself %s, and the one that runs %s", heir.about.Name, t.about.Name)
	}
	if t.watch == nil || heir.watch == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, swapPatience, fmt.Errorf("it did not confirm all subscriptions within %s", swapPatience))
	defer cancel()
	select {
	case t.heirs <- heir:
	case <-heir.streams.Done():
		return errExited
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-heir.overlap.complete:
		return heir.overlap.refused
	case <-heir.streams.Done():
		return errExited
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// handOver moves everything from old to heir: what old has it still answers
// for, for a while; what it does not, heir gets first.
func (l *link) handOver(ctx context.Context, old, heir *tenant) {
	began := time.Now()
	finished := old.finish(flushPatience)
	if !finished {
		l.drain(ctx, old)
		select {
		case <-old.answered:
		case <-old.streams.Done():
		case <-time.After(answerPatience):
		}
		old.cancel() // so that nothing is answered that heir gets
		_ = old.group.Wait()
	}
	l.inherit(heir)
	l.serve(heir)
	if finished {
		l.settle(heir)
		l.drain(ctx, old)
	}
	l.keep(old, time.Now())
	l.returned = false
	_ = old.end() // nothing depends on it any more
	l.change(func(s *Status) {
		s.Swaps++
		s.SwapError = ""
	})
	l.log.Info().Str("from", old.about.Version).Str("to", heir.about.Version).Dur("took", time.Since(began)).Msg("plugin swapped")
}

// settle waits, for a while, until heir has told who is there: on some backends
// members leave with the session that named them.
func (l *link) settle(heir *tenant) {
	if !heir.opened.Can(plugins.AbilityPresence) || !l.tellsPresence() {
		return
	}
	l.roll.again(time.Now())
	timeout := time.NewTimer(flushPatience)
	defer timeout.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for l.roll.status().Pending > 0 {
		select {
		case <-ticker.C:
		case <-timeout.C:
			return
		case <-heir.streams.Done():
			return
		}
	}
}

// inherit takes what heir has observed beyond what its predecessor has, and
// gives it what its predecessor leaves.
func (l *link) inherit(heir *tenant) {
	l.showing.Lock()
	defer l.showing.Unlock()
	now := time.Now()
	items, states := heir.overlap.cut(now)
	l.show(items, states, now)
	l.book.takeOver(heir.watch != nil, heir.opened.Credit, heir.overlap.observes, now)
	heir.grant(len(items))
}

// take applies what a tenant observed: before its time, nothing; then what its
// predecessor has not shown; and once it has an heir that serves, nothing.
func (l *link) take(t *tenant, in plugins.Inbound) {
	l.showing.Lock()
	defer l.showing.Unlock()
	now := time.Now()
	credit := len(in.Items)
	if t.overlap != nil {
		in, credit = t.overlap.younger(in, now)
	}
	if heir := t.heir.Load(); heir != nil {
		var freed int
		in, freed = heir.overlap.older(in)
		heir.grant(freed)
	}
	l.show(in.Items, in.States, now)
	t.grant(credit)
}

// show tells of what a backend delivered and how its channels are. Called
// with showing held.
func (l *link) show(items []translators.Envelope, states []plugins.ChannelState, now time.Time) {
	for _, e := range items {
		l.delivered(e, now)
	}
	for _, s := range states {
		l.tell(l.book.observed(s.Channel, s.ChannelState, now))
		if s.State == translators.StateError {
			l.log.Warn().Str("channel", string(s.Channel)).Str("detail", s.Detail).Msg("channel cannot be observed on the backend")
		}
	}
	if len(items) > 0 {
		l.change(func(s *Status) { s.Delivered += uint64(len(items)) })
	}
}
