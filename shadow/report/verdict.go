package report

import (
	"fmt"
	"math"
	"time"
)

// Verdict is the answer to "may we go on".
type Verdict struct {
	State        State          `json:"state"`
	Reasons      []Reason       `json:"reasons"`      // gates that failed, worst first
	Insufficient []Insufficient `json:"insufficient"` // gates that cannot be judged yet
}

// State is a verdict in a word.
type State string

// The verdicts.
const (
	Ready               State = "READY"
	ReadyWithExceptions State = "READY_WITH_EXCEPTIONS"
	NotReady            State = "NOT_READY"
	InsufficientData    State = "INSUFFICIENT_DATA"
)

// Reason is a gate that failed.
type Reason struct {
	Gate      string   `json:"gate"`
	Reference string   `json:"reference,omitempty"`
	Candidate string   `json:"candidate,omitempty"`
	Rule      string   `json:"rule"` // channel pattern that shows it most; "*": all traffic
	Observed  float64  `json:"observed"`
	Limit     float64  `json:"limit"`
	Text      string   `json:"text"`
	Exhibits  []string `json:"exhibits"` // ids
}

// Insufficient is a gate that cannot be judged yet.
type Insufficient struct {
	Gate      string  `json:"gate"`
	Reference string  `json:"reference,omitempty"`
	Candidate string  `json:"candidate,omitempty"`
	Rule      string  `json:"rule"`
	Have      float64 `json:"have_n_eff"` // independent events seen; seconds for the gate "observe"
	Need      float64 `json:"need_n_eff"`
	ETA       string  `json:"eta,omitempty"` // ISO 8601 duration at today's rate; absent: cannot be said
	Text      string  `json:"text"`
}

// ExitCode is the process exit status that says the verdict: 0 ready, 1 not
// ready, 2 insufficient data, 3 a report without a verdict.
func (r *Report) ExitCode() int {
	switch r.Verdict.State {
	case Ready, ReadyWithExceptions:
		return 0
	case NotReady:
		return 1
	case InsufficientData:
		return 2
	default:
		return 3
	}
}

// judge computes the verdict of a report from its cells, coverage,
// measurement and gates alone.
func judge(r *Report) Verdict {
	j := judgement{report: r, v: Verdict{Reasons: []Reason{}, Insufficient: []Insufficient{}}}
	for i := range r.Pairs {
		j.pair(&r.Pairs[i])
	}
	j.coverage()
	j.measurement()
	j.observed()
	switch {
	case len(j.v.Reasons) > 0:
		j.v.State = NotReady
	case len(j.v.Insufficient) > 0:
		j.v.State = InsufficientData
	default:
		j.v.State = Ready
	}
	return j.v
}

// judgement is a verdict in the making.
type judgement struct {
	report *Report
	v      Verdict
}

// proportion is a gate on a rate: it fails when the rate is surely above the
// limit, passes when it is surely below, and is open in between.
type proportion struct {
	gate      string
	count     int64   // occurrences on the candidate, to tell
	candidate float64 // the same, as far as they are independent
	reference float64 // occurrences that the reference itself shows
	n         float64 // independent events
	limit     float64
	finding   string // what to call it in a sentence
	worst     func(*Cell) int64
}

func (j *judgement) pair(p *Pair) {
	g, t := j.report.Gates, &p.Total
	if t.Expected == 0 {
		j.insufficient(p, "loss", 0, neededForZero(limit(g.Loss)), "nothing could be compared yet")
		return
	}
	n := t.Loss.NEff
	j.proportion(p, proportion{
		gate: "loss", count: t.Missing, candidate: float64(t.Missing) / t.Loss.Deff, reference: float64(t.Loss.ReferenceMissing) / t.Loss.Deff,
		n: n, limit: limit(g.Loss), finding: "lost", worst: func(c *Cell) int64 { return c.Missing },
	})
	expected := float64(t.Expected)
	j.payload(p)
	j.proportion(p, proportion{
		gate: "duplicate", count: t.Duplicate, candidate: float64(t.Duplicate), reference: t.Dup.Reference * expected, n: expected,
		limit: limit(g.Duplicate), finding: "delivered more than once", worst: func(c *Cell) int64 { return c.Duplicate },
	})
	j.proportion(p, proportion{
		gate: "reorder", count: t.Reordered, candidate: float64(t.Reordered), reference: max(t.Reorder.Reference, t.Reorder.Noise) * expected, n: expected,
		limit: limit(g.Reorder), finding: "delivered out of order", worst: func(c *Cell) int64 { return c.Reordered },
	})
	j.proportion(p, proportion{
		gate: "extra", count: t.Extra, candidate: float64(t.Extra), n: expected,
		limit: limit(g.Extra), finding: "delivered by the candidate only", worst: func(c *Cell) int64 { return c.Extra },
	})
	j.rejected(p)
	j.latency(p)
	j.unknown(p)
}

