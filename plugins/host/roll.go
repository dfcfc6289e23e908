package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	// rollDelay is how long a change waits for others of its channel, so that
	// many who come at a time are told at once.
	rollDelay = 100 * time.Millisecond
	// rollRetry is how long a channel waits after a call that failed.
	rollRetry = 2 * time.Second
	// rollPatience is how long a plugin may take over one call.
	rollPatience = 30 * time.Second
)

var errRollHung = fmt.Errorf("the plugin did not set the members of a channel within %s", rollPatience)

// roll is who is on the presence channels of this node, as a backend is to
// know it. It keeps which channels have changed, not how: the backend is told
// the whole set, so that a restart, a reconnection or a lost call leave
// nothing behind that the next call does not repair.
type roll struct {
	takes func(protocol.ChannelName) bool // whether the backend is to know of a channel

	mu    sync.Mutex
	rooms map[protocol.ChannelName]map[string]int // subscriptions by user
	due   map[protocol.ChannelName]time.Time      // to be told, and when
	state PresenceStatus
	work  chan struct{} // one token: due has changed
}

func newRoll(takes func(protocol.ChannelName) bool) *roll {
	return &roll{
		takes: takes,
		rooms: map[protocol.ChannelName]map[string]int{}, due: map[protocol.ChannelName]time.Time{}, work: make(chan struct{}, 1),
	}
}

// take takes a record of a subscription of the engine's.
func (r *roll) take(rec proxy.Record, now time.Time) {
	channel := rec.Topic.Channel
	if rec.Leg != proxy.LegEngine || rec.UserID == "" || channel.Kind() != protocol.Presence {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	users := r.rooms[channel]
	switch {
	case rec.Kind == proxy.KindSubscribed && users == nil:
		r.rooms[channel] = map[string]int{rec.UserID: 1}
	case rec.Kind == proxy.KindSubscribed:
		if users[rec.UserID]++; users[rec.UserID] > 1 {
			return
		}
	case users[rec.UserID] == 0:
		return // it was there before the records began
	default:
		if users[rec.UserID]--; users[rec.UserID] > 0 {
			return
		}
		if delete(users, rec.UserID); len(users) == 0 {
			delete(r.rooms, channel)
		}
	}
	if r.takes(channel) {
		r.mark(channel, now.Add(rollDelay))
	}
}

// rebind has those channels told that the backend is to know of from now on,
// or no longer.
func (r *roll) rebind(before, after func(protocol.ChannelName) bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for channel := range r.rooms {
		if before(channel) != after(channel) {
			r.mark(channel, now)
		}
	}
}

// mark is called with mu held.
func (r *roll) mark(channel protocol.ChannelName, at time.Time) {
	if _, waits := r.due[channel]; !waits {
		r.due[channel] = at
		signal(r.work)
	}
}

// again has every channel told once more: the backend may have lost them.
func (r *roll) again(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for channel := range r.rooms {
		if r.takes(channel) {
			r.mark(channel, now)
		}
	}
}

// next returns a channel that is to be told now, or how long to wait for one.
func (r *roll) next(now time.Time) (channel protocol.ChannelName, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = time.Hour
	for name, at := range r.due {
		if left := at.Sub(now); left <= 0 {
			delete(r.due, name)
			return name, 0
		} else if left < wait {
			wait = left
		}
	}
	return "", wait
}

// users returns who is on a channel.
func (r *roll) users(channel protocol.ChannelName) map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	users := make(map[string]bool, len(r.rooms[channel]))
	for id := range r.rooms[channel] {
		users[id] = true
	}
	return users
}

// told notes the outcome of a call; cut is how many members were left out.
func (r *roll) told(channel protocol.ChannelName, cut int, err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Cut += uint64(cut)
	if err == nil {
		r.state.Calls++
		return
	}
	r.state.Failures++
	r.state.LastFailure = fmt.Sprintf("%s: %v", channel, err)
	r.mark(channel, now.Add(rollRetry))
}

func (r *roll) status() *PresenceStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.Pending = len(r.due)
	for channel, users := range r.rooms {
		if r.takes(channel) {
			s.Channels++
			s.Members += len(users)
		}
	}
	return &s
}

// attend tells a session who is there, all at first, until ctx ends.
func (l *link) attend(ctx context.Context, client *plugins.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := client.Presence(ctx)
	if err != nil {
		return err
	}
	l.roll.again(time.Now())
	for {
		channel, wait := l.roll.next(time.Now())
		if channel == "" {
			select {
			case <-l.roll.work:
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
			continue
		}
		hung := time.AfterFunc(rollPatience, func() { cancel(errRollHung) })
		err := l.callRoll(ctx, stream, channel)
		hung.Stop()
		if err != nil {
			if errors.Is(context.Cause(ctx), errRollHung) {
				err = errRollHung
			}
			l.roll.told(channel, 0, err, time.Now())
			return err
		}
	}
}

// callRoll tells one channel's members. The error is the stream's.
func (l *link) callRoll(ctx context.Context, stream *plugins.PresenceStream, channel protocol.ChannelName) error {
	want, cut, err := l.present(ctx, channel)
	if err != nil {
		l.roll.told(channel, 0, err, time.Now())
		return nil
	}
	result, err := stream.SetMembers(channel, want)
	if err != nil {
		return err
	}
	if !result.Code.Accepted() {
		err = fmt.Errorf("%s: %s", result.Code, result.Detail)
	}
	l.roll.told(channel, cut, err, time.Now())
	return nil
}

// present returns the members that this node has on a channel, with what is
// told about them, and how many more there are than the backend can have.
func (l *link) present(ctx context.Context, channel protocol.ChannelName) (want []proxy.Member, cut int, err error) {
	users := l.roll.users(channel)
	if len(users) == 0 || !l.takes(channel) {
		return nil, 0, nil
	}
	members, err := l.settings.Members(ctx, proxy.Topic{App: l.binding.App, Channel: channel})
	if err != nil {
		return nil, 0, err
	}
	for _, m := range members {
		if users[m.UserID] {
			want = append(want, m)
		}
	}
	if most := l.limits().PresenceMembers; most > 0 && len(want) > most {
		want, cut = slices.Clip(want[:most]), len(want)-most
	}
	return want, cut, nil
}
