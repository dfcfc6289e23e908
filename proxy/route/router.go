package route

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
)

// Apps is the current configuration. Implementation: proxy/apps.Registry.
type Apps interface {
	ByID(id string) (*proxy.App, bool)
	All() []*proxy.App
	Changed() <-chan struct{}
}

// Settings are what a Router is made of.
type Settings struct {
	DB   *bbolt.DB // keeps the journal
	Apps Apps
	Gate Gate // nil: nothing objects
	// Shared has the moves of all nodes. Nil: this is the only one.
	Shared Shared
	// Moved is called after a move that all nodes share was made on this one,
	// to have the others look for it at once. Nil: they look once a second.
	Moved func(context.Context)
	Now   func() time.Time // nil: time.Now
	Log   zerolog.Logger
}

// Router knows the position of every app. Lookups take no lock; moves are
// made one at a time. It is safe for concurrent use.
type Router struct {
	settings Settings
	journal  journal
	current  atomic.Pointer[table]
	moving   sync.Mutex // held while a move is made
	behind   atomic.Pointer[error]
	looks    chan struct{} // capacity 1: others may have moved something
}

// table is one generation of positions.
type table struct {
	positions map[*proxy.App]*Position
	moved     map[string]*proxy.App // by id, with stage and rules as they are now
	overrides map[string][]override // by app, oldest move first; never changed in place
	records   map[string][]record   // of all nodes, by app, oldest first; nil where this is the only one
	changed   chan struct{}         // closed when the next generation is current
}

// New returns a router that has read its journal. It starts nothing.
func New(s Settings) (*Router, error) {
	if s.Now == nil {
		s.Now = time.Now
	}
	j, err := newJournal(s.DB)
	if err != nil {
		return nil, err
	}
	overrides, err := j.overrides()
	if err != nil {
		return nil, err
	}
	r := &Router{settings: s, journal: j, looks: make(chan struct{}, 1)}
	var records map[string][]record
	if s.Shared != nil {
		if records, err = j.loadShared(overrides); err != nil {
			return nil, err
		}
		for app, list := range records {
			overrides[app] = lastOf(list).Holds
		}
		unread := ErrUnread
		r.behind.Store(&unread)
	}
	r.current.Store(newTable(s.Apps.All(), overrides, records))
	return r, nil
}

func newTable(apps []*proxy.App, overrides map[string][]override, records map[string][]record) *table {
	t := &table{
		positions: make(map[*proxy.App]*Position, len(apps)), moved: make(map[string]*proxy.App, len(apps)),
		overrides: overrides, records: records, changed: make(chan struct{}),
	}
	for _, app := range apps {
		p := position(app, overrides[app.ID])
		moved := *app
		moved.Stage, moved.Rules = p.Stage, p.Rules
		t.positions[app], t.positions[&moved] = p, p
		t.moved[app.ID] = &moved
	}
	return t
}

