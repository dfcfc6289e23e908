package report

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// proportion is a gate on a rate. It fails when the rate is surely above the
// limit, passes when it is surely below, and is open in between.
type proportion struct {
	gate    string
	finding string
	words   string // what happened to the events, in a sentence
	limit   float64
	// reference is how often the reference itself shows it, of how many.
	reference func(*Cell) (x, n float64)
}

func (j *judgement) proportions() []proportion {
	return []proportion{
		{gateLoss, "missing", "lost", limit(j.gates.Loss), func(c *Cell) (x, n float64) {
			return float64(c.Loss.ReferenceMissing), float64(c.Expected)
		}},
		{gateDuplicate, "duplicate", "delivered more than once", limit(j.gates.Duplicate), func(c *Cell) (x, n float64) {
			return c.Dup.Reference * float64(c.Expected), float64(c.Expected)
		}},
		{gateReorder, "reordered", "delivered out of order", limit(j.gates.Reorder), func(c *Cell) (x, n float64) {
			// The reference's sockets among themselves are its noise: what they
			// show of it counts from the first window on, as surely as their
			// number says.
			if rate(c.Noise.Reordered, c.Noise.Siblings) > c.Reorder.Reference {
				return float64(c.Noise.Reordered), float64(c.Noise.Siblings)
			}
			return c.Reorder.Reference * float64(c.Expected), float64(c.Expected)
		}},
		{gateExtra, "extra", "delivered by the candidate only", limit(j.gates.Extra), func(c *Cell) (x, n float64) { return 0, float64(c.Expected) }},
	}
}

// measured is a proportion on one cell: occurrences among independent events,
// of the candidate and of the reference.
type measured struct{ candidate, n, reference, referenceN float64 }

func (q *proportion) measure(c *Cell) measured {
	deff := 1.0
	if q.gate == gateLoss {
		deff = designEffect(c.Expected, c.Missing, c.Loss.Clusters)
	}
	return q.measureWith(c, deff)
}

// measureWith measures it with a given design effect.
func (q *proportion) measureWith(c *Cell, deff float64) measured {
	x, n := q.reference(c)
	return measured{float64(c.unexcused(q.finding)) / deff, float64(c.Expected) / deff, x / deff, n / deff}
}

// above reports whether the rate is surely above the limit, with an error
// probability of alpha.
func (m measured) above(limit, alpha float64) bool {
	return m.n > 0 && differenceLower(m, 1-alpha) > limit
}

// proportion judges all traffic first, and then its parts (channel types,
// patterns, events, publishers, client libraries), so that one that fails does
// not hide among much that does not. The error probability is shared out among
// the parts (Bonferroni), so that many of them do not make a false alarm
// likely.
func (j *judgement) proportion(p *Pair, q proportion) {
	m := q.measure(&p.Total)
	if m.above(q.limit, 1-confidence) {
		rule := worstPattern(p, func(c *Cell) int64 { return c.unexcused(q.finding) })
		j.failProportion(p, q, &node{cell: &p.Total, rule: rule})
		return
	}
	parts := nodes(p, &q)
	for i := range parts {
		if q.measureNode(&parts[i]).above(q.limit, (1-confidence)/float64(len(parts))) {
			j.failProportion(p, q, &parts[i])
			return
		}
	}
	if differenceUpper(m) <= q.limit {
		return
	}
	count, events := float64(p.Total.unexcused(q.finding)), number(float64(p.Total.Expected))
	text := fmt.Sprintf("none in %s events", events)
	if count > 0 {
		text = fmt.Sprintf("%s of %s events %s", number(count), events, q.words)
	}
	need := needed(q.limit, max(0, m.candidate/m.n-m.reference/max(1, m.referenceN)))
	if math.IsInf(need, 1) {
		text += "; more evidence must show whether that is chance"
	}
	j.insufficient(p, q.gate, m.n, need, text)
}

