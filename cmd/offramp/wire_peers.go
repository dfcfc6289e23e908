package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy/backend/redis"
)

// newPeers makes what the nodes of a cluster say to each other.
func (g *gateway) newPeers() {
	g.peers = g.cluster.Peers(redis.PeersSettings{
		Name: g.nodeName(), Answer: g.answer, Noticed: g.noticed, Log: g.log,
	})
}

// nodeName is what people call this node: its machine, and where it listens.
func (g *gateway) nodeName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unnamed"
	}
	return name + " (" + g.config.Listen + ")"
}

// movedNotice tells that an app was moved from stage to stage.
const movedNotice = "moved"

// tellMoved has the other nodes look where apps are. Who does not hear it
// finds out within a second.
func (g *gateway) tellMoved(ctx context.Context) {
	if err := g.peers.Notify(ctx, movedNotice); err != nil {
		g.log.Warn().Err(err).Msg("the other nodes were not told of a move at once")
	}
}

// noticed takes a notice of another node's.
func (g *gateway) noticed(text string) {
	if text == movedNotice {
		g.router.Look()
	} else if said, is := strings.CutPrefix(text, stagesNotice); is {
		g.agreement.hear(said, time.Now())
	}
}
