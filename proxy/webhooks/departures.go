package webhooks

import (
	"context"
	"time"
)

// Departures lets the outboxes of several nodes hold departures back together:
// a user who leaves on one node and comes back on another within the delay has
// not left. Both calls bound their time.
type Departures interface {
	// Hold notes a departure.
	Hold(ctx context.Context, key string, expires time.Duration) error
	// Take ends a note, and reports whether there was one. Of several callers
	// one gets true: the one who tells of the departure when it is due, or
	// the one who saw the return.
	Take(ctx context.Context, key string) (bool, error)
}

// heldFor is how long a node that was killed while it held a departure back
// may be away and still tell of it.
const heldFor = 24 * time.Hour

// hold notes a departure for the other nodes. If that fails, it is told
// whatever they see.
func (o *Outbox) hold(s subject) {
	if o.settings.Departures == nil {
		return
	}
	if err := o.settings.Departures.Hold(context.Background(), string(s.key()), heldFor); err != nil {
		o.truth.alone[s] = true
		o.settings.Log.Warn().Err(err).Str("app", s.topic.App).Msg("a departure is held back by this node alone")
	}
}

// returned reports whether another node has seen the subject of a departure
// that is due come back.
func (o *Outbox) returned(s subject) bool {
	if o.settings.Departures == nil {
		return false
	}
	if o.truth.alone[s] {
		delete(o.truth.alone, s)
		return false
	}
	mine, err := o.settings.Departures.Take(context.Background(), string(s.key()))
	if err != nil {
		o.settings.Log.Warn().Err(err).Str("app", s.topic.App).Msg("a departure is told without asking the other nodes")
	}
	return err == nil && !mine
}

// cancel ends the departure of a subject that is back, and reports whether
// another node, or this one, was holding it back.
func (o *Outbox) cancel(s subject) bool {
	if o.settings.Departures == nil {
		return false
	}
	delete(o.truth.alone, s)
	held, err := o.settings.Departures.Take(context.Background(), string(s.key()))
	if err != nil {
		o.settings.Log.Warn().Err(err).Str("app", s.topic.App).Msg("an arrival is told without asking the other nodes")
	}
	return held
}
