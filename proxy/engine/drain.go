package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// Drain refuses new connections from now on and closes the present ones with
// 4200, oldest first, spread evenly over that time: a client comes back at once
// after 4200, and a node that closed all at one time would send them to its
// neighbours as a storm. The refusals have 4100, after which a client waits for
// a second: one that had no other node to go to would otherwise be back here at
// once until the process ends. It returns when all have been told, or with
// ctx's error.
func (e *Engine) Drain(ctx context.Context, over time.Duration) error {
	e.draining.Store(true)
	conns := e.conns.all(nil)
	e.log.Info().Int("connections", len(conns)).Dur("over", over).Msg("draining")
	return release(ctx, conns, over)
}

// Release closes those of an app's connections for which which holds in the
// way of Drain, and refuses none: the clients come back to whoever serves
// them now.
func (e *Engine) Release(ctx context.Context, app string, over time.Duration, which func(protocol.SocketID) bool) error {
	t := e.tenant(app)
	return release(ctx, e.conns.all(func(c *Conn) bool { return c.tenant == t && which(c.id) }), over)
}

// Fence takes all present connections out of the engine at once, and refuses
// none. It is for a node that others have taken for dead: what its clients
// were shown may be untrue. They have yet to be told, by tell, to come back to
// where the truth is known; that is spread over time, as Drain does.
func (e *Engine) Fence() (tell func(ctx context.Context, over time.Duration) error) {
	conns := e.conns.all(nil)
	for _, c := range conns {
		c.Close(protocol.CodeReconnect, "this node was taken for dead by the others")
	}
	return func(ctx context.Context, over time.Duration) error { return release(ctx, conns, over) }
}

func release(ctx context.Context, conns []*Conn, over time.Duration) error {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, c := range conns {
		due := time.Duration(float64(over) * float64(i) / float64(len(conns)))
		if wait := due - time.Since(start); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return fmt.Errorf("engine: drain: %d of %d connections not told yet: %w", len(conns)-i, len(conns), ctx.Err())
			}
		}
		c.end(protocol.ErrReconnect)
	}
	return nil
}

// Draining reports whether Drain has begun.
func (e *Engine) Draining() bool { return e.draining.Load() }
