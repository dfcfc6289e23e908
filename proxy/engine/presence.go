package engine

import (
	"context"
	"errors"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// roster is the users that the subscribers of a presence channel here have
// been told of. The truth is Presence's, and changes of it on other nodes
// come as news, after a while and not in step with the answers of Presence.
// So every change goes through the roster: from an answer or from news, a
// user is told of once. It means something while somebody is subscribed.
//
// Guarded by rare.mu.
type roster struct {
	known map[string]int // the user's sockets here; 0: on other nodes only
	busy  bool           // Presence is being asked: news waits for its answer
	news  []*proxy.Event // that waits
}

// maxNews bounds the news that wait for one answer of Presence. More is
// dropped and counted; the next answer makes up for it.
const maxNews = 1024

// enter adds c to the members of a presence channel. The caller has the
// channel's turn, and goes on with enroll unless there is an error: until
// then news waits.
func (e *Engine) enter(app *proxy.App, c *Conn, ch *channel, m *protocol.Member) ([]protocol.Member, bool, *protocol.Error) {
	limit := app.Limits.PresenceMembers
	ch.rare.await()
	members, first, err := e.presence.Join(context.Background(), ch.topic(), *m, c.id, limit)
	if err != nil {
		ch.rare.mu.Lock()
		defer ch.rare.mu.Unlock()
		e.catchUp(ch)
		if errors.Is(err, proxy.ErrChannelFull) {
			return nil, false, protocol.ErrPresenceFull(ch.name, limit)
		}
		e.failed(err, ch.topic(), "join a presence channel")
		return nil, false, protocol.ErrUnavailable
	}
	if first {
		e.tell(&proxy.Event{Topic: ch.topic(), Name: newsMemberAdded, UserID: m.UserID, Data: m.Info})
	}
	return members, first, nil
}

// exit takes a subscription that has left its group off the members, and
// reports whether it was the user's last. The caller has the channel's turn.
func (e *Engine) exit(c *Conn, sub *subscription) (last bool) {
	ch := sub.channel
	ch.rare.await()
	last, err := e.presence.Leave(context.Background(), ch.topic(), sub.userID, c.id)
	if err != nil {
		e.failed(err, ch.topic(), "leave a presence channel")
	}
	removed := &proxy.Event{Topic: ch.topic(), Name: newsMemberRemoved, UserID: sub.userID}
	e.strike(ch, removed, last)
	if last {
		e.tell(removed)
		e.correct(ch, sub.userID, newsMemberAdded)
	}
	return last
}

// strike takes a socket, and if it was the last its user, off the roster.
func (e *Engine) strike(ch *channel, removed *proxy.Event, last bool) {
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	ch.rare.roster.known[removed.UserID]--
	if last {
		e.apply(ch, removed)
	}
	e.catchUp(ch)
}

// correct makes up for a user who has come back on another node before this
// one has told of the end: the two may have been told the wrong way round, so
// the news of the arrival are told once more. Whoever comes later than the
// answer of Presence tells of it after the end.
func (e *Engine) correct(ch *channel, userID, arrival string) {
	members, err := e.presence.Members(context.Background(), ch.topic())
	if err != nil {
		e.failed(err, ch.topic(), "see whether a user is back")
		return
	}
	for _, m := range members {
		if m.UserID == userID {
			e.tell(&proxy.Event{Topic: ch.topic(), Name: arrival, UserID: userID, Data: m.Info})
		}
	}
}

// await has news wait until Presence has answered.
func (r *rare) await() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roster.busy = true
}

// reconcile takes over an answer of Presence: it tells those who are
// subscribed what is new in it. The caller has rare.mu.
func (e *Engine) reconcile(ch *channel, members []protocol.Member) {
	r := &ch.rare.roster
	if r.known == nil {
		r.known = make(map[string]int, len(members))
	}
	for _, m := range members {
		if _, is := r.known[m.UserID]; !is {
			r.known[m.UserID] = 0
			e.append(ch, protocol.AppendMemberAdded(nil, ch.name, m))
		}
	}
	if len(r.known) > len(members) {
		e.dismiss(ch, members)
	}
}

// dismiss takes those off the roster who are not members any more. Whoever
// has sockets here stays, whatever Presence has lost.
func (e *Engine) dismiss(ch *channel, members []protocol.Member) {
	present := make(map[string]bool, len(members))
	for _, m := range members {
		present[m.UserID] = true
	}
	for id, sockets := range ch.rare.roster.known {
		if !present[id] && sockets <= 0 {
			delete(ch.rare.roster.known, id)
			e.append(ch, protocol.AppendMemberRemoved(nil, ch.name, id))
		}
	}
}

// catchUp applies the news that have waited. The caller has rare.mu.
func (e *Engine) catchUp(ch *channel) {
	r := &ch.rare.roster
	for _, ev := range r.news {
		e.apply(ch, ev)
	}
	r.news, r.busy = nil, false
	if ch.group.Len() == 0 {
		r.known = nil
	}
}

// deliverMember takes news of a member to those who are subscribed here.
func (e *Engine) deliverMember(ch *channel, ev *proxy.Event) {
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	r := &ch.rare.roster
	switch {
	case !r.busy:
		e.apply(ch, ev)
	case len(r.news) < maxNews:
		r.news = append(r.news, ev)
	default:
		e.backendErrors.Add(1)
	}
}

// apply tells of a member who has come or gone, unless that is known. News
// that a user with sockets here has gone is of an earlier time. The caller
// has rare.mu.
func (e *Engine) apply(ch *channel, ev *proxy.Event) {
	known := ch.rare.roster.known
	if known == nil {
		return // nobody is subscribed
	}
	sockets, is := known[ev.UserID]
	switch arrived := ev.Name == newsMemberAdded; {
	case arrived && !is:
		known[ev.UserID] = 0
		e.append(ch, protocol.AppendMemberAdded(nil, ch.name, protocol.Member{UserID: ev.UserID, Info: ev.Data}))
	case !arrived && is && sockets <= 0:
		delete(known, ev.UserID)
		e.append(ch, protocol.AppendMemberRemoved(nil, ch.name, ev.UserID))
	}
}

// append queues a frame for everybody on a channel.
func (e *Engine) append(ch *channel, frame []byte) { ch.group.Append(e.flusher, frame, nil, nil) }
