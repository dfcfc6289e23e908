package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/offramp/offramp/proxy"
)

// Host runs the plugins of every backend of every app. It implements
// proxy.Sink.
type Host struct {
	links    []*link
	byApp    map[string][]*link
	shares   bool                // it must be told what other nodes publish
	breakers map[string]*breaker // by app id: one for all of its bridges
}

// maxSocketDir leaves room, in the 104 to 108 characters that systems allow
// for a socket's path, for what go-plugin appends.
const maxSocketDir = 60

// New returns a host for those settings. It starts nothing; it fails when a
// plugin cannot be found or is not the one that the lock file pins.
func New(s Settings) (*Host, error) {
	s = s.withDefaults()
	if dir := orDefault(s.SocketDir, os.TempDir()); len(dir) > maxSocketDir {
		return nil, fmt.Errorf("socket directory %s has %d characters: at most %d leave room for a socket's name; set TMPDIR to a "+
			"shorter one", dir, len(dir), maxSocketDir)
	}
	h := &Host{byApp: map[string][]*link{}, breakers: map[string]*breaker{}}
	for _, b := range s.Bindings {
		l, err := newLink(s, b)
		if err != nil {
			return nil, fmt.Errorf("backend %s of app %s: %w", b.Backend.Name, b.App, err)
		}
		if b.Backend.Role == proxy.RoleBridge {
			l.inlet = newInlet(l, h.breakerOf(s, b.App))
			h.shares = h.shares || l.shared()
		}
		h.links = append(h.links, l)
		h.byApp[b.App] = append(h.byApp[b.App], l)
	}
	return h, nil
}

func (h *Host) breakerOf(s Settings, app string) *breaker {
	if h.breakers[app] == nil {
		h.breakers[app] = newBreaker(s.Breaker, s.Log.With().Str("app", app).Logger())
	}
	return h.breakers[app]
}

// Run keeps every plugin running until ctx ends, then drains and stops them.
// A plugin that fails is never an error of the host.
func (h *Host) Run(ctx context.Context) error {
	var group errgroup.Group
	for _, l := range h.links {
		group.Go(func() error { return l.run(ctx) })
		if l.inlet != nil {
			group.Go(func() error { l.inlet.run(ctx); return nil })
		}
	}
	<-ctx.Done() // without backends there is nothing to run, but no reason to end
	return group.Wait()
}

// Kinds returns the kinds of record that a host wants to be offered.
func (h *Host) Kinds() proxy.Kinds {
	kinds := proxy.KindsOf(proxy.KindPublished, proxy.KindSubscribed, proxy.KindUnsubscribed, proxy.KindOccupied, proxy.KindVacated)
	if h.shares {
		kinds |= proxy.KindsOf(proxy.KindDelivered)
	}
	return kinds
}

// Offer implements proxy.Sink. It reports false when a backend's queue was
// full and the event was dropped for it.
func (h *Host) Offer(r proxy.Record) bool {
	accepted := true
	for _, l := range h.byApp[r.Topic.App] {
		accepted = l.offer(r) && accepted
	}
	return accepted
}

// Status returns the status of every backend, in the order of the bindings.
func (h *Host) Status() []Status {
	all := make([]Status, len(h.links))
	for i, l := range h.links {
		all[i] = l.status()
	}
	return all
}

// Renew looks whether the executables of plugins have changed, and has those
// that have take over from the ones that run, without losing an item: see
// Status.Swaps and Status.SwapError for what came of it. lock pins executables
// from now on; nil: none is pinned. The error says which are not what it pins,
// or cannot be read; the ones that run go on.
func (h *Host) Renew(lock *Lock) error {
	var errs []error
	for _, l := range h.links {
		if err := l.renew(lock); err != nil {
			errs = append(errs, fmt.Errorf("backend %s of app %s: %w", l.binding.Backend.Name, l.binding.App, err))
		}
	}
	return errors.Join(errs...)
}

// Rebind puts the channels and samples of a new configuration into force, and
// closes the loop breakers. Other changes of backends are not looked at: they
// need another host.
func (h *Host) Rebind(ctx context.Context, apps []*proxy.App) error {
	for _, b := range h.breakers {
		b.reset()
	}
	var errs []error
	for _, app := range apps {
		links := h.byApp[app.ID]
		if len(links) == 0 {
			continue
		}
		occupied, err := links[0].settings.Channels(ctx, app.ID)
		if err != nil {
			errs = append(errs, fmt.Errorf("app %s: what is occupied already is observed when it is again: %w", app.ID, err))
		}
		for _, l := range links {
			at := slices.IndexFunc(app.Backends, func(b proxy.Backend) bool { return b.Name == l.binding.Backend.Name })
			if at >= 0 {
				l.rebind(app.Backends[at].Channels, app.Backends[at].Sample, occupied)
			}
		}
	}
	return errors.Join(errs...)
}

// Release ends the quarantine of a backend and starts it again. It reports
// false when there is no such backend.
func (h *Host) Release(app, backend string) bool {
	for _, l := range h.byApp[app] {
		if l.binding.Backend.Name == backend {
			l.release()
			return true
		}
	}
	return false
}
