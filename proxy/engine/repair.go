package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// repairs is what this node makes up for: channels that it has to look at
// again, as news of them may have been missed, and such that the other nodes
// have to look at, as telling them has failed. Looking compares what the
// subscribers here were told with the truth, and tells the difference: it may
// be done at any time, and as often as one likes.
type repairs struct {
	wake chan struct{} // capacity 1: there is something to do

	mu     sync.Mutex
	topics map[proxy.Topic]bool // true: the other nodes, too
}

// repairPause is the time between attempts while the others cannot be reached.
const repairPause = time.Second

func newRepairs() repairs {
	return repairs{wake: make(chan struct{}, 1), topics: make(map[proxy.Topic]bool)}
}

// add files a channel.
func (r *repairs) add(t proxy.Topic, everywhere bool) {
	r.mu.Lock()
	r.topics[t] = r.topics[t] || everywhere
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// take returns what there is, and leaves nothing.
func (r *repairs) take() map[proxy.Topic]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	topics := r.topics
	r.topics = make(map[proxy.Topic]bool)
	return topics
}

func (r *repairs) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.topics)
}

// repair does what is filed until ctx ends.
func (e *Engine) repair(ctx context.Context) {
	for {
		select {
		case <-e.repairs.wake:
		case <-ctx.Done():
			return
		}
		for !e.repairAll(ctx) {
			select {
			case <-time.After(repairPause):
			case <-ctx.Done():
				return
			}
		}
	}
}

// repairAll reports whether all that was filed is done. What is left after a
// failure, which concerns the others as a rule, is filed again.
func (e *Engine) repairAll(ctx context.Context) (done bool) {
	done = true
	for t, everywhere := range e.repairs.take() {
		if done {
			err := e.lookAt(ctx, t)
			if err == nil && everywhere {
				err = e.publishNews(ctx, &proxy.Event{Topic: t, Name: newsLook})
			}
			if done = err == nil; done {
				continue
			}
			e.failed(err, t, "make up for news")
		}
		e.repairs.add(t, everywhere)
	}
	return done
}

// lookAt tells the subscribers of a channel here what has become untrue of
// what they were told.
func (e *Engine) lookAt(ctx context.Context, t proxy.Topic) error {
	ch := e.tenant(t.App).acquire(t.Channel)
	defer ch.release()
	ch.turn.Lock()
	defer ch.turn.Unlock()
	switch {
	case t.Channel.Kind() == protocol.Presence:
		return e.lookAtMembers(ctx, ch)
	case strings.HasPrefix(string(t.Channel), accountPrefix):
		return e.lookAtUser(ctx, ch)
	case e.occupancy != nil && !ch.hidden():
		return e.lookAtCount(ctx, ch)
	}
	return nil
}

func (e *Engine) lookAtMembers(ctx context.Context, ch *channel) error {
	ch.rare.await()
	members, err := e.presence.Members(ctx, ch.topic())
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	defer e.catchUp(ch)
	if err != nil {
		return fmt.Errorf("engine: members of %s: %w", ch.topic(), err)
	}
	if ch.group.Len() > 0 {
		e.reconcile(ch, members)
	}
	return nil
}

// lookAtUser looks whether the user of an account is online. News that comes
// while it asks is the later word.
func (e *Engine) lookAtUser(ctx context.Context, ch *channel) error {
	if ch.group.Len() > 0 {
		if err := e.listen(ch); err != nil {
			return fmt.Errorf("engine: watch %s: %w", ch.topic(), err)
		}
	}
	heard, _ := ch.rare.standing()
	members, err := e.presence.Members(ctx, ch.topic())
	if err != nil {
		return fmt.Errorf("engine: members of %s: %w", ch.topic(), err)
	}
	online := len(members) > 0
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	if ch.group.Len() == 0 || ch.rare.heard != heard || ch.rare.online == online {
		return nil
	}
	ch.rare.online = online
	e.appendStanding(ch, strings.TrimPrefix(string(ch.name), accountPrefix), online)
	return nil
}

func (e *Engine) appendStanding(ch *channel, user string, online bool) {
	if online {
		e.append(ch, protocol.AppendWatchlist(nil, []string{user}, nil))
	} else {
		e.append(ch, protocol.AppendWatchlist(nil, nil, []string{user}))
	}
}

// deliverStanding tells those who watch a user here that it has come or gone.
func (e *Engine) deliverStanding(ch *channel, user string, online bool) {
	ch.rare.mu.Lock()
	defer ch.rare.mu.Unlock()
	ch.rare.heard++
	ch.rare.online = online
	e.appendStanding(ch, user, online)
}

// standing returns whether the user of an account is online, as those who
// watch it here were told last, and how often they were.
func (r *rare) standing() (heard uint64, online bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard, r.online
}

// learn notes what Presence has said of the user of an account, unless news
// have come since it was asked.
func (r *rare) learn(heard uint64, online bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard == heard {
		r.online = online
	}
}

// lookAtCount looks whether the subscribers know how many they are.
func (e *Engine) lookAtCount(ctx context.Context, ch *channel) error {
	for range maxCorrections {
		count, err := e.occupancy.Count(ctx, ch.topic())
		if err != nil {
			return fmt.Errorf("engine: count of %s: %w", ch.topic(), err)
		}
		app, ok := e.apps(ch.tenant.id)
		if !ok || !app.SubscriptionCounting || ch.group.Len() == 0 || ch.told.Swap(int32(count)) == int32(count) {
			return nil
		}
		e.append(ch, protocol.AppendSubscriptionCount(nil, ch.name, count))
	}
	return nil
}
