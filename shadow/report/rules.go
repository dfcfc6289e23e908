package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/offramp/offramp/proxy"
)

// Rule is a difference that somebody accepted, why, and until when. Empty
// matchers match everything.
type Rule struct {
	Candidate string   `json:"candidate,omitempty" yaml:"candidate,omitempty"` // leg
	Pattern   string   `json:"pattern,omitempty" yaml:"pattern,omitempty"`     // channel pattern as in the report; "*" is a wildcard
	Event     string   `json:"event,omitempty" yaml:"event,omitempty"`         // event name; "*" is a wildcard
	Finding   string   `json:"finding" yaml:"finding"`                         // one of Findings
	Paths     []string `json:"paths,omitempty" yaml:"paths,omitempty,flow"`    // payload_differs: only where all that differs is among these
	Reason    string   `json:"reason" yaml:"reason"`
	Owner     string   `json:"owner" yaml:"owner"`
	Expires   string   `json:"expires" yaml:"expires"` // date, such as 2026-12-31; the rule holds through that day, UTC
}

// Exception is a rule with what it did in a report.
type Exception struct {
	Rule
	Hits  int64  `json:"hits"`  // findings it excused
	State string `json:"state"` // "in force", "unused" or "expired"
}

// States of an exception.
const (
	ruleInForce = "in force"
	ruleUnused  = "unused"
	ruleExpired = "expired"
)

// Findings returns the names of the findings that a rule can excuse.
func Findings() []string {
	return []string{"missing", "duplicate", "reordered", "payload_differs", "extra", "rejected", findingWebhooks, findingStructures}
}

// rulesYAML writes rules as a file of them has it.
func rulesYAML(rules []Rule) (string, error) {
	text, err := yaml.Marshal(rules)
	if err != nil {
		return "", fmt.Errorf("write ignore rules: %w", err)
	}
	return string(text), nil
}

// maxRules bounds a file of rules, in bytes.
const maxRules = 1 << 20

// ReadRules reads ignore rules: a YAML list, in which every rule names a
// finding, a reason, an owner and the day it expires. All mistakes are
// reported at once.
func ReadRules(r io.Reader) ([]Rule, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxRules+1))
	if err != nil {
		return nil, fmt.Errorf("read ignore rules: %w", err)
	}
	if len(text) > maxRules {
		return nil, fmt.Errorf("read ignore rules: the file is longer than %d bytes", maxRules)
	}
	var rules []Rule
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil && !errors.Is(err, io.EOF) { // an empty file has no rules
		return nil, fmt.Errorf("read ignore rules: %w", err)
	}
	var problems []error
	for i := range rules {
		if err := rules[i].check(); err != nil {
			problems = append(problems, fmt.Errorf("rule %d: %w", i+1, err))
		}
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("read ignore rules: %w", errors.Join(problems...))
	}
	return rules, nil
}

func (r *Rule) check() error {
	var problems []error
	if !slices.Contains(Findings(), r.Finding) {
		problems = append(problems, fmt.Errorf("finding %q: use one of %s", r.Finding, strings.Join(Findings(), ", ")))
	}
	if r.Reason == "" || r.Owner == "" {
		problems = append(problems, errors.New("reason and owner are required: say why this is no problem, and who decided"))
	}
	if _, err := time.Parse(time.DateOnly, r.Expires); err != nil {
		problems = append(problems, fmt.Errorf("expires %q: use a date such as 2026-12-31", r.Expires))
	}
	if len(r.Paths) > 0 && r.Finding != "payload_differs" {
		problems = append(problems, fmt.Errorf("paths belong to the finding payload_differs, not to %s", r.Finding))
	}
	return errors.Join(problems...)
}

// expired reports whether the rule's last day is over.
func (r *Rule) expired(now time.Time) bool {
	last, err := time.Parse(time.DateOnly, r.Expires)
	return err != nil || !now.Before(last.AddDate(0, 0, 1))
}

func (r *Rule) matches(p *Pair, pattern, event string) bool {
	return (r.Candidate == "" || r.Candidate == p.Candidate) &&
		(r.Pattern == "" || proxy.MatchPattern(r.Pattern, pattern)) &&
		(r.Event == "" || proxy.MatchPattern(r.Event, event))
}

// findings returns how often a cell shows a finding.
func (c *Cell) findings(name string) int64 {
	switch name {
	case "missing":
		return c.Missing
	case "duplicate":
		return c.Duplicate
	case "reordered":
		return c.Reordered
	case "payload_differs":
		return c.Payload.Real
	case "extra":
		return c.Extra
	case "rejected":
		return rejections(c)
	default:
		return 0
	}
}

