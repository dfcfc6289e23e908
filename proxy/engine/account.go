package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// login is a connection's sign-in.
type login struct {
	user    protocol.User
	account *channel   // held
	watches *watchlist // nil: none
}

// An account is the internal channel of one user: its signed-in sockets are
// the channel's presence, those who watch the user are its group. That makes
// "online" mean the same on every node, and news of it travel like any event.

// signIn ties c to the user's account. The first connection of a user that
// does so brings the user online.
func (e *Engine) signIn(c *Conn, user protocol.User) *protocol.Error {
	if c.login != nil {
		if c.login.user.ID != user.ID {
			return protocol.ErrSignedIn
		}
		c.login.unwatch(e)
		c.setLogin(&login{user: user, account: c.login.account})
		return nil
	}
	account := c.tenant.acquire(accountName(user.ID))
	if err := e.attend(c, account, user); err != nil {
		account.release()
		return err
	}
	c.setLogin(&login{user: user, account: account})
	return nil
}

func (c *Conn) setLogin(l *login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.login = l
}

func (e *Engine) attend(c *Conn, account *channel, user protocol.User) *protocol.Error {
	account.turn.Lock()
	defer account.turn.Unlock()
	if err := e.listen(account); err != nil {
		return err
	}
	_, first, err := e.presence.Join(context.Background(), account.topic(), protocol.Member{UserID: user.ID}, c.id, 1)
	if err != nil {
		e.failed(err, account.topic(), "sign a user in")
		e.unlisten(account)
		return protocol.ErrUnavailable
	}
	account.rare.attend(c)
	if first {
		e.tell(&proxy.Event{Topic: account.topic(), Name: newsOnline, UserID: user.ID})
	}
	return nil
}

// signOut undoes signIn when a connection ends.
func (e *Engine) signOut(c *Conn) {
	l := c.login
	l.unwatch(e)
	c.setLogin(nil)
	defer l.account.release()
	l.account.turn.Lock()
	defer l.account.turn.Unlock()
	l.account.rare.depart(c)
	last, err := e.presence.Leave(context.Background(), l.account.topic(), l.user.ID, c.id)
	if err != nil {
		e.failed(err, l.account.topic(), "sign a user out")
	}
	if last {
		e.tell(&proxy.Event{Topic: l.account.topic(), Name: newsOffline, UserID: l.user.ID})
		e.correct(l.account, l.user.ID, newsOnline)
	}
	e.unlisten(l.account)
}

func (r *rare) attend(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signedIn = append(r.signedIn, c)
}

func (r *rare) depart(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.signedIn, c); i >= 0 {
		r.signedIn = slices.Delete(r.signedIn, i, i+1)
	}
}

// attended reports whether the channel is the account of a user who is signed
// in here.
func (ch *channel) attended() bool {
	if ch.rare == nil {
		return false
	}
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	return len(ch.rare.signedIn) > 0
}

// terminate ends the account's connections on this node.
func (ch *channel) terminate() {
	ch.rare.mu.Lock()
	conns := slices.Clone(ch.rare.signedIn)
	ch.rare.mu.Unlock()
	for _, c := range conns {
		c.end(protocol.ErrTerminated)
	}
}

// watchlist is the users that a connection watches. It stands between their
// accounts' groups and the outlet, since the news of one user may come while
// the states of the others are still being gathered: it is held until the
// client has been told how things stand.
type watchlist struct {
	watches []watch // members of groups: never moved
	out     fanout.Outlet

	mu   sync.Mutex
	held []heldBatch
	open bool
}

type watch struct {
	member  fanout.Member
	account *channel // held
}

type heldBatch struct {
	batch *fanout.Batch
	from  int
}

// maxHeld bounds what a watchlist holds back; a client whose friends come and
// go faster than that while it signs in is ended by its outlet's false.
const maxHeld = 1024

// Send implements fanout.Outlet.
func (w *watchlist) Send(b *fanout.Batch, from int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open {
		return w.out.Send(b, from)
	}
	if len(w.held) == maxHeld {
		return false
	}
	w.held = append(w.held, heldBatch{b, from})
	return true
}

// begin sends how things stand, and then what has been held.
func (w *watchlist) begin(state []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Send(fanout.One(state), 0)
	for _, h := range w.held {
		w.out.Send(h.batch, h.from)
	}
	w.held, w.open = nil, true
}

// watch tells c which of the users are online, and from then on each change.
func (e *Engine) watch(c *Conn, ids []string) {
	w := &watchlist{out: c.out, watches: make([]watch, len(ids))}
	var online, offline []string
	for i, id := range ids {
		w.watches[i] = watch{member: fanout.Member{Outlet: w}, account: c.tenant.acquire(accountName(id))}
		if e.follow(&w.watches[i]) {
			online = append(online, id)
		} else {
			offline = append(offline, id)
		}
	}
	c.login.watches = w
	w.begin(protocol.AppendWatchlist(nil, online, offline))
}

// follow adds a watch to its account's group and reports whether the user is
// online. Under the account's turn neither can miss a change.
func (e *Engine) follow(w *watch) (online bool) {
	w.account.turn.Lock()
	defer w.account.turn.Unlock()
	if e.listen(w.account) != nil { // counted and logged; the watch shows this node's users only, until it is repaired
		e.repairs.add(w.account.topic(), false)
	}
	w.account.group.Join(&w.member, nil)
	heard, _ := w.account.rare.standing()
	members, err := e.presence.Members(context.Background(), w.account.topic())
	if err != nil {
		e.failed(err, w.account.topic(), "see whether a user is online")
		e.repairs.add(w.account.topic(), false)
	}
	w.account.rare.learn(heard, len(members) > 0)
	return len(members) > 0
}

// unwatch ends the login's watches.
func (l *login) unwatch(e *Engine) {
	if l.watches == nil {
		return
	}
	for i := range l.watches.watches {
		e.unfollow(&l.watches.watches[i])
	}
	l.watches = nil
}

func (e *Engine) unfollow(w *watch) {
	defer w.account.release()
	w.account.turn.Lock()
	defer w.account.turn.Unlock()
	w.account.group.Leave(&w.member)
	e.unlisten(w.account)
}
