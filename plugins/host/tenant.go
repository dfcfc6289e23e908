package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/translators"
)

// tenant is a plugin process with an open session and its streams: one life
// of a link. It watches from when it is there, and is fed from when it serves.
type tenant struct {
	process *Process
	about   translators.Description
	opened  plugins.Opened
	publish *plugins.PublishStream
	watch   *plugins.SubscribeStream // nil: it does not observe
	// overlap joins what it observes with what its predecessor does; nil: it
	// has none.
	overlap *overlap

	grants   chan int      // credit for what was taken of the watch stream
	changes  chan interest // what the predecessor was asked to observe
	heirs    chan *tenant  // who is to observe the same from now on
	heir     atomic.Pointer[tenant]
	promoted chan struct{} // closed when it serves
	answered chan struct{} // closed when nothing it was fed is without an answer, and nothing more will be
	leaving  atomic.Bool   // what it cannot do for now, its successor does

	// Of the streams' life, which no call's context spans.
	streams context.Context
	cancel  context.CancelFunc
	group   *errgroup.Group
	// Of what is handed to it: ends before the streams do.
	intake     sync.WaitGroup
	stopIntake context.CancelFunc
}

// interest is a change of what is to be observed.
type interest struct{ add, drop []string }

// moveIn starts a process, opens its session and watches with it. Until it
// serves, what it observes goes through the overlap, if there is one. With an
// error come the process's last lines.
func (l *link) moveIn(ctx context.Context, c Command, o *overlap) (*tenant, []string, error) {
	p, err := Launch(ctx, c)
	if failed, ok := errors.AsType[*LaunchError](err); ok {
		return nil, failed.Tail, err
	}
	if err != nil {
		return nil, nil, err
	}
	t := &tenant{
		process: p, overlap: o,
		grants: make(chan int, 64), changes: make(chan interest, 16), heirs: make(chan *tenant),
		promoted: make(chan struct{}), answered: make(chan struct{}),
	}
	streams, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t.cancel = cancel
	t.group, t.streams = errgroup.WithContext(streams)
	if err := l.open(ctx, t); err != nil {
		_ = t.end() // what it was opened for has failed already
		return nil, p.Tail(), because(err, p.Tail())
	}
	return t, nil, nil
}

// open checks what the process is, opens its session and its streams.
func (l *link) open(ctx context.Context, t *tenant) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	client := t.process.Client
	var err error
	if t.about, err = client.Describe(ctx); err != nil {
		return err
	}
	t.opened, err = client.Open(ctx, translators.Binding{
		App: l.binding.App, Backend: l.binding.Backend.Name, Role: l.binding.Backend.Role, Gateway: l.settings.Gateway,
		Settings: l.binding.Backend.Settings,
	})
	if err != nil {
		return fmt.Errorf("open %s: %w", t.about.Name, err)
	}
	if t.publish, err = client.Publish(t.streams); err != nil {
		return err
	}
	if t.opened.Can(plugins.AbilitySubscribe) && l.book.isObserving() {
		if t.watch, err = client.Subscribe(t.streams); err != nil {
			return err
		}
		t.group.Go(func() error { return l.control(t) })
		t.group.Go(func() error { return l.observe(t) })
	}
	t.group.Go(func() error { return l.lease(t) })
	t.group.Go(func() error {
		select {
		case <-t.process.Done():
			return errExited
		case <-t.streams.Done():
			return nil
		}
	})
	return nil
}

