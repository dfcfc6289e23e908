package report

import (
	"fmt"
	"slices"
)

// standing is how one candidate stands, in a line of the banner.
type standing struct{ Name, Class, Text string }

// standings says of each candidate whether it may be gone on with and how sure
// that is, the worst first.
func standings(r *Report) []standing {
	var out []standing
	for _, p := range worstPairs(r) {
		failed, open := p.gates(r)
		s := standing{Name: p.Candidate, Class: "good", Text: "no gate fails"}
		switch {
		case failed > 0:
			s.Class, s.Text = "bad", count(failed, "gate fails", "gates fail")
		case open > 0:
			s.Class, s.Text = "unsure", "nothing wrong was seen, "+count(open, "gate needs", "gates need")+" more evidence"
		}
		s.Text += "; " + summary(p.Total)
		out = append(out, s)
	}
	return out
}

// gates returns how many of a pair's gates failed, and how many are open.
func (p *Pair) gates(r *Report) (failed, open int) {
	for _, x := range r.Verdict.Reasons {
		if x.Reference == p.Reference && x.Candidate == p.Candidate {
			failed++
		}
	}
	for _, x := range r.Verdict.Insufficient {
		if x.Reference == p.Reference && x.Candidate == p.Candidate {
			open++
		}
	}
	return failed, open
}

// worstPairs returns the pairs with most failed gates first.
func worstPairs(r *Report) []Pair {
	pairs := slices.Clone(r.Pairs)
	rank := func(p *Pair) int {
		failed, open := p.gates(r)
		return 1000*failed + open
	}
	slices.SortStableFunc(pairs, func(a, b Pair) int { return rank(&b) - rank(&a) })
	return pairs
}

// nextStep says what to do now.
func nextStep(r *Report) string {
	switch r.Verdict.State {
	case NotReady:
		return "Next: mend what is listed below, worst first, or accept it by an ignore rule. Then compare again."
	case InsufficientData:
		if at := earliest(r); at != "" {
			return "Next: leave the gateway running. At the rate so far there is enough to judge at the earliest on " + at + "."
		}
		return "Next: see below what is missing. When there will be enough to judge cannot be said at the rate so far."
	case Ready, ReadyWithExceptions:
		return "Next: move on with `offramp stage set`; it asks the same gates."
	default:
		return ""
	}
}

// count writes a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
