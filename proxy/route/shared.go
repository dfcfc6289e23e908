package route

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Shared keeps the moves of all nodes, each as an opaque record: an app's
// records in their order. It may forget what it has; nodes give that back.
// Implementation: proxy/backend/redis.Moves.
type Shared interface {
	// Last returns the last record of each app, empty for one without any.
	Last(ctx context.Context, apps []string) ([][]byte, error)
	// All returns an app's records, oldest first.
	All(ctx context.Context, app string) ([][]byte, error)
	// Append adds records to an app's if the last one is still the one given,
	// empty for none, and reports whether it was. Beyond most records the
	// oldest are dropped.
	Append(ctx context.Context, app string, last []byte, records [][]byte, most int) (bool, error)
}

// Errors of moves on a gateway of several nodes.
var (
	ErrAway      = errors.New("route: the moves of all nodes cannot be reached, so nothing can be moved now; the stages stay as they are")
	ErrOvertaken = errors.New("route: another node has just moved it: look again")
	// ErrUnread is what Behind says before the moves of others were read for
	// the first time.
	ErrUnread = errors.New("route: the moves of the other nodes have not been read yet")
)

// lookEvery is how often a node looks for moves of others.
const lookEvery = time.Second

var sharedBucket = []byte("route.shared") // app → list of its records

