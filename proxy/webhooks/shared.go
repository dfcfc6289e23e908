package webhooks

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Told is what receivers were told by any node to be there. With it, the
// outboxes of several nodes tell of each change once, whichever has seen it:
// a user who leaves on one node and comes back on another has not left, in
// whatever order the two hear of it. Both calls bound their time.
type Told interface {
	// Arrived notes that receivers are told of a channel, or of a user who is a
	// member, and reports whether they have not been told before.
	Arrived(ctx context.Context, t proxy.Topic, member bool, userID string) (news bool, err error)
	// Departed forgets it, and reports whether receivers have to be told: not
	// if it is there, on whatever node, or was forgotten before.
	Departed(ctx context.Context, t proxy.Topic, member bool, userID string) (news bool, err error)
	// Upstream notes what the upstream has said at a time by its own clock: a
	// channel is occupied, or a member there, as long as the upstream says so.
	// fresh is false if it has said something newer already, to any node.
	Upstream(ctx context.Context, t proxy.Topic, member bool, userID string, there bool, said time.Time) (fresh bool, err error)
	// UpstreamSeen is Upstream for what the upstream answered when it was asked,
	// that long ago. fresh is false if it has said something since.
	UpstreamSeen(ctx context.Context, t proxy.Topic, member bool, userID string, there bool, ago time.Duration) (fresh bool, err error)
	// AtUpstream shows what is there of an app by the word of the upstream.
	AtUpstream(ctx context.Context, app string, show func(t proxy.Topic, member bool, userID string)) error
}

// freshShared has all nodes know what the upstream says, and leaves out what
// it has taken back already. After an error nothing is taken in: the upstream
// says it again.
func (o *Outbox) freshShared(ctx context.Context, events []proxy.Record) ([]proxy.Record, error) {
	fresh := make([]proxy.Record, 0, len(events))
	for _, r := range events {
		if s, ok := subjectOfRecord(r); ok {
			is, err := o.settings.Told.Upstream(ctx, s.topic, s.member, s.userID, r.Kind == s.kind(), r.From)
			if err != nil {
				return nil, err
			}
			if !is {
				continue
			}
		}
		fresh = append(fresh, r)
	}
	return fresh, nil
}

// adoptShared has all nodes know who is at the upstream. That there ever was a
// snapshot is kept as a channel without a name.
func (o *Outbox) adoptShared(ctx context.Context, snap *snapshot) error {
	app, ok := o.settings.Apps.ByID(snap.app)
	if !ok {
		return nil
	}
	mark := subject{topic: proxy.Topic{App: snap.app}}
	was := make(map[subject]bool)
	err := o.settings.Told.AtUpstream(ctx, snap.app, func(t proxy.Topic, member bool, userID string) {
		was[subject{t, member, userID}] = true
	})
	if err != nil {
		return err
	}
	var items []item
	seen := func(s subject, there bool) error {
		fresh, err := o.settings.Told.UpstreamSeen(ctx, s.topic, s.member, s.userID, there, time.Since(snap.asked))
		if err == nil && fresh && s != mark {
			items = append(items, item{Record: s.record(there), passed: there && !was[mark]})
		}
		return err
	}
	is := make(map[subject]bool)
	for _, s := range snap.subjects(func(k proxy.Kind) bool { return wants(app, k) }) {
		is[s] = true
		if !was[s] {
			if err := seen(s, true); err != nil {
				return err
			}
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(was), membersFirst) {
		if s != mark && !is[s] && snap.knows(s) {
			if err := seen(s, false); err != nil {
				return err
			}
		}
	}
	if !was[mark] {
		if err := seen(mark, true); err != nil {
			return err
		}
	}
	return o.insert(ctx, items...)
}

// record is the upstream's word on a subject.
func (s subject) record(there bool) proxy.Record {
	kind := s.kind()
	switch {
	case there:
	case s.member:
		kind = proxy.KindMemberRemoved
	default:
		kind = proxy.KindVacated
	}
	return proxy.Record{Kind: kind, At: time.Now(), Leg: proxy.LegVendor, Topic: s.topic, UserID: s.userID}
}

// arrived reports whether the arrival of a subject is news to receivers on
// all nodes. If nobody can say, it is.
func (o *Outbox) arrived(s subject) (news bool) {
	news, err := o.settings.Told.Arrived(context.Background(), s.topic, s.member, s.userID)
	if err != nil {
		o.settings.Log.Warn().Err(err).Str("app", s.topic.App).Msg("an arrival is told without asking the other nodes")
		return true
	}
	return news
}

// departed reports whether a departure that is due is to be told. If nobody
// can say, it is held back for once more, and asked is false.
func (o *Outbox) departed(s subject) (news, asked bool) {
	if o.settings.Told == nil {
		return true, true
	}
	news, err := o.settings.Told.Departed(context.Background(), s.topic, s.member, s.userID)
	if err != nil {
		o.settings.Log.Warn().Err(err).Str("app", s.topic.App).Msg("a departure is held back until the other nodes can be asked")
	}
	return news, err == nil
}
