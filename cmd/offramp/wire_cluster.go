package main

import (
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/redis"
	"github.com/offramp/offramp/proxy/protocol"
)

// newCluster makes the tie to the other nodes. What it has to tell goes to
// the engine, which is made after it and before anything runs.
func (g *gateway) newCluster(node uint64) (*redis.Backend, error) {
	config := g.config.Cluster.Redis
	server, err := redisServer(config)
	if err != nil {
		return nil, fmt.Errorf("cluster.redis: %w", err)
	}
	redis.LogTo(g.log)
	backend, err := redis.New(redis.Settings{
		Server: server, Prefix: config.Prefix, Node: node, Log: g.log,
		Changed:  func(c proxy.Change) { g.engine.Apply(c) },
		Returned: func() { g.engine.Resync() },
		Told:     g.appIs(hasWebhooks),
		Fenced:   func() { g.awayFrom(g.engine.Fence()) },
		Missed:   func(apps []string) { g.missed(apps) },
	})
	if err != nil {
		return nil, fmt.Errorf("cluster.redis: %w", err)
	}
	return backend, nil
}

func redisServer(c *configs.Redis) (redis.Server, error) {
	s := redis.Server{URL: c.URL, Addresses: c.Addresses, Sharded: c.Sharded}
	if c.Sentinel != nil {
		s.Sentinel = &redis.Sentinel{Master: c.Sentinel.Master, Username: c.Sentinel.Username, Password: c.Sentinel.Password}
	}
	if c.TLS == nil {
		return s, nil
	}
	var err error
	if s.TLS, err = c.TLS.Load(); err != nil {
		return s, fmt.Errorf("tls: %w", err)
	}
	return s, nil
}

// missed sends away the clients of apps of which this node may have missed
// events: they come back at once, and look for themselves.
func (g *gateway) missed(apps []string) {
	g.awayFrom(func(ctx context.Context, over time.Duration) error {
		for _, app := range apps {
			if err := g.engine.Release(ctx, app, over, func(protocol.SocketID) bool { return true }); err != nil {
				return fmt.Errorf("app %s: %w", app, err)
			}
		}
		return nil
	})
}

// awayFrom has clients told to come back, when what they were shown may be
// untrue: those of a node that the others took for dead, or that has missed
// something.
func (g *gateway) awayFrom(tell func(ctx context.Context, over time.Duration) error) {
	select {
	case g.sendAway <- tell:
	default: // not even those of several times before have been told: there is no time to spread it over
		_ = tell(context.Background(), 0) // which does not wait, and so cannot fail
	}
}

// fenceOver is the time over which those clients are told.
const fenceOver = time.Second

// tellAway tells them, until ctx ends.
func (g *gateway) tellAway(ctx context.Context) error {
	for {
		select {
		case tell := <-g.sendAway:
			if err := tell(ctx, fenceOver); err != nil {
				g.log.Warn().Err(err).Msg("not every client was sent away")
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// clusterParts returns what runs for the tie to other nodes.
func (g *gateway) clusterParts() []func(context.Context) error {
	if g.cluster == nil {
		return nil
	}
	return []func(context.Context) error{g.cluster.Ledger.Run, g.peers.Run, g.tellStages, g.tellAway}
}
