package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Moves are shared, and configured stages are each node's own. So each node
// tells the others at which stages it is, and says if one of them differs.

const (
	stagesNotice  = "stages "
	stagesEvery   = 10 * time.Second
	stagesForget  = 3 * stagesEvery // a node that says nothing is gone
	maxStageNodes = 1024            // beyond that many, further nodes are not compared
)

// agreement is what the other nodes have said of their stages.
type agreement struct {
	mu    sync.Mutex
	nodes map[string]saidStages // by name
}

type saidStages struct {
	digest string
	at     time.Time
}

// hear takes what another node says: its digest and its name.
func (a *agreement) hear(text string, now time.Time) {
	digest, name, ok := strings.Cut(text, " ")
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.nodes[name]; !known && len(a.nodes) >= maxStageNodes {
		return
	}
	if a.nodes == nil {
		a.nodes = make(map[string]saidStages)
	}
	a.nodes[name] = saidStages{digest, now}
}

// others returns the names of the nodes whose stages are not these, in order.
func (a *agreement) others(digest string, now time.Time) (names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, said := range a.nodes {
		switch {
		case now.Sub(said.at) > stagesForget:
			delete(a.nodes, name)
		case said.digest != digest:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// disagreeing returns the nodes that are at other stages than this one.
func (g *gateway) disagreeing() []string { return g.agreement.others(g.router.Digest(), time.Now()) }

// tellStages tells the others at which stages this node is, when that changes
// and now and then, until ctx ends. A difference that lasts is logged once.
func (g *gateway) tellStages(ctx context.Context) error {
	ticker := time.NewTicker(stagesEvery)
	defer ticker.Stop()
	var before, logged []string
	for {
		changed := g.router.Changed()
		if err := g.peers.Notify(ctx, stagesNotice+g.router.Digest()+" "+g.nodeName()); err != nil && ctx.Err() == nil {
			g.log.Debug().Err(err).Msg("the other nodes were not told of the stages here") // what is wrong with Redis is said elsewhere
		}
		select {
		case <-changed:
		case <-ticker.C:
			now := g.disagreeing()
			if len(now) > 0 && slices.Equal(now, before) && !slices.Equal(now, logged) {
				g.log.Warn().Strs("nodes", now).Msg(stagesDiffer)
			}
			if slices.Equal(now, before) {
				logged = now
			}
			before = now
		case <-ctx.Done():
			return nil
		}
	}
}

const stagesDiffer = "other nodes are at other stages: their configuration differs, or was not read again; " +
	"give all nodes the same, or move the app with `offramp stage set`, which holds on all"

// newStageMetric counts the nodes that are at other stages.
func (g *gateway) newStageMetric() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "offramp_stage_disagreeing_nodes",
		Help: "Other nodes that are at other stages than this one: their configuration differs.",
	}, func() float64 { return float64(len(g.disagreeing())) })
}
