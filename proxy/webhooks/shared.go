package webhooks

import (
	"context"

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