func (j *judgement) failProportion(p *Pair, q proportion, of *node) {
	c := of.cell
	n, expected := c.unexcused(q.finding), float64(c.Expected)
	what := "events"
	if of.of != "" {
		what += " " + of.of
	}
	text := fmt.Sprintf("%s of %s %s %s", number(float64(n)), number(expected), what, q.words)
	if q.gate == gateLoss && c.Affected > 0 {
		text += fmt.Sprintf(", %s deliveries to clients", number(float64(c.Affected)))
	}
	text += fmt.Sprintf("; at most %s is allowed", percent(q.limit))
	reference := 0.0
	if x, of := q.reference(c); of > 0 {
		reference = x / of
	}
	j.fail(p, q.gate, q.finding, of.rule, float64(n)/expected-reference, q.limit, text)
}

func (j *judgement) payload(p *Pair) {
	of := func(c *Cell) int64 { return c.unexcused("payload_differs") }
	if n, allowed := of(&p.Total), max(0, j.gates.PayloadDiffers); n > allowed {
		j.fail(p, gatePayload, "payload_differs", worstPattern(p, of), float64(n), float64(allowed),
			fmt.Sprintf("%s events arrived with another payload; %d are allowed", number(float64(n)), allowed))
	}
}

// rejected judges the share of events that the candidate refused: of all, and
// surely of one pattern.
func (j *judgement) rejected(p *Pair) {
	of, allowed := func(c *Cell) int64 { return c.unexcused("rejected") }, limit(j.gates.Rejected)
	if n := of(&p.Total); n > 0 && rate(n, p.Total.Expected+n) > allowed {
		j.failRejected(p, &p.Total, worstPattern(p, of))
		return
	}
	patterns := split(p, func(c *Cell) Cell { return Cell{Pattern: c.Pattern} })
	for i := range patterns {
		c := &patterns[i]
		n := float64(of(c))
		if lowerBoundAt(n, float64(c.Expected)+n, 1-(1-confidence)/float64(len(patterns))) > allowed {
			j.failRejected(p, c, c.Pattern)
			return
		}
	}
}

func (j *judgement) failRejected(p *Pair, c *Cell, rule string) {
	n := c.unexcused("rejected")
	j.fail(p, gateRejected, "rejected", rule, rate(n, c.Expected+n), limit(j.gates.Rejected),
		fmt.Sprintf("%s events were refused by the candidate (%s); it cannot carry this traffic as it is", number(float64(n)), codes(c.Rejected)))
}

func rejections(c *Cell) int64 {
	var n int64
	for _, k := range c.Rejected {
		n += k
	}
	return n
}

// latency asks for the p99 of the paired delta as for a rate: the gate fails
// when the percentile is surely above the limit, and is open while it is not
// surely below.
func (j *judgement) latency(p *Pair) {
	allowed, d := milliseconds(max(0, j.gates.PairedP99)), p.Total.Latency.PairedDelta
	if d == nil {
		return
	}
	b := d.P99Bounds
	if b == nil { // an older report has no bounds
		b = &Bounds{Low: &d.P99, High: &d.P99}
	}
	switch {
	case b.Low != nil && *b.Low > allowed:
		j.fail(p, gateLatency, "", "*", d.P99, allowed,
			fmt.Sprintf("1 event in 100 arrives at least %.0f ms later than on the reference (surely %.0f ms); %.0f ms is allowed", d.P99, *b.Low, allowed))
	case b.High != nil && *b.High <= allowed:
	case b.High != nil:
		j.insufficient(p, gateLatency, b.NEff, max(2*b.NEff, neededForZero(1-p99)),
			fmt.Sprintf("1 event in 100 arrives %.0f ms later than on the reference, at most %.0f ms with 95 %% confidence; %.0f ms is allowed", d.P99, *b.High, allowed))
	default:
		j.insufficient(p, gateLatency, b.NEff, neededForZero(1-p99), "too few events were timed for a bound on the p99")
	}
}

const p99 = 0.99

