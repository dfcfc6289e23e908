package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offramp/offramp/proxy/front"
)

// drainSlack is what draining may take beyond the time it is spread over.
const drainSlack = 10 * time.Second

// run serves until ctx ends, then drains: it is not ready at once, its
// connections are closed one by one over the configured time, and what
// watchers still hold is finished. started is called once clients can connect.
func (g *gateway) run(ctx context.Context, started func()) error {
	// Where the other nodes have moved apps is known before anybody is served.
	// Without an answer it serves by what it knew last, and says so.
	_ = g.router.Sync(ctx)
	listeners, err := front.Listen(ctx, g.config.Listen)
	if err != nil {
		return listenError(g.config.Listen, "listen", err)
	}
	operators, err := new(net.ListenConfig).Listen(ctx, "tcp", g.config.Admin.Listen)
	if err != nil {
		return errors.Join(listenError(g.config.Admin.Listen, "admin.listen", err), closeAll(listeners))
	}

	// Rings, ended from the outside in: who lets clients in, who serves them,
	// the tie to other nodes, and who watches. Each must still be there while
	// the one before it ends. The first failure in any of them ends all.
	failed := make(chan error, 1)
	memory := releaser{connections: g.sessions.Len}
	watching := newRing(failed, memory.run, g.router.Run, g.outbox.Run, g.comparator.Run, g.inventory.Run, g.host.Run,
		func(ctx context.Context) error { return g.admin.Run(ctx, operators) })
	joined := newRing(failed, g.clusterParts()...)
	serving := newRing(failed, g.engine.Run, g.doubles.Run, g.relay.Run, g.sessions.Run, g.websocket.Run, g.streams.Run)
	entering := newRing(failed, func(ctx context.Context) error { return g.front.Run(ctx, listeners) })
	if started != nil {
		started()
	}

	select {
	case <-ctx.Done():
		g.drain()
	case err = <-failed:
	}
	return errors.Join(err, entering.end(), serving.end(), joined.end(), watching.end())
}

func closeAll(listeners []net.Listener) error {
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// noticeMost bounds the part of the drain that is for load balancers.
const noticeMost = 5 * time.Second

// drain asks every client to reconnect elsewhere. First of all it is not ready
// any more, for a tenth of the time: load balancers notice, and send nobody
// here who would be sent away again.
func (g *gateway) drain() {
	notice := min(g.config.Drain.Over/10, noticeMost)
	over := g.config.Drain.Over - notice
	g.leaving.Store(true)
	g.log.Info().Dur("notice", notice).Dur("over", over).Msg("draining")
	time.Sleep(notice)
	ctx, cancel := context.WithTimeout(context.Background(), over+drainSlack)
	defer cancel()
	var draining errgroup.Group
	draining.Go(func() error { return g.engine.Drain(ctx, over) })
	draining.Go(func() error { return g.relay.Drain(ctx, over) })
	if err := draining.Wait(); err != nil {
		g.log.Warn().Err(err).Msg("drain incomplete; the remaining connections are cut")
	}
}

// ring is a group of parts that run and end together.
type ring struct {
	cancel context.CancelFunc
	group  *errgroup.Group
}

func newRing(failed chan<- error, parts ...func(context.Context) error) *ring {
	ctx, cancel := context.WithCancel(context.Background())
	r := &ring{cancel: cancel, group: new(errgroup.Group)}
	for _, run := range parts {
		r.group.Go(func() error {
			err := run(ctx)
			if ctx.Err() != nil {
				return err // it was told to end; its error is reported by end
			}
			if err == nil {
				err = errors.New("a part ended by itself")
			}
			select {
			case failed <- err:
			default: // another one has failed before; that one is reported
			}
			return nil
		})
	}
	return r
}

// end stops the ring's parts and waits for them.
func (r *ring) end() error {
	r.cancel()
	if err := r.group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// listenError says in one sentence why an address cannot be listened on.
func listenError(addr, setting string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is taken by another program: stop it, or set another address with `%s:`", addr, setting)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("not allowed to listen on %s: use a port above 1023, or give the program the right to bind it", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine: set one with `%s:`", addr, setting)
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return fmt.Errorf("%s cannot be resolved: set an address of this machine with `%s:`", addr, setting)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}
