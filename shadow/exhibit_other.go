package shadow

import (
	"cmp"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
)

// The findings that are not about single events.
const (
	findingPresence   = "presence"
	findingDecisions  = "decisions"
	findingWebhooks   = "webhooks"
	findingStructures = "structure_differs"
)

// mark makes a step that is no event.
func mark(leg proxy.Leg, kind string, at int64, subject bool) Step {
	return Step{Leg: leg, Kind: kind, Subject: subject, Frame: Frame{At: time.Unix(0, at).UTC()}}
}

// userDigest names a user by a keyed hash.
func (s *state) userDigest(user string) string {
	if user == "" {
		return ""
	}
	return s.digests.digest([]byte(user))
}

// presenceExhibit shows what both legs told of the members of a channel up to
// now, when a user's difference has lasted longer than the grace.
func (s *state) presenceExhibit(a *appState, w *window, candidate int, user string, d *difference, now int64) {
	x := w.exhibit(findingPresence, candidate, d.began)
	if a.exhibits.place(&x) == none {
		return
	}
	x.Note = d.kind.words()
	began := memberChange{at: d.began, leg: candidate, user: user, joined: d.kind.joined}
	if d.kind.byReference {
		began.leg = 0
	}
	var changes []memberChange
	for _, c := range w.changes {
		if c.leg == 0 || c.leg == candidate {
			changes = append(changes, c)
		}
	}
	if !slices.Contains(changes, began) { // it happened too long ago
		changes = append(changes, began)
	}
	slices.SortStableFunc(changes, func(a, b memberChange) int { return cmp.Compare(a.at, b.at) })
	x.Steps = append(s.membersBefore(w, changes), s.memberSteps(w, changes, began)...)
	last := mark(x.Candidate, StepLasted, now, true)
	last.User = s.userDigest(user)
	x.Steps = append(x.Steps, last)
	a.exhibits.keep(&x)
}

// membersBefore returns which users of some changes were members before them:
// those who go first, and those who are there though nothing of them changed.
func (s *state) membersBefore(w *window, changes []memberChange) []Step {
	type seat struct {
		leg  int
		user string
	}
	var steps []Step
	done := make(map[seat]bool)
	legs := make(map[int]bool)
	for _, c := range changes {
		legs[c.leg] = true
	}
	for _, c := range changes {
		for leg := range w.legs {
			of := seat{leg, c.user}
			if !legs[leg] || done[of] {
				continue
			}
			done[of] = true
			there := w.legs[leg].members.users[c.user]
			if i := slices.IndexFunc(changes, func(o memberChange) bool { return o.leg == leg && o.user == c.user }); i >= 0 {
				there = !changes[i].joined
			}
			if there {
				step := mark(w.legs[leg].name, StepMember, changes[0].at, false)
				step.User = s.userDigest(c.user)
				steps = append(steps, step)
			}
		}
	}
	return steps
}

func (s *state) memberSteps(w *window, changes []memberChange, subject memberChange) []Step {
	steps := make([]Step, 0, len(changes))
	for _, c := range changes {
		kind := StepLeft
		if c.joined {
			kind = StepJoined
		}
		step := mark(w.legs[c.leg].name, kind, c.at, c == subject)
		step.User = s.userDigest(c.user)
		steps = append(steps, step)
	}
	return steps
}

// decisionExhibit shows a question that the legs decided differently.
func (s *state) decisionExhibit(a *appState, q question, pair pairKey, pattern string, ref, cand ruling) {
	x := Exhibit{
		Finding: findingDecisions, Reference: pair.Reference, Candidate: pair.Candidate, Channel: string(q.channel), Pattern: pattern,
		Event: q.action, At: time.Unix(0, min(ref.at, cand.at)).UTC(),
	}
	for leg, r := range map[proxy.Leg]ruling{pair.Reference: ref, pair.Candidate: cand} {
		step := mark(leg, StepDecided, r.at, leg == pair.Candidate)
		step.Event, step.Text = q.action, r.text
		x.Steps = append(x.Steps, step)
	}
	slices.SortStableFunc(x.Steps, earlierStep)
	a.exhibits.keep(&x)
}

