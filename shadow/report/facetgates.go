package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// The findings beside those of events.
const (
	findingPresence   = "presence"
	findingDecisions  = "decisions"
	findingWebhooks   = "webhooks"
	findingStructures = "structure_differs"
)

// compared returns how many webhooks were surely both sides' to tell, and how
// many of them only one side told. Flaps and unknown ones prove nothing.
func (h *Webhooks) compared() (n, differ int64) {
	differ = h.Missing + h.Extra
	return h.Matched + differ, differ
}

func (h *Webhooks) unexcused() int64 { return h.Missing + h.Extra - h.Accepted }

func (h *Webhooks) measure() measured {
	n, differ := h.compared()
	deff := designEffect(n, differ, h.Clusters)
	return measured{candidate: float64(h.unexcused()) / deff, n: float64(n) / deff}
}

// add sums what is judged.
func (h *Webhooks) add(o *Webhooks) {
	h.Matched += o.Matched
	h.Missing += o.Missing
	h.Extra += o.Extra
	h.Flaps += o.Flaps
	h.Unknown += o.Unknown
	h.Accepted += o.Accepted
	h.Clusters.Add(o.Clusters)
}

// allWebhooks sums a pair's webhooks.
func (p *Pair) allWebhooks() Webhooks {
	var sum Webhooks
	for i := range p.Webhooks {
		sum.add(&p.Webhooks[i])
	}
	return sum
}

// webhooks judges the share of webhooks that one side only told, as the
// proportions of events are judged: all of them, and then every type and
// pattern, with the error probability shared out. Without webhooks that could
// be compared there is nothing to judge: the coverage says so.
func (j *judgement) webhooks(p *Pair) {
	sum, allowed := p.allWebhooks(), limit(j.gates.Webhooks)
	n, _ := sum.compared()
	if n == 0 || j.gates.Webhooks == 0 { // a report of an older version has no such gate
		return
	}
	m := sum.measure()
	if m.above(allowed, 1-confidence) {
		worst := slices.MaxFunc(p.Webhooks, func(a, b Webhooks) int { return cmp.Compare(a.unexcused(), b.unexcused()) })
		rule := "*"
		if 2*worst.unexcused() > sum.unexcused() {
			rule = worst.Pattern
		}
		j.failWebhooks(p, &sum, "webhooks", rule)
		return
	}
	for i := range p.Webhooks {
		if h := &p.Webhooks[i]; h.measure().above(allowed, (1-confidence)/float64(len(p.Webhooks))) {
			j.failWebhooks(p, h, h.Hook+" webhooks", h.Pattern)
			return
		}
	}
	if differenceUpper(m) > allowed {
		j.openWebhooks(p, &sum, m, allowed)
	}
}

func (j *judgement) failWebhooks(p *Pair, h *Webhooks, what, rule string) {
	n, _ := h.compared()
	allowed := limit(j.gates.Webhooks)
	j.fail(p, gateWebhooks, findingWebhooks, rule, rate(h.unexcused(), n), allowed,
		fmt.Sprintf("%s of %s %s were told by one side only (%s missing, %s extra); at most %s is allowed", number(float64(h.unexcused())),
			number(float64(n)), what, number(float64(h.Missing)), number(float64(h.Extra)), percent(allowed)))
}

func (j *judgement) openWebhooks(p *Pair, sum *Webhooks, m measured, allowed float64) {
	n, _ := sum.compared()
	in := Insufficient{
		Gate: gateWebhooks, Reference: p.Reference, Candidate: p.Candidate, Rule: "*", Have: math.Round(m.n),
		Need: needed(allowed, m.candidate/m.n),
		Text: fmt.Sprintf("%s of %s webhooks were told by one side only; that is too few to know that it is below %s",
			number(float64(sum.unexcused())), number(float64(n)), percent(allowed)),
	}
	seconds := j.report.Run.To.Sub(j.report.Run.From).Seconds()
	switch more := in.Need - m.n; {
	case math.IsInf(in.Need, 1):
		in.Need = 2 * in.Have // ask again then
	case seconds > 0:
		wait := time.Duration(min(more/m.n*seconds, 1e9) * float64(time.Second))
		in.ETA = isoDuration(wait)
		in.Text += fmt.Sprintf("; %s more needed, %s at the rate so far", number(more), span(wait))
	default:
		in.Text += fmt.Sprintf("; %s more needed", number(more))
	}
	j.v.Insufficient = append(j.v.Insufficient, in)
}