// unexcused returns how often a cell shows a finding that no rule excuses.
func (c *Cell) unexcused(name string) int64 { return c.findings(name) - c.Accepted[name] }

func (c *Cell) accept(finding string, n int64) {
	if n == 0 {
		return
	}
	if c.Accepted == nil {
		c.Accepted = make(map[string]int64)
	}
	c.Accepted[finding] += n
}

// Accept puts rules in the place of those that the report was judged by, and
// judges it anew. What was seen is not touched: every figure still counts what
// a rule excuses, and without the rule it is a finding again.
func (r *Report) Accept(rules []Rule) {
	for i := range r.Pairs {
		p := &r.Pairs[i]
		p.Total.Accepted = nil
		for k := range p.Cells {
			p.Cells[k].Accepted = nil
		}
		for k := range p.Webhooks {
			p.Webhooks[k].Accepted = 0
		}
		for k := range p.Structures {
			p.Structures[k].Accepted = false
		}
	}
	r.Run.RulesDigest = rulesDigest(rules)
	r.Exceptions = except(r, rules)
	r.Suggestions = suggest(r)
	r.Verdict = judge(r)
}

// rulesDigest names a list of rules; empty when there are none.
func rulesDigest(rules []Rule) string {
	text, err := json.Marshal(rules)
	if err != nil || len(rules) == 0 {
		return "" // rules are text all through: they can be encoded
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text))
}

// except applies the rules to all cells, in their order: a finding is excused
// by the first that covers it.
func except(r *Report, rules []Rule) []Exception {
	out := []Exception{}
	taken := make(map[*Cell]map[string]bool) // signatures excused already
	for _, rule := range rules {
		x := Exception{Rule: rule, State: ruleUnused}
		if rule.expired(r.Run.Generated) {
			x.State = ruleExpired
			out = append(out, x)
			continue
		}
		for i := range r.Pairs {
			x.Hits += rule.apply(&r.Pairs[i], taken)
		}
		if x.Hits > 0 {
			x.State = ruleInForce
		}
		out = append(out, x)
	}
	return out
}

// apply excuses what the rule covers of a pair, and returns how much that is.
func (r *Rule) apply(p *Pair, taken map[*Cell]map[string]bool) int64 {
	var hits int64
	for i := range p.Cells {
		c := &p.Cells[i]
		if !r.matches(p, c.Pattern, c.Event) {
			continue
		}
		n := c.unexcused(r.Finding)
		if len(r.Paths) > 0 {
			if taken[c] == nil {
				taken[c] = make(map[string]bool)
			}
			n = min(n, r.cover(c.Payload.Signatures, taken[c]))
		}
		c.accept(r.Finding, n)
		hits += n
	}
	p.Total.accept(r.Finding, hits)
	return hits + r.applyFacets(p)
}

// cover sums the signatures all of whose paths the rule names, and takes them
// from the rules that follow.
func (r *Rule) cover(signatures map[string]int64, taken map[string]bool) int64 {
	var n int64
	for signature, k := range signatures {
		if taken[signature] || slices.ContainsFunc(strings.Split(signature, ","), func(path string) bool { return !slices.Contains(r.Paths, path) }) {
			continue
		}
		taken[signature] = true
		n += k
	}
	return n
}

// suggestAbove is the share of a cell's events from which a payload
// difference looks like a matter of course, such as a time stamp.
const suggestAbove = 0.9

// suggest returns rules for the payload differences that nearly every event
// of a cell shows. They lack an owner, so that a person must take them over.
func suggest(r *Report) []Rule {
	out := []Rule{}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		for k := range p.Cells {
			c := &p.Cells[k]
			for _, signature := range slices.Sorted(maps.Keys(c.Payload.Signatures)) {
				n := c.Payload.Signatures[signature]
				if float64(n) < suggestAbove*float64(c.Expected) || strings.HasPrefix(signature, "(") || c.unexcused("payload_differs") == 0 {
					continue
				}
				out = append(out, Rule{
					Candidate: p.Candidate, Pattern: c.Pattern, Event: c.Event, Finding: "payload_differs",
					Paths: strings.Split(signature, ","), Reason: fmt.Sprintf("differs in %d of %d events", n, c.Expected),
				})
			}
		}
	}
	return out
}
