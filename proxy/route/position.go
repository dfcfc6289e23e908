package route

import (
	"hash/fnv"
	"slices"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Position is where one app's traffic belongs. It is immutable.
type Position struct {
	App   string
	Stage proxy.Stage  // of channels that no rule matches
	Rules []proxy.Rule // the first match wins; moved ones before configured ones
}

// Relayed reports whether the app's clients are served by raw relay, which
// concerns whole connections: as soon as one channel may be the engine's, or
// needs to be routed at all, the gateway has to speak for itself.
func (p *Position) Relayed() bool {
	for _, rule := range p.Rules {
		if !rule.Stage.Relayed() {
			return false
		}
	}
	return p.Stage.Relayed()
}

// Bridged reports whether some of the app's clients are the engine's while
// others, or those who publish, may still be the vendor's.
func (p *Position) Bridged() bool {
	if p.Relayed() {
		return false
	}
	return p.Stage != proxy.StageExited || slices.ContainsFunc(p.Rules, func(r proxy.Rule) bool { return r.Stage != proxy.StageExited })
}

// Gone reports whether all of the app has left the vendor.
func (p *Position) Gone() bool { return !p.Relayed() && !p.Bridged() }

// Split reports whether the vendor serves some of the app's channels or users.
func (p *Position) Split() bool {
	vendor := func(stage proxy.Stage, percent int) bool {
		return stage < proxy.StageCanary || stage == proxy.StageCanary && percent < 100
	}
	for _, rule := range p.Rules {
		if vendor(rule.Stage, rule.Percent) {
			return true
		}
		if rule.Channels == everything {
			return false
		}
	}
	return vendor(p.Stage, 0)
}

// Rule returns what holds for a channel.
func (p *Position) Rule(name protocol.ChannelName) proxy.Rule {
	for _, rule := range p.Rules {
		if rule.Matches(name) {
			return rule
		}
	}
	return proxy.Rule{Channels: "*", Stage: p.Stage}
}

// Shadowed reports whether the engine receives copies of what the vendor
// serves on a channel.
func (p *Position) Shadowed(name protocol.ChannelName) bool {
	return p.Rule(name).Stage == proxy.StageShadow
}

// Serves returns the leg that serves a channel to a user; userID is empty for
// somebody who is not known. The answer is the same on every node and in
// every process, and a growing share keeps those that it has. The users of a
// presence channel see each other, so such a channel is never split between
// legs: there the share is taken of channels.
func (p *Position) Serves(name protocol.ChannelName, userID string) proxy.Leg {
	switch rule := p.Rule(name); rule.Stage {
	case proxy.StageCutover, proxy.StageExited:
		return proxy.LegEngine
	case proxy.StageCanary:
		of := string(name)
		if rule.By == proxy.ByUser && name.Kind() != protocol.Presence {
			of = userID
		}
		if of != "" && share(p.App, of) < rule.Percent {
			return proxy.LegEngine
		}
	}
	return proxy.LegVendor
}

// share returns a number of 0 to 99 that an app's channel or user always has.
func share(app, of string) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(app)) // a hash takes everything
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(of))
	sum := h.Sum64()
	// The low bits of FNV are weak for short inputs; fold the high ones in.
	return int((sum ^ sum>>32) % 100)
}

// State is the stage of one scope: of a whole app, or of the channels of one
// rule.
type State struct {
	Stage   proxy.Stage  `json:"stage"`
	Percent int          `json:"percent,omitempty"` // canary: share on the engine
	By      proxy.Sticky `json:"by,omitempty"`      // canary: what the share is taken of
}

// everything is the pattern of a rule that leaves nothing to the app's own
// stage, and so stands for the app.
const everything = "*"

// configured returns the state that the configuration gives a scope; ok is
// false for a pattern that it has no rule for.
func configured(app *proxy.App, channels string) (s State, ok bool) {
	for _, rule := range app.Rules {
		if rule.Channels == channels || channels == "" && rule.Channels == everything {
			return stateOf(rule), true
		}
	}
	return State{Stage: app.Stage}, channels == ""
}

func stateOf(rule proxy.Rule) State {
	s := State{Stage: rule.Stage}
	if rule.Stage == proxy.StageCanary {
		s.Percent, s.By = rule.Percent, rule.By
	}
	return s
}

// override is a move that holds.
type override struct {
	Channels string `json:"channels,omitempty"` // empty: the app
	State    State  `json:"state"`
	// Configured is what the configuration said when the move was made. When
	// it says something else, it is the later word. nil: it said nothing.
	Configured *State `json:"configured,omitempty"`
	Seq        uint64 `json:"seq"` // of the journal's entry
}

// holds reports whether the configuration has not changed since.
func (o override) holds(app *proxy.App) bool {
	now, ok := configured(app, o.Channels)
	if o.Configured == nil {
		return !ok
	}
	return ok && now == *o.Configured
}

// position lays an app's overrides over its configuration. A moved rule of
// the configuration stays in its place; others come first, the latest foremost.
func position(app *proxy.App, overrides []override) *Position {
	p := &Position{App: app.ID, Rules: slices.Clone(app.Rules)}
	own, _ := configured(app, "")
	if i := slices.IndexFunc(p.Rules, func(r proxy.Rule) bool { return r.Channels == everything }); i >= 0 {
		p.Rules = p.Rules[:i]
	}
	var added []proxy.Rule
	for _, o := range overrides {
		if !o.holds(app) {
			continue
		}
		rule := o.State.rule(o.Channels)
		switch i := slices.IndexFunc(p.Rules, func(r proxy.Rule) bool { return r.Channels == o.Channels }); {
		case o.Channels == "":
			own = o.State
		case i >= 0:
			p.Rules[i] = rule
		default:
			added = append([]proxy.Rule{rule}, added...)
		}
	}
	p.Stage = own.Stage
	p.Rules = append(added, p.Rules...)
	if own.Stage == proxy.StageCanary {
		p.Rules = append(p.Rules, own.rule(everything))
	}
	return p
}

func (s State) rule(channels string) proxy.Rule {
	return proxy.Rule{Channels: channels, Stage: s.Stage, Percent: s.Percent, By: s.By}
}