// serve begins to feed a tenant.
func (l *link) serve(t *tenant) {
	intake, stop := context.WithCancel(t.streams)
	t.stopIntake = stop
	if t.opened.Limits != nil {
		t.about.Limits = *t.opened.Limits
	}
	l.learn(t.about)
	l.book.bind(boundsOf(t.about, t.opened))
	close(t.promoted)
	t.taking(intake, func() error { return l.feed(intake, t.publish) })
	if t.watch != nil {
		t.taking(intake, func() error { return l.follow(intake, t) })
	}
	if t.opened.Can(plugins.AbilityPresence) && l.tellsPresence() {
		t.taking(intake, func() error { return l.attend(intake, t.process.Client) })
	}
	l.session.Store(&session{client: t.process.Client, query: t.opened.Can(plugins.AbilityQuery)})
	t.group.Go(func() error { return l.acknowledge(t) })
	l.mu.Lock()
	l.running = t.process.sum
	l.mu.Unlock()
	l.enter(StateRunning, func(s *Status) {
		s.PID, s.Version, s.Contract, s.Healthy, s.Detail = t.process.PID(), t.about.Version, t.process.Contract(), true, ""
	})
	l.log.Info().Str("plugin", t.about.Name).Str("version", t.about.Version).Int("pid", t.process.PID()).Msg("plugin running")
}

// taking runs something that hands work to a tenant, until intake ends.
func (t *tenant) taking(intake context.Context, f func() error) {
	t.intake.Add(1)
	t.group.Go(func() error {
		defer t.intake.Done()
		if err := f(); err != nil && intake.Err() == nil {
			return err
		}
		return nil // what was cut short is the successor's
	})
}

// current reports whether the tenant is the one that serves.
func (t *tenant) current() bool {
	select {
	case <-t.promoted:
		return !t.leaving.Load()
	default:
		return false
	}
}

// ask has a tenant observe more, or less.
func (t *tenant) ask(i interest) {
	select {
	case t.changes <- i:
	case <-t.streams.Done():
	}
}

// grant lets a tenant show more.
func (t *tenant) grant(items int) {
	if items == 0 {
		return
	}
	select {
	case t.grants <- items:
	case <-t.streams.Done():
	}
}

// finish feeds a tenant no more and waits, for a while, until it has answered
// for everything. It reports whether it has.
func (t *tenant) finish(patience time.Duration) bool {
	t.leaving.Store(true)
	t.stopIntake()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		t.intake.Wait()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-fed:
	case <-timer.C: // it does not read what it is sent
		return false
	case <-t.streams.Done():
		return false
	}
	if t.publish.CloseSend() != nil {
		return false
	}
	select {
	case <-t.answered:
		return true
	case <-timer.C:
	case <-t.streams.Done():
	}
	return false
}

// end stops a tenant's streams and its process, and returns why it ended, if
// it did so by itself.
func (t *tenant) end() error {
	t.cancel()
	err := t.group.Wait()
	t.process.Stop()
	return err
}

// acknowledge takes the plugin's answers until the stream ends.
func (l *link) acknowledge(t *tenant) error {
	for {
		ack, err := t.publish.Recv()
		switch {
		case errors.Is(err, io.EOF) && t.leaving.Load():
			close(t.answered)
			return nil
		case err != nil:
			return fmt.Errorf("the plugin's answers: %w", err)
		}
		items, ok := l.book.answer(ack.Batch, len(ack.Results), ack.Credit)
		if !ok {
			return fmt.Errorf("%w: it answered batch %d with %d results", errProtocol, ack.Batch, len(ack.Results))
		}
		if t.leaving.Load() {
			items, ack.Results = l.leave(items, ack.Results)
		}
		l.mirrored(items, ack.Results)
		for _, r := range ack.Results {
			if r.Code == translators.CodeFatal {
				return fmt.Errorf("the session is of no further use: %s", r.Detail)
			}
		}
	}
}

// leave puts what failed for now back into the book, for the successor, and
// returns the rest.
func (l *link) leave(items []item, results []translators.Result) ([]item, []translators.Result) {
	var again, done []item
	var final []translators.Result
	for i, r := range results {
		if r.Code == translators.CodeTransient {
			again = append(again, items[i])
			continue
		}
		done, final = append(done, items[i]), append(final, r)
	}
	l.book.putBack(again)
	return done, final
}
