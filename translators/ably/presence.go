package ably

import (
	"context"
	"errors"
	"fmt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// members are the user ids that this session has entered on a channel, and
// what was told about them.
type members map[string]string

// SetMembers implements translators.Presencer. Members that an earlier
// process has entered leave by themselves: its connections are gone.
func (s *session) SetMembers(ctx context.Context, channel protocol.ChannelName, want []proxy.Member) error {
	s.presence.Lock()
	defer s.presence.Unlock()
	have, held := s.present[channel]
	if !held {
		if len(want) == 0 {
			return nil
		}
		if _, err := s.pool.hold(ctx, channel); err != nil {
			return fmt.Errorf("enter members of %s: %w", channel, err)
		}
		have = members{}
		s.present[channel] = have
	}
	err := s.change(ctx, channel, have, want)
	if len(have) == 0 {
		delete(s.present, channel)
		s.pool.release(channel)
	}
	return err
}

// change enters and leaves what makes the difference, and keeps have true.
func (s *session) change(ctx context.Context, channel protocol.ChannelName, have members, want []proxy.Member) error {
	l, err := s.pool.hold(ctx, channel)
	if err != nil {
		return err
	}
	defer s.pool.release(channel)
	ch := l.client.Channels.Get(ablyName(channel))
	if err := ch.Attach(ctx); err != nil {
		return fmt.Errorf("attach to %s: %s", ch.Name, scrub(err.Error()))
	}
	var errs []error
	wanted := map[string]bool{}
	for _, m := range want {
		wanted[m.UserID] = true
		if info, there := have[m.UserID]; there && info == string(m.Info) {
			continue
		}
		if err := ch.Presence.EnterClient(ctx, m.UserID, string(m.Info)); err != nil {
			errs = append(errs, fmt.Errorf("enter %q on %s: %s", m.UserID, ch.Name, scrub(err.Error())))
			continue
		}
		have[m.UserID] = string(m.Info)
	}
	for user := range have {
		if wanted[user] {
			continue
		}
		if err := ch.Presence.LeaveClient(ctx, user, ""); err != nil {
			errs = append(errs, fmt.Errorf("take %q off %s: %s", user, ch.Name, scrub(err.Error())))
			continue
		}
		delete(have, user)
	}
	return errors.Join(errs...)
}

// Query implements translators.Querier.
func (s *session) Query(ctx context.Context, channel protocol.ChannelName) (translators.Occupancy, error) {
	ch := s.rest.Channels.Get(ablyName(channel))
	status, err := ch.Status(ctx)
	if err != nil {
		return translators.Occupancy{}, fmt.Errorf("query %s: %s", ch.Name, scrub(err.Error()))
	}
	metrics := status.Status.Occupancy.Metrics
	o := translators.Occupancy{Occupied: metrics.Subscribers > 0 || metrics.PresenceMembers > 0, Subscriptions: metrics.Subscribers}
	pages, err := ch.Presence.Get().Pages(ctx)
	if err != nil {
		return translators.Occupancy{}, fmt.Errorf("query the members of %s: %s", ch.Name, scrub(err.Error()))
	}
	seen := map[string]bool{} // a user is one member, over however many connections
	for pages.Next(ctx) {
		for _, m := range pages.Items() {
			if !seen[m.ClientID] {
				seen[m.ClientID] = true
				o.Members = append(o.Members, proxy.Member{UserID: m.ClientID, Info: dataOf(&m.Message)})
			}
		}
	}
	return o, nil
}
