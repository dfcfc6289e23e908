package upstream

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	queuedJoins = 16384
	// settleAfter is how long a member who left here may still be listed at
	// the vendor before it is taken for somebody there of the same name.
	settleAfter = 2 * time.Second
)

// people makes the members of a presence channel the same on both sides, by
// ghosts (ghosts.go): a user who is here is shown at the vendor by a
// connection of its own there, and a user who is there by one in the engine.
// Each side's own rules do the rest.
//
// One ghost per channel, its eye, is always there, to see who is at the
// vendor. The others cost a connection each and are made only where somebody
// is: a room that is whole on this side needs none.
type people struct {
	bridge *bridge
	joins  chan proxy.Record // of sockets here, ghosts among them
	news   chan ghostNews
	nudged chan struct{} // a ghost here has ended
	coming chan *arrival // users who are about to join
	late   atomic.Bool   // somebody has waited in vain, and nothing was confirmed since

	// Owned by run.
	rooms map[protocol.ChannelName]*shared
	there map[string]*ghost // at the vendor, by user

	mu   sync.Mutex
	here map[protocol.SocketID]protocol.ChannelName // ghosts in the engine, and where
	eyes map[protocol.ChannelName]*ghost            // by what they see
	says map[string]*ghost                          // as there, for other goroutines
}

// shared is a presence channel that has members here.
type shared struct {
	sockets map[protocol.SocketID]string // of users who are really here
	ghosts  map[string]*ghostHere        // users of the vendor, by id
	leaving map[string]time.Time         // users who left here, until when that may take
	data    map[string]string            // channel_data of users who are about to join
	// open is set once somebody was at the vendor. From then on all users are
	// shown there: whether one of them is there as well can no longer be told.
	open bool
}

func (s *shared) users() map[string]bool {
	users := make(map[string]bool, len(s.sockets))
	for _, user := range s.sockets {
		users[user] = true
	}
	return users
}

func newPeople(b *bridge) *people {
	return &people{
		bridge: b, joins: make(chan proxy.Record, queuedJoins), news: make(chan ghostNews), nudged: make(chan struct{}, 1), coming: make(chan *arrival),
		rooms: make(map[protocol.ChannelName]*shared), there: make(map[string]*ghost),
		here: make(map[protocol.SocketID]protocol.ChannelName), eyes: make(map[protocol.ChannelName]*ghost), says: make(map[string]*ghost),
	}
}

// take takes in that a socket here joined or left. It never waits.
func (p *people) take(rec proxy.Record) {
	select {
	case p.joins <- rec:
	default:
		p.bridge.relay.settings.Log.Error().Str("app", p.bridge.id).Str("channel", string(rec.Topic.Channel)).
			Msg("more joins and leaves than can be bridged: the sides' members may differ until the channel is vacated")
	}
}

// run compares what is with what should be, whenever anything has changed.
func (p *people) run(ctx context.Context) {
	defer p.end()
	p.meet()
	p.settleAll(ctx)
	later := time.NewTimer(settleAfter)
	defer later.Stop()
	for {
		select {
		case rec := <-p.joins:
			p.moved(rec)
			p.settle(ctx, rec.Topic.Channel)
		case n := <-p.news:
			p.learn(ctx, n)
			p.settle(ctx, n.frame.channel)
		case <-p.nudged:
			p.settleAll(ctx)
		case a := <-p.coming:
			p.expect(ctx, a)
		case <-later.C:
			p.settleAll(ctx)
			later.Reset(settleAfter)
		case <-ctx.Done():
			return
		}
	}
}

// meet takes in who is here already. Ghosts of an earlier bridge may not all
// have gone yet.
func (p *people) meet() {
	for _, a := range p.bridge.relay.settings.Engine.Attendances(p.bridge.id) {
		if a.Client.Transport != ghostTransport && p.bridge.shared(a.Channel) {
			p.moved(proxy.Record{
				Kind: proxy.KindSubscribed, Topic: proxy.Topic{App: p.bridge.id, Channel: a.Channel}, Socket: a.Socket, UserID: a.UserID,
			})
		}
	}
}

func (p *people) settleAll(ctx context.Context) {
	for _, channel := range slices.Sorted(maps.Keys(p.rooms)) {
		p.settle(ctx, channel)
	}
}