func (j *judgement) proportion(p *Pair, q proportion) {
	observed := (q.candidate - q.reference) / q.n
	if lowerBound(q.candidate, q.n)-q.reference/q.n > q.limit {
		j.fail(p, q.gate, q.worst, observed, q.limit, fmt.Sprintf("%s of %s events %s; at most %s is allowed",
			number(float64(q.count)), number(float64(p.Total.Expected)), q.finding, percent(q.limit)))
		return
	}
	if differenceUpper(q.candidate, q.reference, q.n) <= q.limit {
		return
	}
	need := needed(q.limit, max(0, observed))
	text := fmt.Sprintf("none in %s events", number(float64(p.Total.Expected)))
	if q.count > 0 {
		text = fmt.Sprintf("%s of %s events %s", number(float64(q.count)), number(float64(p.Total.Expected)), q.finding)
	}
	if math.IsInf(need, 1) {
		text += "; more evidence must show whether that is chance"
	}
	j.insufficient(p, q.gate, q.n, need, text)
}

func (j *judgement) payload(p *Pair) {
	if real, allowed := p.Total.Payload.Real, max(0, j.report.Gates.PayloadDiffers); real > allowed {
		j.fail(p, "payload_differs", func(c *Cell) int64 { return c.Payload.Real }, float64(real), float64(allowed),
			fmt.Sprintf("%d events arrived with another payload; %d are allowed", real, allowed))
	}
}

func (j *judgement) rejected(p *Pair) {
	n := rejections(&p.Total)
	allowed := limit(j.report.Gates.Rejected)
	if share := float64(n) / float64(p.Total.Expected+n); n > 0 && share > allowed {
		j.fail(p, "rejected", rejections, share, allowed,
			fmt.Sprintf("%d events were refused by the candidate (%s); it cannot carry this traffic as it is", n, codes(p.Total.Rejected)))
	}
}

func rejections(c *Cell) int64 {
	var n int64
	for _, k := range c.Rejected {
		n += k
	}
	return n
}

func (j *judgement) latency(p *Pair) {
	allowed := milliseconds(max(0, j.report.Gates.PairedP99))
	if d := p.Total.Latency.PairedDelta; d != nil && d.P99 > allowed {
		j.fail(p, "paired_p99", nil, d.P99, allowed,
			fmt.Sprintf("1 event in 100 arrives %.0f ms later than on the reference; %.0f ms is allowed", d.P99, allowed))
	}
}

func (j *judgement) unknown(p *Pair) {
	t := &p.Total
	share := float64(t.Unknown) / float64(t.Expected+t.Unknown)
	if allowed := limit(j.report.Gates.Unknown); share > allowed {
		j.insufficient(p, "unknown", float64(t.Expected), float64(t.Expected)*share/max(allowed, 1e-9),
			fmt.Sprintf("%d events could not be compared; at most %s may stay unknown", t.Unknown, percent(allowed)))
	}
}

func (j *judgement) coverage() {
	g := j.report.Gates
	check := func(gate, text string, have *float64, want float64) {
		if have != nil && *have < want {
			j.v.Reasons = append(j.v.Reasons, Reason{
				Gate: gate, Rule: "*", Observed: *have, Limit: want, Exhibits: []string{},
				Text: fmt.Sprintf(text, percent(*have), percent(want)),
			})
		}
	}
	check("publish_path", "only %s of the events were published through the gateway; %s is needed", j.report.Coverage.PublishPath, limit(g.PublishPath))
	check("clients", "only %s of the clients come through the gateway; %s is needed", j.report.Coverage.Clients, limit(g.Clients))
}