// loadShared reads what this node knew last of the moves of all nodes. An app
// of which it knew nothing has this node's own moves, to be offered to others.
func (j journal) loadShared(overrides map[string][]override) (map[string][]record, error) {
	all := make(map[string][]record)
	err := j.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(sharedBucket)
		if err != nil {
			return err
		}
		return b.ForEach(func(app, list []byte) error {
			var texts [][]byte
			if err := json.Unmarshal(list, &texts); err != nil {
				return err
			}
			all[string(app)], err = readRecords(string(app), texts)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("route: read the moves of all nodes: %w", err)
	}
	own, err := j.entries("")
	if err != nil {
		return nil, err
	}
	byApp := make(map[string][]Entry)
	for _, e := range own {
		byApp[e.App] = append(byApp[e.App], e)
	}
	for app, entries := range byApp {
		if all[app] != nil {
			continue
		}
		if all[app], err = recordsOf(entries, overrides[app]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (j journal) saveShared(app string, records []record) error {
	err := j.db.Update(func(tx *bbolt.Tx) error { return putJSON(tx.Bucket(sharedBucket), []byte(app), textsOf(records)) })
	if err != nil {
		return fmt.Errorf("route: keep the moves of all nodes: %w", err)
	}
	return nil
}

// Behind returns why this node may not know of the last moves of others; nil
// if it does, or if there are no others.
func (r *Router) Behind() error {
	if err := r.behind.Load(); err != nil {
		return *err
	}
	return nil
}

// Sync reads what other nodes have moved. Run does so all the time; whoever
// wants it done before it serves calls Sync first.
func (r *Router) Sync(ctx context.Context) error {
	if r.settings.Shared == nil {
		return nil
	}
	r.moving.Lock()
	defer r.moving.Unlock()
	var ids []string
	for _, app := range r.settings.Apps.All() {
		if app.Upstream != nil { // others have nothing to leave
			ids = append(ids, app.ID)
		}
	}
	err := r.look(ctx, ids...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.known(err)
	return err
}

// known notes, and logs once, whether this node knows what others know.
func (r *Router) known(err error) {
	was := r.Behind()
	if err == nil {
		r.behind.Store(nil)
		if was != nil {
			r.settings.Log.Info().Msg("the moves of all nodes are known")
		}
		return
	}
	if errors.Is(err, ErrAway) && errors.Is(was, ErrUnread) {
		err = fmt.Errorf("%w: %w", ErrUnread, err)
	}
	r.behind.Store(&err)
	if was == nil || was.Error() != err.Error() {
		r.settings.Log.Warn().Err(err).Msg("the moves of other nodes cannot be read")
	}
}

// look takes over what others have moved of some apps. moving is held.
func (r *Router) look(ctx context.Context, apps ...string) error {
	if len(apps) == 0 {
		return nil
	}
	lasts, err := r.settings.Shared.Last(ctx, apps)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	if len(lasts) != len(apps) {
		return fmt.Errorf("route: %d answers about %d apps", len(lasts), len(apps))
	}
	var errs []error
	for i, app := range apps {
		if !bytes.Equal(lasts[i], lastOf(r.current.Load().records[app]).text) {
			errs = append(errs, r.reconcile(ctx, app))
		}
	}
	return errors.Join(errs...)
}

// reconcile makes this node and the others know the same of an app: what they
// have forgotten is given back, else theirs is the word. moving is held.
func (r *Router) reconcile(ctx context.Context, app string) error {
	texts, err := r.settings.Shared.All(ctx, app)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	theirs, err := readRecords(app, texts)
	if err != nil {
		return err
	}
	mine, last := r.current.Load().records[app], lastOf(theirs).text
	known := slices.IndexFunc(mine, func(m record) bool { return bytes.Equal(m.text, last) }) + 1
	if known == 0 && len(theirs) > 0 {
		return r.adopt(app, theirs)
	}
	if known < len(mine) {
		done, err := r.settings.Shared.Append(ctx, app, last, textsOf(mine[known:]), maxRecords)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrAway, err)
		case !done:
			return ErrOvertaken // the next look finds what it was
		}
		r.settings.Log.Info().Str("app", app).Int("moves", len(mine)-known).Msg("gave the other nodes the moves that they did not know")
	}
	return r.adopt(app, mine)
}

// share offers a move, and what is then left of it, to all nodes, and puts it
// into force here. moving is held.
func (r *Router) share(ctx context.Context, e *Entry, o *override) error {
	t := r.current.Load()
	known := t.records[e.App]
	e.Seq = lastOf(known).Seq + 1
	holds := without(t.overrides[e.App], e.Channels)
	if o != nil {
		o.Seq = e.Seq
		holds = insert(holds, *o)
	}
	added, err := newRecord(*e, holds)
	if err != nil {
		return err
	}
	done, err := r.settings.Shared.Append(ctx, e.App, lastOf(known).text, [][]byte{added.text}, maxRecords)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrAway, err)
	case !done:
		return ErrOvertaken
	}
	if err := r.adopt(e.App, append(slices.Clip(known), added)); err != nil {
		return err
	}
	if r.settings.Moved != nil {
		r.settings.Moved(ctx)
	}
	return nil
}

// adopt puts an app's records into force, and keeps them for a time when
// others cannot be asked. moving is held.
func (r *Router) adopt(app string, records []record) error {
	records = records[max(len(records)-maxRecords, 0):]
	if err := r.journal.saveShared(app, records); err != nil {
		return err
	}
	t := r.current.Load()
	had := lastOf(t.records[app])
	for i, m := range records {
		if m.Seq > had.Seq && (had.Seq > 0 || i == len(records)-1) { // all that was before a node's time is no news
			r.log(m.Entry)
		}
	}
	if had.text != nil && !slices.ContainsFunc(records, func(m record) bool { return bytes.Equal(m.text, had.text) }) {
		r.settings.Log.Warn().Str("app", app).Uint64("seq", had.Seq).Stringer("move", had.Move).
			Msg("the other nodes do not know the last move that was made here: theirs hold")
	}
	overrides, all := maps.Clone(t.overrides), maps.Clone(t.records)
	overrides[app], all[app] = lastOf(records).Holds, records
	r.swap(overrides, all)
	return nil
}

// sharedHistory is an app's moves on all nodes, and between them what was
// noted on this one: notes have no number, as no other node knows them.
func (r *Router) sharedHistory(app string) ([]Entry, error) {
	entries, err := r.journal.entries(app)
	if err != nil {
		return nil, err
	}
	notes := slices.DeleteFunc(entries, func(e Entry) bool { return e.Note == "" })
	all := r.current.Load().records
	var history []Entry
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if app != "" && app != id {
			continue
		}
		for _, m := range all[id] {
			history = append(history, m.Entry)
		}
	}
	// Moves stay in their order, though clocks of nodes differ.
	for _, n := range notes {
		n.Seq = 0
		i := slices.IndexFunc(history, func(e Entry) bool { return e.At.After(n.At) })
		if i < 0 {
			i = len(history)
		}
		history = slices.Insert(history, i, n)
	}
	return history, nil
}
