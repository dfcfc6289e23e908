package report

import (
	"cmp"
	"slices"
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
	ReadyWithExceptions State = "READY_WITH_EXCEPTIONS" // ready but for differences that somebody accepted
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
	Have      float64 `json:"have_n_eff"` // independent events seen; seconds or checkpoints for gates on time
	Need      float64 `json:"need_n_eff"`
	ETA       string  `json:"eta,omitempty"` // ISO 8601 duration at today's rate; absent: cannot be said
	Text      string  `json:"text"`
}

// The gates' names, in order of what hurts most.
const (
	gateDecisions   = "decisions"
	gateLoss        = "loss"
	gatePayload     = "payload_differs"
	gateDuplicate   = "duplicate"
	gateReorder     = "reorder"
	gateExtra       = "extra"
	gateRejected    = "rejected"
	gatePresence    = "presence"
	gateWebhooks    = "webhooks"
	gateStructures  = "structures"
	gateLatency     = "paired_p99"
	gateUnknown     = "unknown"
	gatePublishPath = "publish_path"
	gateClients     = "clients"
	gateShed        = "shed"
	gateObserve     = "observe"
	gateCheckpoints = "checkpoints"
	gateEvidence    = "evidence"
)

// pairGates are judged on every pair, and runGates on the run as a whole.
func pairGates() []string {
	return []string{
		gateDecisions, gateLoss, gatePayload, gateDuplicate, gateReorder, gateExtra, gateRejected, gatePresence, gateWebhooks,
		gateStructures, gateLatency, gateUnknown, gateCheckpoints,
	}
}

func runGates() []string {
	return []string{gatePublishPath, gateClients, gateShed, gateObserve, gateEvidence}
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
// measurement, exceptions and gates alone.
func judge(r *Report) Verdict {
	j := judgement{report: r, gates: r.Gates, v: Verdict{Reasons: []Reason{}, Insufficient: []Insufficient{}}}
	for i := range r.Pairs {
		j.pair(&r.Pairs[i])
	}
	j.coverage()
	j.measurement()
	j.nodes()
	j.observed()
	order := slices.Concat(pairGates(), runGates())
	slices.SortStableFunc(j.v.Reasons, func(a, b Reason) int {
		return cmp.Compare(slices.Index(order, a.Gate), slices.Index(order, b.Gate))
	})
	excused := slices.ContainsFunc(r.Exceptions, func(x Exception) bool { return x.Hits > 0 })
	switch {
	case len(j.v.Reasons) > 0:
		j.v.State = NotReady
	case len(j.v.Insufficient) > 0:
		j.v.State = InsufficientData
	case excused:
		j.v.State = ReadyWithExceptions
	default:
		j.v.State = Ready
	}
	return j.v
}

// judgement is a verdict in the making.
type judgement struct {
	report *Report
	gates  Gates
	v      Verdict
}

func (j *judgement) pair(p *Pair) {
	j.decisions(p)
	j.presence(p)
	j.webhooks(p)
	j.structures(p)
	if p.Total.Expected == 0 {
		j.insufficient(p, gateLoss, 0, neededForZero(limit(j.gates.Loss)), "nothing could be compared yet")
		return
	}
	for _, q := range j.proportions() {
		j.proportion(p, q)
	}
	j.payload(p)
	j.rejected(p)
	j.latency(p)
	j.unknown(p)
	j.checkpoints(p)
}

func (j *judgement) fail(p *Pair, gate, finding, rule string, observed, limit float64, text string) {
	r := Reason{
		Gate: gate, Reference: p.Reference, Candidate: p.Candidate, Rule: rule, Observed: observed, Limit: limit,
		Text: text, Exhibits: []string{},
	}
	for _, x := range j.report.Exhibits {
		ours := x.Finding == finding && x.Candidate == p.Candidate && x.Reference == p.Reference && (rule == "*" || rule == x.Pattern)
		if ours && len(r.Exhibits) < 3 {
			r.Exhibits = append(r.Exhibits, x.ID)
		}
	}
	j.v.Reasons = append(j.v.Reasons, r)
}

// insufficient notes that a gate is open until there are more events.
func (j *judgement) insufficient(p *Pair, gate string, have, need float64, text string) {
	in, more := moreNeeded(p, have, need)
	in.Gate, in.Reference, in.Candidate, in.Rule, in.Text = gate, p.Reference, p.Candidate, "*", text+more
	j.v.Insufficient = append(j.v.Insufficient, in)
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

// ratePerSecond is the pair's independent events per second over the last day.
func ratePerSecond(p *Pair) float64 {
	var events, seconds float64
	for i := len(p.Timeline) - 1; i >= 0 && seconds < (24*time.Hour).Seconds(); i-- {
		events += float64(p.Timeline[i].Expected)
		seconds += p.Timeline[i].Seconds
	}
	if seconds == 0 {
		return 0
	}
	return events / seconds / max(1, p.Total.Loss.Deff)
}
