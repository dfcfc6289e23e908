package shadow

import (
	"fmt"
	"strings"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// decisionEvent begins the names of the cells of decisions: what was decided
// on follows.
const decisionEvent = "pusher:decide "

// question is one thing that both legs decide on.
type question struct {
	channel protocol.ChannelName
	socket  protocol.SocketID
	action  string
	at      int64 // only without a socket: both legs are asked at the same instant
}

// verdicts are what the legs decided on a question so far.
type verdicts struct {
	asked int64
	by    map[proxy.Leg]ruling
}

// ruling is what one leg decided, and when.
type ruling struct {
	text string
	at   int64
}

// maxQuestions bounds the questions open per app; further ones are not
// compared, which shows in the number of decisions only.
const maxQuestions = 65_536

// decided notes one leg's decision. A pair's decision is counted once both of
// its legs have decided; what only one leg was asked is no evidence.
func (s *state) decided(a *appState, topic proxy.Topic, r *proxy.Record, at int64) {
	q := question{channel: topic.Channel, socket: r.Socket, action: r.Action}
	if q.action == "" {
		return
	}
	if q.socket == "" {
		q.at = at
	}
	v := a.questions[q]
	if v == nil {
		if len(a.questions) >= maxQuestions {
			return
		}
		v = &verdicts{asked: at, by: make(map[proxy.Leg]ruling, 2)}
		a.questions[q] = v
	}
	if _, twice := v.by[r.Leg]; twice {
		return
	}
	v.by[r.Leg] = ruling{decision(r), at}
	reference := legsOf(a.app, topic.Channel)[0]
	ref, ok := v.by[reference]
	if !ok {
		return
	}
	for leg, cand := range v.by {
		if leg != reference && (r.Leg == reference || r.Leg == leg) {
			s.countDecision(a, q, pairKey{App: a.id, Reference: reference, Candidate: leg}, ref, cand, at)
		}
	}
}

// decision names a decision: "allow", or "deny" with its code.
func decision(r *proxy.Record) string {
	if r.Kind == proxy.KindAllowed {
		return "allow"
	}
	if r.Code == 0 {
		return "deny"
	}
	return fmt.Sprintf("deny %d", r.Code)
}

func (s *state) countDecision(a *appState, q question, pair pairKey, ref, cand ruling, at int64) {
	key := Key{Type: "*", Pattern: "*", Event: decisionEvent + a.actions.text(a.actions.number(q.action))}
	if q.channel != "" {
		key.Type, key.Pattern = typeOf(q.channel), a.patterns.text(a.patterns.number(learnPattern(q.channel)))
	}
	e, _ := s.ledger.entries(pair, key, at)
	countNamed(&e.counts.Decisions, ref.text+between+cand.text, 1)
	if allows(ref.text) != allows(cand.text) {
		s.decisionExhibit(a, q, pair, key.Pattern, ref, cand)
	}
}

// forgetQuestions drops the questions asked before a time.
func (a *appState) forgetQuestions(before int64) {
	for q, v := range a.questions {
		if v.asked < before {
			delete(a.questions, q)
		}
	}
}

// Decided reports whether a cell is about decisions, and on what.
func Decided(k Key) (action string, ok bool) { return strings.CutPrefix(k.Event, decisionEvent) }

// IsPresence reports whether a cell is about the members of presence channels.
func IsPresence(k Key) bool { return k.Event == presenceEvent }

// between is what stands between the two decisions in Counts.Decisions.
const between = " | "

// SplitDecision takes a key of Counts.Decisions apart.
func SplitDecision(both string) (reference, candidate string) {
	reference, candidate, _ = strings.Cut(both, between)
	return reference, candidate
}
