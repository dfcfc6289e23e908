package upstream

import (
	"context"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

// A client that changes sides must not be given an event by both. So nobody is
// sent away before the sides are level: what was accepted by one of them
// before the move has reached the other. Meanwhile clients are served where
// they are, and what is published goes the new way already.

const (
	// moveOver is the longest time that the clients of an app are sent away
	// in when its stage moves, and movePace the time for each of few.
	moveOver = 5 * time.Second
	movePace = 5 * time.Millisecond
	// lookAgain is when clients are looked at once more: a handshake that was
	// under way during a move may have ended on the wrong side.
	lookAgain = 15 * time.Second
	// copiesWithin and callsWithin bound how long a move waits for copies that
	// the vendor is to have, and for calls that it is to answer. A vendor that
	// takes longer may give a client an event a second time.
	copiesWithin = 10 * time.Second
	callsWithin  = time.Second
	// spreadWithin is how long after its answer a vendor may still be handing
	// an event to its subscribers.
	spreadWithin = 200 * time.Millisecond
)

func moveTime(clients int) time.Duration { return min(moveOver, time.Duration(clients)*movePace) }

// follow sends away clients that are no longer where they belong. A further
// move does not wait for the one before to have reached everybody.
func (r *Relay) follow(ctx context.Context) {
	again := time.NewTimer(lookAgain)
	defer again.Stop()
	for ctx.Err() == nil {
		changed := r.changed()
		moving, cancel := until(ctx, changed)
		r.moveAll(moving)
		cancel()
		select {
		case <-again.C:
			again.Reset(lookAgain)
		case <-changed:
			again.Reset(lookAgain)
		case <-ctx.Done():
		}
	}
}

// until returns a context that ends when stop is closed.
func until(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// moveAll sends away the clients of all apps. An app whose vendor is slow
// holds up none of the others.
func (r *Relay) moveAll(ctx context.Context) {
	moved := make(map[string][]relayed)
	for _, c := range r.clientsWhere(r.misplaced) {
		moved[c.owner().ID] = append(moved[c.owner().ID], c)
	}
	var moving sync.WaitGroup
	defer moving.Wait()
	for _, app := range r.settings.Apps.All() {
		clients := moved[app.ID]
		delete(moved, app.ID)
		if app.Upstream == nil {
			continue
		}
		position := r.position(app)
		if ours := position.Split() && r.settings.Engine.Stats(app.ID).Connections > 0; len(clients) > 0 || ours {
			moving.Go(func() { r.moveClients(ctx, app, position, clients, ours) })
		}
	}
	for _, clients := range moved { // of apps that are gone
		moving.Go(func() { _ = r.release(ctx, clients, moveTime(len(clients))) }) // the rest is for the next move
	}
}

// moveClients sends an app's clients away once its sides are level: those that
// are misplaced, and where the vendor serves clients or channels again those
// that only the engine knows. What ctx keeps it from doing is for the move
// that has ended ctx.
func (r *Relay) moveClients(ctx context.Context, app *proxy.App, position *route.Position, clients []relayed, back bool) {
	r.level(ctx, app.ID, back)
	if len(clients) > 0 {
		r.settings.Log.Info().Str("app", app.ID).Int("connections", len(clients)).Msg("stage moved: clients are sent to where they belong now")
	}
	if r.release(ctx, clients, moveTime(len(clients))) != nil || !back {
		return
	}
	relayed, b := position.Relayed(), r.bridgeOf(app.ID)
	_ = r.settings.Engine.Release(ctx, app.ID, moveTime(r.settings.Engine.Stats(app.ID).Connections), func(id protocol.SocketID) bool {
		return (relayed || r.splitOf(id) == nil) && (b == nil || !b.people.isGhost(id))
	})
}

// level waits until what one side had accepted before the latest move has
// reached the other: what the vendor was called for is here, and, where
// clients are to go back there, so are copies. What their last one brings may
// still be on its way to those who subscribe now.
func (r *Relay) level(ctx context.Context, app string, back bool) {
	if r.settings.Feed == nil {
		return
	}
	p := r.settings.Feed.of(app)
	p.calls.wait(ctx, p.turn.Load(), callsWithin)
	if !back {
		return
	}
	p.catchUp(ctx, copiesWithin)
	p.mu.Lock()
	spread := time.Until(p.settled.Add(spreadWithin))
	p.mu.Unlock()
	if spread > 0 {
		select {
		case <-time.After(spread):
		case <-ctx.Done():
		}
	}
}

// called notes that a call of an app's HTTP API begins. It is decided where it
// goes only then. What is returned is to be called when it has ended.
func (f *Feed) called(app string) (ended func()) {
	if f == nil {
		return func() {}
	}
	p := f.of(app)
	round := p.calls.begin()
	return func() { p.calls.end(round) }
}

// turn notes that apps are where they were no longer.
func (f *Feed) turn() {
	if f == nil {
		return
	}
	for _, p := range f.apps.Range {
		p := p.(*progress)
		p.turn.Store(p.calls.mark())
	}
}

// outdated reports whether calls are under way that were to go the way of
// before the latest move.
func (f *Feed) outdated(app string) bool {
	p := f.of(app)
	over, _ := p.calls.over(p.turn.Load())
	return !over
}
