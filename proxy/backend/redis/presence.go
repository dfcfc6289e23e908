package redis

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Join implements proxy.Presence: two round trips in one.
func (l *Ledger) Join(ctx context.Context, t proxy.Topic, m proxy.Member, id protocol.SocketID, limit int) ([]proxy.Member, bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	l.epoch.RLock()
	defer l.epoch.RUnlock()
	a := l.open(t)
	defer l.close(t, a)
	if !l.exact {
		return nil, false, fmt.Errorf("join %s: %w", t, ErrAway)
	}
	if err := l.claim(ctx, t.App); err != nil {
		return nil, false, fmt.Errorf("redis: join %s: %w", t, err)
	}
	pipe := l.client.Pipeline()
	joined := l.evalJoin(ctx, pipe, l.lease, t, socket{id, m.UserID}, m, limit)
	listed := membersScript.EvalSha(ctx, pipe, l.keys.members(t))
	_, err := pipe.Exec(ctx)
	n, joinErr := joined.Int()
	if err == nil {
		err = joinErr
	}
	if n == -2 {
		return nil, false, proxy.ErrChannelFull
	}
	members, listErr := readMembers(listed.Slice())
	if err == nil {
		err = listErr
	}
	if err := l.judge(n, err); err != nil {
		if n != -1 { // Redis may have done it
			a.sockets[socket{id, m.UserID}], a.left[socket{id, m.UserID}] = &m, true
		}
		return nil, false, fmt.Errorf("redis: join %s: %w", t, err)
	}
	a.sockets[socket{id, m.UserID}] = &m
	delete(a.left, socket{id, m.UserID})
	if n == 1 {
		l.owe(t, true, m.UserID, false)
	}
	return members, n == 1, nil
}

func (l *Ledger) evalJoin(ctx context.Context, c redis.Scripter, lease string, t proxy.Topic, s socket, m proxy.Member, limit int) *redis.Cmd {
	info := "0"
	if m.Info != nil {
		info = "1" + string(m.Info)
	}
	return joinScript.EvalSha(ctx, c, l.keys.presence(lease, t), entry(t, s.id, s.user), s.user, info, limit)
}

// Leave implements proxy.Presence. While Redis is away it is put off, and what
// comes of it told as a change.
func (l *Ledger) Leave(ctx context.Context, t proxy.Topic, userID string, id protocol.SocketID) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	l.epoch.RLock()
	defer l.epoch.RUnlock()
	a := l.open(t)
	defer l.close(t, a)
	s := socket{id, userID}
	if a.sockets[s] == nil {
		return false, nil
	}
	if !l.exact {
		a.left[s] = true
		return false, nil
	}
	last, err := l.leave(ctx, t, a, s)
	if err != nil {
		a.left[s] = true
		return false, fmt.Errorf("redis: leave %s: %w", t, err)
	}
	return last, nil
}

// leave removes a socket from Redis and from the account.
func (l *Ledger) leave(ctx context.Context, t proxy.Topic, a *account, s socket) (last bool, err error) {
	n, err := leaveScript.Run(ctx, l.client, l.keys.presence(l.lease, t), entry(t, s.id, s.user), s.user).Int()
	if err := l.judge(n, err); err != nil {
		return false, err
	}
	delete(a.sockets, s)
	delete(a.left, s)
	if n == 1 {
		l.owe(t, true, s.user, true)
	}
	return n == 1, nil
}

// Members implements proxy.Presence: one round trip.
func (l *Ledger) Members(ctx context.Context, t proxy.Topic) ([]proxy.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	l.epoch.RLock()
	defer l.epoch.RUnlock()
	if !l.exact {
		return nil, fmt.Errorf("members of %s: %w", t, ErrAway)
	}
	members, err := readMembers(membersScript.Run(ctx, l.client, l.keys.members(t)).Slice())
	if err != nil {
		return nil, fmt.Errorf("redis: members of %s: %w", t, err)
	}
	return members, nil
}

func readMembers(answer []any, err error) ([]proxy.Member, error) {
	if err != nil {
		return nil, err
	}
	if len(answer) != 2 {
		return nil, fmt.Errorf("answer of %d parts", len(answer))
	}
	users, infos := texts(answer[0]), texts(answer[1])
	if len(users) != len(infos) {
		return nil, fmt.Errorf("%d users with %d pieces of information", len(users), len(infos))
	}
	members := make([]proxy.Member, len(users))
	for i, user := range users {
		members[i].UserID = user
		if infos[i] != "" && infos[i][0] == '1' {
			members[i].Info = []byte(infos[i][1:])
		}
	}
	return members, nil
}

// texts returns a list of strings that a script has answered with.
func texts(answer any) []string {
	list, _ := answer.([]any)
	out := make([]string, 0, len(list))
	for _, x := range list {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
