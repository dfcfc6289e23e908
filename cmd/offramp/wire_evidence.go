package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy/backend/redis"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/report"
)

// evidencePatience is how long the other nodes may take to say what they saw.
const evidencePatience = 3 * time.Second

// ownEvidence is what this node saw of an app.
func (g *gateway) ownEvidence(app string, since time.Time) shadow.Evidence {
	ev := g.comparator.Snapshot(app, since)
	if g.peers != nil {
		ev.Nodes = []string{g.nodeName()}
	}
	return ev
}

// allEvidence is what all nodes that live saw of an app. It names those that
// have not said what they saw.
func (g *gateway) allEvidence(ctx context.Context, app string, since time.Time) (shadow.Evidence, error) {
	own := g.ownEvidence(app, since)
	if g.peers == nil {
		return own, nil
	}
	answers, err := g.peers.Ask(ctx, evidenceQuestion(app, since), evidencePatience)
	if err != nil {
		own.Missing = []string{"all others: " + err.Error()}
		return own, nil
	}
	all := []shadow.Evidence{own}
	for _, a := range answers {
		ev, err := readEvidence(a, app)
		if err != nil {
			own.Missing = append(own.Missing, a.Node+": "+err.Error())
			continue
		}
		all = append(all, ev)
	}
	all[0] = own
	return shadow.Merge(all...)
}

// buildReport judges what all nodes saw of an app by the gates of a migration
// in earnest, and by the rules that the app has.
func (g *gateway) buildReport(ctx context.Context, id string, since time.Time) (*report.Report, error) {
	var rules []report.Rule
	digest := ""
	if app, ok := g.apps.ByID(id); ok {
		digest = configDigest(app)
		var err error
		if rules, err = readRules(app.IgnoreRules); err != nil {
			return nil, err
		}
	}
	ev, err := g.allEvidence(ctx, id, since)
	if err != nil {
		return nil, err
	}
	return report.Build(ev, report.DefaultGates(), report.Meta{
		ConfigDigest: digest, GatewayVersion: version, Generated: time.Now(), Rules: rules,
	}), nil
}

// evidenceAsked begins the question for evidence: the seconds of its first
// moment and the app follow.
const evidenceAsked = "evidence "

func evidenceQuestion(app string, since time.Time) string {
	var from int64
	if !since.IsZero() {
		from = since.Unix()
	}
	return evidenceAsked + strconv.FormatInt(from, 10) + " " + app
}

// answer answers the question of another node.
func (g *gateway) answer(_ context.Context, question string) ([]byte, error) {
	rest, is := strings.CutPrefix(question, evidenceAsked)
	from, app, _ := strings.Cut(rest, " ")
	seconds, err := strconv.ParseInt(from, 10, 64)
	if !is || err != nil {
		return nil, errors.New("this node does not understand the question: it is of another version")
	}
	if _, ok := g.apps.ByID(app); !ok {
		return nil, errors.New("this node does not have the app: its configuration differs")
	}
	var since time.Time
	if seconds != 0 {
		since = time.Unix(seconds, 0)
	}
	var text bytes.Buffer
	packed := gzip.NewWriter(&text)
	if err := errors.Join(json.NewEncoder(packed).Encode(g.ownEvidence(app, since)), packed.Close()); err != nil {
		return nil, fmt.Errorf("write the evidence: %w", err)
	}
	return text.Bytes(), nil
}

// readEvidence reads the answer of another node. Whoever can write to Redis
// can have written it.
func readEvidence(a redis.Answer, app string) (ev shadow.Evidence, err error) {
	if errors.Is(a.Err, redis.ErrNoAnswer) {
		return ev, fmt.Errorf("it lives, and has not answered within %s", evidencePatience)
	}
	if a.Err != nil {
		return ev, a.Err
	}
	packed, err := gzip.NewReader(bytes.NewReader(a.Body))
	if err != nil {
		return ev, fmt.Errorf("read its evidence: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(packed, maxAdminAnswer+1))
	if err != nil {
		return ev, fmt.Errorf("read its evidence: %w", err)
	}
	if len(text) > maxAdminAnswer {
		return ev, fmt.Errorf("its evidence has more than %d bytes", maxAdminAnswer)
	}
	if err := json.Unmarshal(text, &ev); err != nil {
		return ev, fmt.Errorf("read its evidence: %w", err)
	}
	if ev.App != app {
		return ev, errors.New("its evidence is of another app")
	}
	if err := plausible(ev, time.Now()); err != nil {
		return ev, err
	}
	ev.Nodes, ev.Missing = []string{a.Node}, nil
	return ev, nil
}

// plausible refuses evidence that no comparator has: a report is made of spans
// and counts, which have to be some.
func plausible(ev shadow.Evidence, now time.Time) error {
	const day = 24 * time.Hour
	for _, p := range ev.Pairs {
		for i := range p.Cells {
			c := &p.Cells[i]
			n := &c.Counts
			switch {
			case c.Span < time.Second || c.Span > day || c.Start.Year() < 2000 || c.Start.After(now.Add(day)):
				return errors.New("its evidence is of a time that cannot be")
			case min(n.Expected, n.Matched, n.Missing, n.Unknown, n.Extra) < 0 || max(n.Expected, n.Unknown, n.Extra) > 1<<50:
				return errors.New("its evidence has counts that cannot be")
			}
		}
	}
	return nil
}