// moved notes that a socket here joined or left. Ghosts do not count.
func (p *people) moved(rec proxy.Record) {
	p.mu.Lock()
	_, ghost := p.here[rec.Socket]
	if rec.Kind == proxy.KindUnsubscribed {
		delete(p.here, rec.Socket)
	}
	p.mu.Unlock()
	if ghost {
		return
	}
	room := p.rooms[rec.Topic.Channel]
	if room == nil {
		room = &shared{
			sockets: map[protocol.SocketID]string{}, ghosts: map[string]*ghostHere{}, leaving: map[string]time.Time{}, data: map[string]string{},
		}
		p.rooms[rec.Topic.Channel] = room
	}
	if rec.Kind == proxy.KindSubscribed {
		room.sockets[rec.Socket] = rec.UserID
		delete(room.data, rec.UserID)
		delete(room.leaving, rec.UserID)
		return
	}
	delete(room.sockets, rec.Socket)
	room.leaving[rec.UserID] = time.Now().Add(settleAfter)
}

// learn takes in what a ghost was told.
func (p *people) learn(ctx context.Context, n ghostNews) {
	seen := n.ghost.sees[n.frame.channel]
	switch n.frame.event {
	case "pusher_internal:subscription_succeeded":
		p.late.Store(false)
		n.ghost.sees[n.frame.channel] = membersOf(n.frame)
	case "pusher_internal:member_added":
		if member := gjson.ParseBytes(n.frame.content()); seen != nil {
			seen[member.Get("user_id").String()] = []byte(member.Get("user_info").Raw)
		}
	case "pusher_internal:member_removed":
		delete(seen, gjson.GetBytes(n.frame.content(), "user_id").String())
	default:
		if p.eye(n.frame.channel) == n.ghost { // all of them are told
			p.bridge.arrived(ctx, n.frame)
		}
	}
}

// membersOf returns who a presence channel's confirmation lists, with their
// info. Some servers leave those out of the hash that have none.
func membersOf(f serverFrame) map[string][]byte {
	members := make(map[string][]byte)
	presence := gjson.GetBytes(f.content(), "presence")
	for _, id := range presence.Get("ids").Array() {
		members[id.String()] = nil
	}
	presence.Get("hash").ForEach(func(id, info gjson.Result) bool {
		members[id.String()] = []byte(info.Raw)
		return true
	})
	return members
}

// settle makes a channel's ghosts those that it should have.
func (p *people) settle(ctx context.Context, channel protocol.ChannelName) {
	room := p.rooms[channel]
	if room == nil {
		return
	}
	users := room.users()
	for user, g := range p.there {
		if !users[user] {
			p.withdraw(g, channel)
		}
	}
	if len(users) == 0 {
		p.vacate(channel, room)
		return
	}
	eye := p.choose(ctx, channel, users)
	if eye == nil || eye.sees[channel] == nil {
		return // not told yet who is there
	}
	strangers := p.strangers(channel, room, eye.sees[channel])
	if room.open = room.open || len(strangers) > 0; room.open {
		for user := range users {
			p.show(ctx, user, channel)
		}
	}
	p.haunt(channel, room, strangers, users)
}

// strangers returns who is at the vendor and is not a ghost of ours.
func (p *people) strangers(channel protocol.ChannelName, room *shared, seen map[string][]byte) map[string][]byte {
	strangers := make(map[string][]byte)
	now := time.Now()
	for user, info := range seen {
		if g := p.there[user]; g != nil && g.on(channel) {
			continue
		}
		if until, ok := room.leaving[user]; ok && now.Before(until) {
			continue
		}
		strangers[user] = info
	}
	for user, until := range room.leaving {
		if !now.Before(until) {
			delete(room.leaving, user)
		}
	}
	return strangers
}

// choose returns the ghost that sees a channel, made if need be; nil when
// there are too many.
func (p *people) choose(ctx context.Context, channel protocol.ChannelName, users map[string]bool) *ghost {
	if eye := p.eye(channel); eye != nil && users[eye.user] && eye.on(channel) {
		return eye
	}
	var eye *ghost
	for _, user := range slices.Sorted(maps.Keys(users)) {
		if g := p.there[user]; g != nil && g.sees[channel] != nil {
			eye = g
			break
		}
	}
	if eye == nil {
		eye = p.show(ctx, slices.Min(slices.Collect(maps.Keys(users))), channel)
	}
	if eye != nil {
		p.mu.Lock()
		p.eyes[channel] = eye
		p.mu.Unlock()
	}
	return eye
}

func (p *people) eye(channel protocol.ChannelName) *ghost {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.eyes[channel]
}

// voice returns the connection on which a user's client events are said.
func (p *people) voice(user string) *ghost {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.says[user]
}

// vacate ends a channel on which nobody is here any more.
func (p *people) vacate(channel protocol.ChannelName, room *shared) {
	for user, g := range room.ghosts {
		g.end()
		delete(room.ghosts, user)
	}
	delete(p.rooms, channel)
	p.mu.Lock()
	delete(p.eyes, channel)
	p.mu.Unlock()
}

// end ends every ghost.
func (p *people) end() {
	for channel, room := range p.rooms {
		p.vacate(channel, room)
	}
	for _, g := range p.there {
		g.end()
	}
}