// structures judges how frames are built. It counts the kinds of frame that
// differ, and fails on those where that is surely no chance.
func (j *judgement) structures(p *Pair) {
	var differ, sure []*Structures
	for i := range p.Structures {
		s := &p.Structures[i]
		if !s.Differs || s.Accepted {
			continue
		}
		differ = append(differ, s)
		if byChance(s.Built) <= 1-confidence {
			sure = append(sure, s)
		}
	}
	allowed := int(max(0, j.gates.Structures))
	switch {
	case len(sure) > allowed:
		j.fail(p, gateStructures, findingStructures, "*", float64(len(sure)), float64(allowed),
			fmt.Sprintf("%s built differently, such as %s for %s; %d allowed", count(len(sure), "kind of frame is", "kinds of frame are"),
				sure[0].Frame, sure[0].Library, allowed))
	case len(differ) > allowed:
		first := differ[slices.IndexFunc(differ, func(s *Structures) bool { return !slices.Contains(sure, s) })]
		frames := first.frames()
		j.v.Insufficient = append(j.v.Insufficient, Insufficient{
			Gate: gateStructures, Reference: p.Reference, Candidate: p.Candidate, Rule: "*", Have: frames, Need: 2 * frames, // ask again then
			Text: fmt.Sprintf("%s for %s was seen built differently; more frames must show whether that is chance", first.Frame, first.Library),
		})
	}
}

func (s *Structures) frames() float64 {
	var n int64
	for _, b := range s.Built {
		n += b.Reference + b.Candidate
	}
	return float64(n)
}

// byChance returns how likely it is that a structure shows on one side only,
// if both sides build frames the same way: the least of its structures. Of
// the x frames built so, all are among the n of the one side, and none among
// the m of the other, with the probability C(n, x) / C(n+m, x) (Fisher's exact
// test, one-sided).
func byChance(built []Structure) float64 {
	var reference, candidate int64
	for _, s := range built {
		reference, candidate = reference+s.Reference, candidate+s.Candidate
	}
	least := 1.0
	for _, s := range built {
		x, n := s.Reference, reference
		if x == 0 {
			x, n = s.Candidate, candidate
		}
		if s.Reference > 0 && s.Candidate > 0 || x == 0 {
			continue
		}
		least = min(least, math.Exp(lnChoose(n, x)-lnChoose(reference+candidate, x)))
	}
	return least
}

func lnChoose(n, k int64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// applyFacets excuses what a rule covers of webhooks (their pattern, and the
// type as the event) and of frames (the client library as the pattern, and the
// kind as the event), and returns how much that is.
func (r *Rule) applyFacets(p *Pair) int64 {
	var hits int64
	for i := range p.Webhooks {
		if h := &p.Webhooks[i]; r.Finding == findingWebhooks && r.matches(p, h.Pattern, h.Hook) {
			hits += h.unexcused()
			h.Accepted = h.Missing + h.Extra
		}
	}
	for i := range p.Structures {
		if s := &p.Structures[i]; r.Finding == findingStructures && s.Differs && !s.Accepted && r.matches(p, s.Library, s.Frame) {
			hits++
			s.Accepted = true
		}
	}
	return hits
}

// verifyFacets checks that what is said of webhooks and frames follows from
// their counts.
func verifyFacets(p *Pair) error {
	for i := range p.Webhooks {
		if h := &p.Webhooks[i]; h.Accepted < 0 || h.unexcused() < 0 {
			return fmt.Errorf("%s on %s: %d webhooks differ, and %d of them are accepted", h.Hook, h.Pattern, h.Missing+h.Extra, h.Accepted)
		}
	}
	for i := range p.Structures {
		if s := &p.Structures[i]; len(s.Built) > 0 && s.Differs != differ(s.Built) {
			return fmt.Errorf("%s for %s: it says that the structures differ is %t, they say the contrary", s.Frame, s.Library, s.Differs)
		}
	}
	return nil
}

// differ reports whether both sides show such frames, and one of them a
// structure that the other never does.
func differ(built []Structure) bool {
	return onBoth(built) && slices.ContainsFunc(built, func(s Structure) bool { return s.Reference == 0 || s.Candidate == 0 })
}

// onBoth reports whether both sides show frames of a kind.
func onBoth(built []Structure) bool {
	return slices.ContainsFunc(built, func(s Structure) bool { return s.Reference > 0 }) &&
		slices.ContainsFunc(built, func(s Structure) bool { return s.Candidate > 0 })
}
