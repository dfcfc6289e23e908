package main

import (
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/redis"
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
		Fenced:   func() { g.fenced() },
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

// fenced sends away the clients of a node that the others took for dead: what
// they have been shown of presence since may be untrue. Clients come back at
// once, to a node that has a lease again.
func (g *gateway) fenced() {
	tell := g.engine.Fence()
	select {
	case g.sendAway <- tell:
	default: // not even those of several times before have been told: there is no time to spread it over
		_ = tell(context.Background(), 0) // which does not wait, and so cannot fail
	}
}

// fenceOver is the time over which those clients are told.
const fenceOver = time.Second

// tellFenced tells them, until ctx ends.
func (g *gateway) tellFenced(ctx context.Context) error {
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
	return []func(context.Context) error{g.cluster.Ledger.Run, g.tellFenced}
}