func (j *judgement) unknown(p *Pair) {
	t := &p.Total
	share := float64(t.Unknown) / float64(t.Expected+t.Unknown)
	if allowed := limit(j.gates.Unknown); share > allowed {
		j.insufficient(p, gateUnknown, float64(t.Expected), float64(t.Unknown)/max(allowed, 1e-6),
			fmt.Sprintf("%s events could not be compared; at most %s may stay unknown", number(float64(t.Unknown)), percent(allowed)))
	}
}

func (j *judgement) decisions(p *Pair) {
	var differ int64
	var first *Decision
	for i := range p.Decisions {
		if d := &p.Decisions[i]; d.differs() {
			differ += d.Count
			if first == nil {
				first = d
			}
		}
	}
	if allowed := max(0, j.gates.Decisions); differ > allowed {
		j.fail(p, gateDecisions, findingDecisions, first.Pattern, float64(differ), float64(allowed),
			fmt.Sprintf("%s differ; most often on %q: %s by %s, %s by %s", count(int(differ), "decision", "decisions"),
				first.Action, first.Reference, p.Reference, first.Candidate, p.Candidate))
	}
}

func (j *judgement) presence(p *Pair) {
	var seconds, divergent, longest float64
	worst := "*"
	for i, x := range p.Presence {
		seconds, divergent = seconds+x.Seconds, divergent+x.MeanDivergence*x.Seconds
		longest = max(longest, x.LongestS)
		if i == 0 {
			worst = x.Pattern
		}
	}
	if seconds == 0 {
		return
	}
	mean, allowed, allowedLongest := divergent/seconds, limit(j.gates.PresenceMean), max(0, j.gates.PresenceLongest).Seconds()
	switch {
	case mean > allowed:
		j.fail(p, gatePresence, findingPresence, worst, mean, allowed,
			fmt.Sprintf("on average %s of the members differ; at most %s is allowed", percent(mean), percent(allowed)))
	case longest > allowedLongest:
		j.fail(p, gatePresence, findingPresence, worst, longest, allowedLongest,
			fmt.Sprintf("members differed for %.0f s on end; at most %.0f s is allowed", longest, allowedLongest))
	default:
		// One pattern on its own only where it differed beyond the grace: what is
		// watched for a moment differs for a large part of it.
		at := slices.IndexFunc(p.Presence, func(x Presence) bool { return x.MeanDivergence > allowed && x.Episodes > 0 })
		if at >= 0 {
			x := &p.Presence[at]
			j.fail(p, gatePresence, findingPresence, x.Pattern, x.MeanDivergence, allowed,
				fmt.Sprintf("on average %s of the members of these channels differ; at most %s is allowed", percent(x.MeanDivergence), percent(allowed)))
		}
	}
}

// checkpoints asks that the bound on loss was below the gate at several
// checkpoints in a row: looking at it all the time would find it there by
// chance sooner or later.
func (j *judgement) checkpoints(p *Pair) {
	every, hold := j.gates.Checkpoint, j.gates.Hold
	if every <= 0 || hold <= 0 || time.Duration(hold)*every > max(0, j.gates.Observe) {
		return
	}
	held, open := heldCheckpoints(p.Timeline, every, limit(j.gates.Loss))
	if held >= hold {
		return
	}
	j.v.Insufficient = append(j.v.Insufficient, Insufficient{
		Gate: gateCheckpoints, Reference: p.Reference, Candidate: p.Candidate, Rule: "*", Have: float64(held), Need: float64(hold),
		ETA:  isoDuration(time.Duration(hold-held)*every - open),
		Text: fmt.Sprintf("the loss was surely below its limit at %d of the %d checkpoints in a row that are asked for, one every %s", held, hold, span(every)),
	})
}