func earlierStep(a, b Step) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Leg, b.Leg))
}

// whyWrong returns what contradicts a webhook that the candidate would send,
// as it is known when it would.
func (s *state) whyWrong(h *hooks, t telling, wrong bool) []Step {
	if !wrong {
		return nil
	}
	var steps []Step
	for _, of := range slices.Compact([]telling{t, t.opposite()}) {
		if at, known := h.causes[of]; known {
			steps = append(steps, s.webhookStep(proxy.LegVendor, StepRelayed, of, at, false))
		}
	}
	if at, gone := h.gone[t]; gone {
		steps = append(steps, s.webhookStep(proxy.LegVendor, StepTold, t.opposite(), at, false))
	}
	return steps
}

func (s *state) webhookStep(leg proxy.Leg, kind string, t telling, at int64, subject bool) Step {
	step := mark(leg, kind, at, subject)
	step.Text, step.User = string(t.kind), s.userDigest(t.user)
	return step
}

// webhookExhibit shows a webhook that one leg told only.
func (s *state) webhookExhibit(a *appState, t telling, tale tale, reference bool) {
	x := Exhibit{
		Finding: findingWebhooks, Reference: proxy.LegVendor, Candidate: proxy.LegEngine, Channel: string(t.channel),
		Pattern: a.patterns.text(a.patterns.number(learnPattern(t.channel))), Event: string(t.kind), At: time.Unix(0, tale.at).UTC(),
	}
	if a.exhibits.place(&x) == none {
		return
	}
	teller, steps := x.Candidate, slices.Clone(tale.why)
	x.Note = "the engine would send it, and it is not so, or the vendor did not"
	if reference {
		teller = x.Reference
		x.Note = "the vendor sent it for a relayed client, and the engine would not have"
		steps = append(steps, s.webhookStep(x.Reference, StepRelayed, t, a.hooks.causes[t], false))
	}
	x.Steps = append(steps, s.webhookStep(teller, StepTold, t, tale.at, true))
	slices.SortStableFunc(x.Steps, earlierStep)
	a.exhibits.keep(&x)
}

// frameSamples are frames of one kind for one library, as exhibits show them.
type frameSamples struct{ reference, candidate []Step }

// Bounds of the frames that are kept to be shown: different structures of each
// leg, of which an exhibit shows some.
const (
	maxFrameSamples = 8
	shownSamples    = 3
)

// frameExhibit shows a frame that is built as the other leg never built one,
// beside what that leg sent. Whether it never does, the report has to ask the
// counts.
func (s *state) frameExhibit(a *appState, r *proxy.Record, key Key, at int64) {
	samples := a.samples[key]
	if samples == nil {
		samples = new(frameSamples)
		a.samples[key] = samples
	}
	mine, others := &samples.reference, samples.candidate
	if r.Leg != proxy.LegVendor {
		mine, others = &samples.candidate, samples.reference
	}
	step := mark(r.Leg, StepFrame, at, false)
	step.Event, step.Text = r.Action, r.Text
	alike := func(o Step) bool { return o.Text == r.Text }
	if len(*mine) < maxFrameSamples && !slices.ContainsFunc(*mine, alike) {
		*mine = append(*mine, step)
	}
	if len(others) == 0 || len(others) == maxFrameSamples || slices.ContainsFunc(others, alike) {
		return
	}
	x := Exhibit{
		Finding: findingStructures, Reference: proxy.LegVendor, Candidate: proxy.LegEngine, Channel: string(r.Topic.Channel),
		Pattern: key.Pattern, Event: key.frame(), At: time.Unix(0, at).UTC(),
	}
	step.Subject = true
	x.Steps = append(slices.Clone(others[:min(len(others), shownSamples)]), step)
	a.exhibits.keep(&x)
}

// frame returns which frame a cell of frames is about.
func (k Key) frame() string {
	frame, _ := Framed(k)
	return frame
}