// Run follows the configuration until ctx ends, and the moves of other nodes:
// a scope whose configured state was edited after it was moved is where the
// configuration says.
func (r *Router) Run(ctx context.Context) error {
	var look <-chan time.Time
	if r.settings.Shared != nil {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		changed := r.settings.Apps.Changed()
		if err := r.follow(); err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-look:
				_ = r.Sync(ctx) // it has logged why not; Behind says so
			case <-r.looks:
				_ = r.Sync(ctx)
			case <-changed:
				waiting = false
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// Look has Run look for moves of other nodes now rather than within a second.
// It does not wait.
func (r *Router) Look() {
	select {
	case r.looks <- struct{}{}:
	default: // it will look anyway
	}
}

// configuration is who made a move that came by editing the configuration.
const configuration = "configuration"

// follow takes back the moves that the configuration has overtaken. Of several
// nodes not all may have read it yet: there each lays moves over what it has
// read, and takes none back for the others.
func (r *Router) follow() error {
	r.moving.Lock()
	defer r.moving.Unlock()
	if t := r.current.Load(); r.settings.Shared != nil {
		r.swap(t.overrides, t.records)
		return nil
	}
	overrides := maps.Clone(r.current.Load().overrides)
	for _, app := range r.settings.Apps.All() {
		for _, o := range overrides[app.ID] {
			if o.holds(app) {
				continue
			}
			to, _ := configured(app, o.Channels)
			e := Entry{
				At: r.settings.Now(), Who: configuration, Why: "the configured stage was edited after the move",
				Move: Move{App: app.ID, Channels: o.Channels, From: o.State, To: to},
			}
			if err := r.journal.append(&e, nil); err != nil {
				return err
			}
			overrides[app.ID] = without(overrides[app.ID], o.Channels)
			r.log(e)
		}
	}
	r.swap(overrides, nil)
	return nil
}

// ByID returns an app with its stage and rules as they are now, for those who
// watch it. It may lag behind the configuration until Run has seen a reload.
func (r *Router) ByID(id string) (*proxy.App, bool) {
	app, ok := r.current.Load().moved[id]
	return app, ok
}

// Position returns where an app's traffic belongs. app is as configured, or
// from ByID.
func (r *Router) Position(app *proxy.App) *Position {
	t := r.current.Load()
	if p, ok := t.positions[app]; ok {
		return p
	}
	// The configuration was read again and Run has not seen it yet.
	return position(app, t.overrides[app.ID])
}

// Changed returns a channel that is closed when positions may have changed.
// A watcher takes it before it reads them.
func (r *Router) Changed() <-chan struct{} { return r.current.Load().changed }

// DryRun returns the move that Set would make, and the error that it would
// return, without making it.
func (r *Router) DryRun(ctx context.Context, q Request) (Move, error) {
	m, objections, err := r.plan(ctx, q)
	if err == nil && len(objections) > 0 && !q.Force {
		err = &Refused{Move: m, Objections: objections}
	}
	return m, err
}

// Set makes a move. It is in force, and on disk, when Set returns without an
// error; other nodes are told to look for it, and look once a second anyway. A *Refused says what stands
// against it, ErrOvertaken that another node was faster, and ErrAway that the
// other nodes cannot be told.
func (r *Router) Set(ctx context.Context, q Request) (Entry, error) {
	r.moving.Lock()
	defer r.moving.Unlock()
	if err := r.lookAt(ctx, q.App); err != nil {
		return Entry{}, err
	}
	m, objections, err := r.plan(ctx, q)
	if err != nil {
		return Entry{}, err
	}
	if len(objections) > 0 && !q.Force {
		return Entry{}, &Refused{Move: m, Objections: objections}
	}
	e := Entry{At: r.settings.Now(), Who: q.Who, Why: q.Why, Move: m, Overridden: objections}
	return e, r.commit(ctx, &e)
}

// lookAt learns what other nodes have done with an app, if there are any.
func (r *Router) lookAt(ctx context.Context, app string) error {
	if _, ok := r.settings.Apps.ByID(app); !ok || r.settings.Shared == nil {
		return nil
	}
	return r.look(ctx, app)
}

// plan checks a request and asks the gate about the move.
func (r *Router) plan(ctx context.Context, q Request) (Move, []Objection, error) {
	app, ok := r.settings.Apps.ByID(q.App)
	if !ok {
		return Move{}, nil, fmt.Errorf("%w: %q", ErrNoApp, q.App)
	}
	to, err := q.target(app)
	if err != nil {
		return Move{}, nil, err
	}
	m := Move{App: app.ID, Channels: scope(q.Channels), To: to}
	m.From, ok = r.state(app, m.Channels)
	if ok && m.From == m.To {
		return m, nil, fmt.Errorf("%w: %s", ErrUnchanged, m.To)
	}
	objections, err := r.judge(ctx, m)
	return m, objections, err
}

func scope(channels string) string {
	if channels == everything {
		return ""
	}
	return channels
}

// judge asks the gate about a forward move.
func (r *Router) judge(ctx context.Context, m Move) ([]Objection, error) {
	if r.settings.Gate == nil || !m.Forward() {
		return nil, nil
	}
	objections, err := r.settings.Gate.Judge(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("route: judge whether to %s: %w", m, err)
	}
	return objections, nil
}

// Undo asks for the last move of a scope to be taken back.
type Undo struct {
	App      string
	Channels string // as in Request
	Who, Why string
}

// Rollback takes back the last move of a scope that has not been taken back:
// each further call goes one move further, whichever node it is made on. No
// gate is asked. It returns ErrNothing when none is left, and ErrOvertaken and
// ErrAway as Set does.
func (r *Router) Rollback(ctx context.Context, u Undo) (Entry, error) {
	r.moving.Lock()
	defer r.moving.Unlock()
	if err := r.lookAt(ctx, u.App); err != nil {
		return Entry{}, err
	}
	app, ok := r.settings.Apps.ByID(u.App)
	if !ok {
		return Entry{}, fmt.Errorf("%w: %q", ErrNoApp, u.App)
	}
	if u.Who == "" {
		return Entry{}, fmt.Errorf("%w: say who takes it back", ErrInvalid)
	}
	u.Channels = scope(u.Channels)
	last, err := r.last(u)
	if err != nil {
		return Entry{}, err
	}
	if app.Upstream == nil && last.From.Stage != proxy.StageExited {
		return Entry{}, ErrNoUpstream
	}
	now, _ := r.state(app, u.Channels)
	e := Entry{
		At: r.settings.Now(), Who: u.Who, Why: u.Why, New: last.New, Undoes: last.Seq,
		Move: Move{App: u.App, Channels: u.Channels, From: now, To: last.From},
	}
	return e, r.commit(ctx, &e)
}

// last finds the latest entry of a scope that is neither a rollback nor has
// been taken back, since the configuration last overtook the scope.
func (r *Router) last(u Undo) (Entry, error) {
	entries, err := r.History(u.App)
	if err != nil {
		return Entry{}, err
	}
	var done []Entry
	for _, e := range entries {
		switch {
		case e.Channels != u.Channels, e.Note != "":
		case e.Who == configuration:
			done = nil
		case e.Undoes != 0:
			done = done[:max(len(done)-1, 0)]
		default:
			done = append(done, e)
		}
	}
	if len(done) == 0 {
		return Entry{}, ErrNothing
	}
	return done[len(done)-1], nil
}

// History returns an app's moves, on whichever node they were made, and this
// node's notes, oldest first; those of all apps for "".
func (r *Router) History(app string) ([]Entry, error) {
	if r.settings.Shared != nil {
		return r.sharedHistory(app)
	}
	return r.journal.entries(app)
}

// Note journals something that happened to an app, or to channels of it, and
// that is no move: nothing undoes it.
func (r *Router) Note(app, channels, who, what string) error {
	r.moving.Lock()
	defer r.moving.Unlock()
	configured, ok := r.settings.Apps.ByID(app)
	if !ok {
		return fmt.Errorf("%w: %q", ErrNoApp, app)
	}
	at, _ := r.state(configured, scope(channels))
	e := Entry{At: r.settings.Now(), Who: who, Note: what, Move: Move{App: app, Channels: channels, From: at, To: at}}
	return r.journal.append(&e, nil)
}

// Left returns when the last of an app's moves was made, which is when it left
// the vendor if it has; moved is false when it never moved.
func (r *Router) Left(app string) (at time.Time, moved bool, err error) {
	entries, err := r.History(app)
	for _, e := range entries {
		if e.Note == "" && e.Who != configuration {
			at, moved = e.At, true
		}
	}
	return at, moved, err
}

// state returns where a scope is now. A pattern without a rule of its own, ok
// being false, is where the app is.
func (r *Router) state(app *proxy.App, channels string) (s State, ok bool) {
	for _, o := range r.current.Load().overrides[app.ID] {
		if o.Channels == channels && o.holds(app) {
			return o.State, true
		}
	}
	if s, ok := configured(app, channels); ok {
		return s, true
	}
	s, _ = r.state(app, "")
	return s, false
}

// commit writes a move and puts it into force. moving is held.
func (r *Router) commit(ctx context.Context, e *Entry) error {
	app, ok := r.settings.Apps.ByID(e.App)
	if !ok {
		return fmt.Errorf("%w: %q", ErrNoApp, e.App)
	}
	o := r.outcome(app, e)
	if r.settings.Shared != nil {
		return r.share(ctx, e, o)
	}
	if err := r.journal.append(e, o); err != nil {
		return err
	}
	overrides := maps.Clone(r.current.Load().overrides)
	if o == nil {
		overrides[e.App] = without(overrides[e.App], e.Channels)
	} else {
		overrides[e.App] = insert(overrides[e.App], *o)
	}
	r.swap(overrides, nil)
	r.log(*e)
	return nil
}

// outcome returns the override that a move leaves, nil where the
// configuration says the same. It notes a rule that is new.
func (r *Router) outcome(app *proxy.App, e *Entry) *override {
	o := &override{Channels: e.Channels, State: e.To}
	if was, ok := configured(app, e.Channels); ok {
		if was == e.To {
			return nil
		}
		o.Configured = &was
	}
	if e.Undoes != 0 {
		if e.New {
			return nil
		}
		return o
	}
	_, known := r.state(app, e.Channels)
	e.New = !known
	return o
}

func (r *Router) swap(overrides map[string][]override, records map[string][]record) {
	close(r.current.Swap(newTable(r.settings.Apps.All(), overrides, records)).changed)
}

func (r *Router) log(e Entry) {
	r.settings.Log.Info().Str("app", e.App).Str("channels", e.Channels).Stringer("from", e.From).Stringer("to", e.To).
		Str("who", e.Who).Str("why", e.Why).Uint64("undoes", e.Undoes).Int("overridden", len(e.Overridden)).Msg("stage changed")
}