// heldCheckpoints returns at how many of the latest checkpoints in a row the
// bound held, and how much of the time to the next one has passed.
func heldCheckpoints(timeline []Interval, every time.Duration, gate float64) (held int64, open time.Duration) {
	if len(timeline) == 0 {
		return 0, 0
	}
	start := timeline[0].Start
	next := start.Add(every)
	bound := 1.0
	for _, iv := range timeline {
		for end := iv.Start.Add(seconds(iv.Seconds)); next.Before(end); next = next.Add(every) {
			held = holds(held, bound <= gate)
		}
		bound = iv.Upper95
	}
	last := timeline[len(timeline)-1]
	end := last.Start.Add(seconds(last.Seconds))
	if !next.After(end) {
		held = holds(held, bound <= gate)
		next = next.Add(every)
	}
	return held, every - next.Sub(end)
}

func holds(before int64, now bool) int64 {
	if now {
		return before + 1
	}
	return 0
}

func (j *judgement) coverage() {
	check := func(gate, text string, have *float64, want float64) {
		if have != nil && *have < want {
			j.v.Reasons = append(j.v.Reasons, Reason{
				Gate: gate, Rule: "*", Observed: *have, Limit: want, Exhibits: []string{},
				Text: fmt.Sprintf(text, percent(*have), percent(want)),
			})
		}
	}
	c := j.report.Coverage
	check(gatePublishPath, "only %s of the events were published through the gateway; %s is needed", c.PublishPath, limit(j.gates.PublishPath))
	if n := float64(c.ClientsOf); n > 0 && c.Clients != nil && upperBound(*c.Clients*n, n) >= limit(j.gates.Clients) {
		return // it may be chance
	}
	check(gateClients, "only %s of the clients come through the gateway; %s is needed", c.Clients, limit(j.gates.Clients))
}

func (j *judgement) measurement() {
	m := j.report.Measurement
	if allowed := limit(j.gates.Shed); m.ShedRate > allowed {
		j.v.Insufficient = append(j.v.Insufficient, Insufficient{
			Gate: gateShed, Rule: "*", Have: float64(m.Records - m.Shed), Need: float64(m.Records),
			Text: fmt.Sprintf("the comparison itself dropped %s of its records; give it more CPU or sample fewer channels", percent(m.ShedRate)),
		})
	}
}

// nodes asks for the evidence of all nodes that live: what one of them saw may
// be what speaks against going on.
func (j *judgement) nodes() {
	run := j.report.Run
	for _, missing := range run.MissingNodes {
		j.v.Insufficient = append(j.v.Insufficient, Insufficient{
			Gate: gateEvidence, Rule: "*", Have: float64(len(run.Nodes)), Need: float64(len(run.Nodes) + len(run.MissingNodes)),
			Text: "the evidence of a node is missing: " + missing,
		})
	}
}

func (j *judgement) observed() {
	if len(j.report.Pairs) == 0 {
		j.v.Insufficient = append(j.v.Insufficient, Insufficient{
			Gate: gateEvidence, Rule: "*", Need: neededForZero(limit(j.gates.Loss)), Text: "no traffic has been compared yet",
		})
		return
	}
	have, need := j.report.Run.To.Sub(j.report.Run.From), max(0, j.gates.Observe)
	if have < need {
		j.v.Insufficient = append(j.v.Insufficient, Insufficient{
			Gate: gateObserve, Rule: "*", Have: have.Seconds(), Need: need.Seconds(), ETA: isoDuration(need - have),
			Text: fmt.Sprintf("watched for %s; %s are needed to see a full cycle of traffic", span(have), span(need)),
		})
	}
}

// moreNeeded says how many more events are needed, and when there will be so
// many.
func moreNeeded(p *Pair, have, need float64) (in Insufficient, text string) {
	in = Insufficient{Have: math.Round(have), Need: need}
	if math.IsInf(need, 1) {
		in.Need = 2 * in.Have // ask again then
		return in, ""
	}
	more, perSecond := need-have, ratePerSecond(p)
	if more <= 0 {
		return in, ""
	}
	if perSecond == 0 {
		return in, fmt.Sprintf("; %s more needed", number(more))
	}
	wait := time.Duration(min(more/perSecond, 1e9) * float64(time.Second))
	in.ETA = isoDuration(wait)
	return in, fmt.Sprintf("; %s more needed, %s at today's rate", number(more), span(wait))
}
