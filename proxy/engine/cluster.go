package engine

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// tally says how many subscriptions a channel has here, after one change, and
// returns how many it has on all nodes. When the other nodes cannot be asked,
// which known says, no change is taken for the first or last of its kind:
// Occupancy tells of it later if it was. The caller has the channel's turn.
func (e *Engine) tally(ch *channel, here, before int) (count proxy.Count, known bool) {
	if e.occupancy == nil || ch.hidden() {
		return proxy.Count{Before: before, After: here}, true
	}
	count, err := e.occupancy.Set(context.Background(), ch.topic(), here)
	if err != nil {
		e.failed(err, ch.topic(), "tell the number of subscriptions")
		e.repairs.add(ch.topic(), true)
		return proxy.Count{Before: max(before, 1), After: max(here, 1)}, false
	}
	return count, true
}

// total returns a channel's subscriptions on all nodes, if the others can be
// asked; else they are looked at later.
func (e *Engine) total(ch *channel) (count int, known bool) {
	if e.occupancy == nil {
		return ch.group.Len(), true
	}
	count, err := e.occupancy.Count(context.Background(), ch.topic())
	if err != nil {
		e.failed(err, ch.topic(), "ask for the number of subscriptions")
		e.repairs.add(ch.topic(), true)
	}
	return count, err == nil
}

// tellCountEverywhere tells the subscribers on all nodes. Two nodes may tell
// at once, and the older count last: so the count is looked at afterwards,
// and told once more if it is another one. Whoever tells last looks last. The
// caller has the channel's turn.
func (e *Engine) tellCountEverywhere(ch *channel, count int) {
	for range maxCorrections {
		e.tell(&proxy.Event{Topic: ch.topic(), Name: newsCount, Data: strconv.AppendInt(nil, int64(count), 10)})
		now, known := e.total(ch)
		if now == count || !known {
			return
		}
		count = now
	}
}

// maxCorrections bounds how often one change has a count told. A channel that
// changes faster has its count told by those changes.
const maxCorrections = 3

// deliverCount tells those who are subscribed here.
func (e *Engine) deliverCount(ch *channel, ev *proxy.Event) {
	count, err := strconv.Atoi(string(ev.Data))
	if err != nil || count < 0 {
		e.backendErrors.Add(1)
		return
	}
	ch.told.Store(int32(min(count, math.MaxInt32)))
	e.append(ch, protocol.AppendSubscriptionCount(nil, ch.name, count))
}

// channelsEverywhere is Channels for several nodes.
func (e *Engine) channelsEverywhere(ctx context.Context, app, prefix string) ([]ChannelState, error) {
	counts, err := e.occupancy.Channels(ctx, app)
	if err != nil {
		e.backendErrors.Add(1)
		return nil, fmt.Errorf("engine: channels of app %s: %w", app, err)
	}
	var states []ChannelState
	for name, count := range counts {
		if name[0] == '#' || !strings.HasPrefix(string(name), prefix) || count <= 0 {
			continue
		}
		users, err := e.userCount(ctx, proxy.Topic{App: app, Channel: name})
		if err != nil {
			return nil, err
		}
		states = append(states, ChannelState{Name: name, Occupied: true, SubscriptionCount: count, UserCount: users})
	}
	return states, nil
}

// Apply tells of a change that Presence or Occupancy has found, such as that
// a user is gone whose node has died.
func (e *Engine) Apply(c proxy.Change) {
	ch := e.tenant(c.Topic.App).acquire(c.Topic.Channel)
	defer ch.release()
	switch c.Kind {
	case proxy.MemberGone:
		e.memberGone(ch, c.Member.UserID)
	case proxy.MemberBack:
		if ch.name.Kind() == protocol.Presence {
			e.tell(&proxy.Event{Topic: c.Topic, Name: newsMemberAdded, UserID: c.Member.UserID, Data: c.Member.Info})
		}
	case proxy.ChannelVacated:
		e.changed(ch, proxy.KindVacated)
	case proxy.ChannelOccupied:
		e.changed(ch, proxy.KindOccupied)
	}
}

func (e *Engine) changed(ch *channel, kind proxy.Kind) {
	if !ch.hidden() {
		e.offer(proxy.Record{Kind: kind, Topic: ch.topic()})
	}
}

func (e *Engine) memberGone(ch *channel, userID string) {
	removed, added := newsMemberRemoved, newsMemberAdded
	if strings.HasPrefix(string(ch.name), accountPrefix) {
		removed, added = newsOffline, newsOnline
	} else {
		e.offer(proxy.Record{Kind: proxy.KindMemberRemoved, Topic: ch.topic(), UserID: userID})
	}
	e.tell(&proxy.Event{Topic: ch.topic(), Name: removed, UserID: userID})
	e.correct(ch, userID, added)
}

// Resync makes up for what may have been missed: Run asks who is on each
// presence channel, which watched users are online, how many subscribe and
// what each cache channel keeps, and tells the subscribers here what is new to
// them. It does not wait for that.
func (e *Engine) Resync() {
	select {
	case e.resyncs <- struct{}{}:
	default: // it is about to be done
	}
}

func (e *Engine) resyncWhenAsked(ctx context.Context) {
	for {
		select {
		case <-e.resyncs:
			e.resyncAll()
			for done := false; !done && ctx.Err() == nil; {
				done = e.resyncCaches(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (e *Engine) resyncAll() {
	e.eachChannel(func(ch *channel) {
		if ch.group.Len() > 0 {
			e.repairs.add(ch.topic(), false)
		}
	})
}

// eachChannel calls f for every channel of every app that somebody holds.
func (e *Engine) eachChannel(f func(*channel)) {
	for _, t := range *e.tenants.Load() {
		t.each(f)
	}
}
