package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
)

// publishInbound brings an event that a bridge's backend delivered to the
// engine's clients.
func (g *gateway) publishInbound(ctx context.Context, ev *proxy.Event) error {
	app, ok := g.apps.ByID(ev.Topic.App)
	if !ok {
		return fmt.Errorf("app %s is not configured any more", ev.Topic.App)
	}
	return g.engine.Publish(ctx, app, engine.Publication{
		Channels: []protocol.ChannelName{ev.Topic.Channel}, Name: ev.Name, Data: ev.Data, Except: ev.Except, Origin: ev.Origin, Via: ev.Via,
		Publisher: ev.Publisher, UserID: ev.UserID,
	})
}

// owners has one node bring in what several nodes' bridges observe; nil:
// there is one node.
func (g *gateway) owners() proxy.Owners {
	if g.cluster == nil {
		return nil
	}
	return g.cluster.Owners
}

// occupiedChannels returns the channels of an app that have subscribers.
func (g *gateway) occupiedChannels(ctx context.Context, app string) ([]protocol.ChannelName, error) {
	states, err := g.engine.Channels(ctx, app, "")
	names := make([]protocol.ChannelName, len(states))
	for i, s := range states {
		names[i] = s.Name
	}
	return names, err
}

// gatewayName returns the name under which this gateway's messages are known
// on backends: the same after a restart and on all nodes, and another one than
// any other gateway's. Several nodes are one gateway if they meet at the same
// Redis under the same prefix; a single node draws its name once.
func gatewayName(config *configs.Config, db *bbolt.DB) (string, error) {
	if config.Cluster.Redis != nil {
		return sharedName(config.Cluster.Redis)
	}
	var name string
	err := db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("gateway"))
		if err != nil {
			return err
		}
		if name = string(bucket.Get([]byte("name"))); name != "" {
			return nil
		}
		var raw [nameBytes]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return err
		}
		name = namePrefix + hex.EncodeToString(raw[:])
		return bucket.Put([]byte("name"), []byte(name))
	})
	if err != nil {
		return "", fmt.Errorf("find this gateway's name: %w", err)
	}
	return name, nil
}

// sharedName is made of what all nodes have in their configurations.
func sharedName(c *configs.Redis) (string, error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil {
		return "", errors.New("cluster.redis.url cannot be read") // the cause repeats the password
	}
	shared := append(slices.Clone(c.Addresses), u.Host)
	slices.Sort(shared)
	shared = append(shared, u.Path, c.Prefix)
	sum := sha256.Sum256([]byte(strings.Join(shared, "\n")))
	return namePrefix + hex.EncodeToString(sum[:nameBytes]), nil
}

const (
	namePrefix = "offramp-"
	nameBytes  = 8
)
