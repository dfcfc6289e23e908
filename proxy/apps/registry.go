package apps

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/offramp/offramp/proxy"
)

// ErrInvalid is wrapped by every error of New and Swap: the set contradicts
// itself and was not taken over.
var ErrInvalid = errors.New("apps: invalid set of apps")

// Registry is the current set of apps. Lookups take no lock and allocate
// nothing, so that every connection and request may do one. It is safe for
// concurrent use.
type Registry struct {
	current atomic.Pointer[set]
	swap    sync.Mutex // serialises Swap
}

// set is one immutable generation of apps.
type set struct {
	all     []*proxy.App
	byID    map[string]*proxy.App
	byKey   map[string]keyed
	changed chan struct{} // closed when the next generation is current
}

type keyed struct {
	app        *proxy.App
	credential proxy.Credential
}

// New returns a registry of those apps. It fails, wrapping ErrInvalid, when
// an id or a key is empty or occurs twice, or an app has no credential.
func New(apps []*proxy.App) (*Registry, error) {
	s, err := newSet(apps)
	if err != nil {
		return nil, err
	}
	r := &Registry{}
	r.current.Store(s)
	return r, nil
}

// ByID returns the app with that id.
func (r *Registry) ByID(id string) (*proxy.App, bool) {
	app, ok := r.current.Load().byID[id]
	return app, ok
}

// ByKey returns the app that one of its credentials' keys names, and that
// credential. The app may be disabled: the caller answers for that.
func (r *Registry) ByKey(key string) (*proxy.App, proxy.Credential, bool) {
	k, ok := r.current.Load().byKey[key]
	return k.app, k.credential, ok
}

// All returns the apps in the order in which they were configured. The slice
// is shared: callers do not change it.
func (r *Registry) All() []*proxy.App { return r.current.Load().all }

// Swap replaces every app at once and tells those who wait on Changed. When
// it fails, wrapping ErrInvalid, the old set stays.
func (r *Registry) Swap(apps []*proxy.App) error {
	next, err := newSet(apps)
	if err != nil {
		return err
	}
	r.swap.Lock()
	defer r.swap.Unlock()
	close(r.current.Swap(next).changed)
	return nil
}

// Changed returns a channel that is closed when the next Swap has taken
// effect. A watcher takes the channel first and reads the set afterwards, so
// that it misses no change:
//
//	for {
//		changed := registry.Changed()
//		use(registry.All())
//		<-changed
//	}
func (r *Registry) Changed() <-chan struct{} { return r.current.Load().changed }

func newSet(apps []*proxy.App) (*set, error) {
	s := &set{
		all:     append([]*proxy.App(nil), apps...),
		byID:    make(map[string]*proxy.App, len(apps)),
		byKey:   make(map[string]keyed, len(apps)),
		changed: make(chan struct{}),
	}
	for _, app := range s.all {
		if err := s.add(app); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *set) add(app *proxy.App) error {
	if app.ID == "" {
		return fmt.Errorf("%w: an app has no id", ErrInvalid)
	}
	if _, taken := s.byID[app.ID]; taken {
		return fmt.Errorf("%w: app id %q is used twice; give each app its own", ErrInvalid, app.ID)
	}
	if len(app.Credentials) == 0 {
		return fmt.Errorf("%w: app %q has no key and secret", ErrInvalid, app.ID)
	}
	s.byID[app.ID] = app
	for _, c := range app.Credentials {
		if c.Key == "" {
			return fmt.Errorf("%w: app %q has an empty key", ErrInvalid, app.ID)
		}
		if other, taken := s.byKey[c.Key]; taken {
			return fmt.Errorf("%w: key %q belongs to app %q and to app %q; keys must be unique", ErrInvalid, c.Key, other.app.ID, app.ID)
		}
		s.byKey[c.Key] = keyed{app: app, credential: c}
	}
	return nil
}