func (j *judgement) measurement() {
	m := j.report.Measurement
	if allowed := limit(j.report.Gates.Shed); m.ShedRate > allowed {
		j.v.Insufficient = append(j.v.Insufficient, Insufficient{
			Gate: "shed", Rule: "*", Have: float64(m.Records - m.Shed), Need: float64(m.Records),
			Text: fmt.Sprintf("the comparison itself dropped %s of its records; give it more CPU or sample fewer channels", percent(m.ShedRate)),
		})
	}
}

func (j *judgement) observed() {
	need := max(0, j.report.Gates.Observe)
	have := j.report.Run.To.Sub(j.report.Run.From)
	if len(j.report.Pairs) == 0 {
		j.v.Insufficient = append(j.v.Insufficient, Insufficient{
			Gate: "evidence", Rule: "*", Need: neededForZero(limit(j.report.Gates.Loss)), Text: "no traffic has been compared yet",
		})
		return
	}
	if have < need {
		j.v.Insufficient = append(j.v.Insufficient, Insufficient{
			Gate: "observe", Rule: "*", Have: have.Seconds(), Need: need.Seconds(), ETA: isoDuration(need - have),
			Text: fmt.Sprintf("watched for %s; %s are needed to see a full cycle of traffic", span(have), span(need)),
		})
	}
}

func (j *judgement) fail(p *Pair, gate string, worst func(*Cell) int64, observed, limit float64, text string) {
	r := Reason{
		Gate: gate, Reference: p.Reference, Candidate: p.Candidate, Rule: "*", Observed: observed, Limit: limit,
		Text: text, Exhibits: []string{},
	}
	if worst != nil {
		r.Rule = worstPattern(p, worst)
	}
	finding := gate
	switch gate {
	case "loss":
		finding = "missing"
	case "reorder":
		finding = "reordered"
	}
	for _, x := range j.report.Exhibits {
		if x.Finding == finding && x.Candidate == p.Candidate && x.Reference == p.Reference && len(r.Exhibits) < 3 {
			r.Exhibits = append(r.Exhibits, x.ID)
		}
	}
	j.v.Reasons = append(j.v.Reasons, r)
}

// worstPattern names the pattern with most of a finding, or "*" when no
// pattern has half of it.
func worstPattern(p *Pair, of func(*Cell) int64) string {
	byPattern := make(map[string]int64)
	var total int64
	for i := range p.Cells {
		n := of(&p.Cells[i])
		byPattern[p.Cells[i].Pattern] += n
		total += n
	}
	for pattern, n := range byPattern {
		if 2*n > total {
			return pattern
		}
	}
	return "*"
}

func (j *judgement) insufficient(p *Pair, gate string, have, need float64, text string) {
	in := Insufficient{Gate: gate, Reference: p.Reference, Candidate: p.Candidate, Rule: "*", Have: math.Round(have), Need: need}
	more := need - have
	perSecond := ratePerSecond(p)
	switch {
	case math.IsInf(need, 1):
		in.Need = 2 * in.Have // ask again then
	case more > 0 && perSecond > 0:
		wait := time.Duration(min(more/perSecond, 1e9) * float64(time.Second))
		in.ETA = isoDuration(wait)
		text += fmt.Sprintf("; %s more needed, %s at today's rate", number(more), span(wait))
	case more > 0:
		text += fmt.Sprintf("; %s more needed", number(more))
	}
	in.Text = text
	j.v.Insufficient = append(j.v.Insufficient, in)
}

// ratePerSecond is the pair's independent events per second over the last day.
func ratePerSecond(p *Pair) float64 {
	var events, seconds float64
	for i := len(p.Timeline) - 1; i >= 0 && seconds < 24*3600; i-- {
		events += float64(p.Timeline[i].Expected)
		seconds += p.Timeline[i].Seconds
	}
	if seconds == 0 {
		return 0
	}
	return events / seconds / max(1, p.Total.Loss.Deff)
}
