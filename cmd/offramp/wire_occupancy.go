package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/admin"
)

// occupancyPatience is how long a backend may take to say who is on a channel.
const occupancyPatience = 10 * time.Second

// occupancyView is what a backend knows of a channel.
type occupancyView struct {
	Occupied      bool     `json:"occupied"`
	Subscriptions int      `json:"subscriptions"` // -1: the backend does not count them
	Users         []string `json:"users"`
}

// occupancy asks a backend who is on a channel there.
func (g *gateway) occupancy(ctx context.Context, t proxy.Topic, backend string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, occupancyPatience)
	defer cancel()
	o, err := g.host.Query(ctx, t.App, backend, t.Channel)
	switch {
	case errors.Is(err, host.ErrNoBackend):
		return nil, fmt.Errorf("%w: app %s has no backend %.100q", admin.ErrNotFound, t.App, backend)
	case errors.Is(err, host.ErrCannotAnswer):
		return nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	case err != nil:
		return nil, err
	}
	v := occupancyView{Occupied: o.Occupied, Subscriptions: o.Subscriptions, Users: []string{}}
	for _, m := range o.Members {
		v.Users = append(v.Users, m.UserID)
	}
	return v, nil
}
