package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Bounds that keep the terminal form within forty lines.
const (
	maxLines        = 40
	maxTerminalLine = 118
	maxReasons      = 6
	maxPairs        = 3
	maxCells        = 8
)

// WriteTerminal writes the report for people, in at most forty lines, worst
// first.
func WriteTerminal(w io.Writer, r *Report) error {
	var b bytes.Buffer
	headline(&b, r)
	reasons(&b, r)
	pairs(&b, r)
	cells(&b, r)
	footer(&b, r)
	lines := strings.SplitAfter(b.String(), "\n")
	if len(lines) > maxLines {
		lines = lines[:maxLines]
	}
	if _, err := io.WriteString(w, strings.Join(lines, "")); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// headlines say each verdict in a sentence.
var headlines = map[State]string{
	Ready:               "READY: within the limits, the candidate did what the reference did. You can go on.",
	ReadyWithExceptions: "READY WITH EXCEPTIONS: you can go on; the accepted differences are listed.",
	NotReady:            "NOT READY: do not go on before the following is resolved.",
	InsufficientData:    "INSUFFICIENT DATA: nothing is known to be wrong, but too little was seen to be sure.",
}

func headline(b *bytes.Buffer, r *Report) {
	fmt.Fprintf(b, "%s\n%s\n", headlines[r.Verdict.State], nextStep(r))
	fmt.Fprintf(b, "app %s, stage %s", r.Run.App, r.Run.Stage)
	if !r.Run.From.IsZero() {
		fmt.Fprintf(b, ", %s to %s UTC", r.Run.From.UTC().Format("2006-01-02 15:04"), r.Run.To.UTC().Format("2006-01-02 15:04"))
	}
	if n := len(r.Run.Nodes); n > 0 {
		fmt.Fprintf(b, "\n%s", clip(fmt.Sprintf("as %d of %d nodes saw it: %s", n, n+len(r.Run.MissingNodes), strings.Join(r.Run.Nodes, ", ")), maxTerminalLine))
	}
	b.WriteString("\n\n")
}

func reasons(b *bytes.Buffer, r *Report) {
	left := maxReasons
	line := func(mark, candidate, rule, text string) {
		if left--; left < 0 {
			return
		}
		where := ""
		if candidate != "" {
			where = candidate + ": "
		}
		if rule != "*" && rule != "" {
			text += " (mostly " + rule + ")"
		}
		fmt.Fprintf(b, "  %s %s\n", mark, clip(where+text, maxTerminalLine-4))
	}
	for _, x := range r.Verdict.Reasons {
		line("x", x.Candidate, x.Rule, x.Gate+": "+x.Text)
	}
	for _, x := range grouped(r.Verdict.Insufficient) {
		line("?", x.Candidate, x.Rule, x.Gate+": "+x.Text)
	}
	if left < 0 {
		fmt.Fprintf(b, "    and %d more, in the JSON and HTML forms\n", -left)
	}
	if left < maxReasons {
		b.WriteByte('\n')
	}
}

func pairs(b *bytes.Buffer, r *Report) {
	if len(r.Pairs) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "comparison\texpected\tmatched\tmissing\tduplicate\treordered\tpayload\textra\trefused\tunknown\t")
	for i, p := range r.Pairs {
		if i == maxPairs {
			break
		}
		c := &p.Total
		fmt.Fprintf(t, "%s > %s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Reference, p.Candidate, c.Expected, c.Matched,
			c.Missing, c.Duplicate, c.Reordered, c.PayloadDiffers, c.Extra, rejections(c), c.Unknown)
	}
	_ = t.Flush() // into a buffer
	b.WriteByte('\n')
	for i, p := range r.Pairs {
		if i == maxPairs {
			break
		}
		fmt.Fprintf(b, "%s > %s: %s\n", p.Reference, p.Candidate, clip(summary(p.Total), maxTerminalLine-30))
		for _, text := range []string{speed(p.Total), presenceLine(p), decisionsLine(p), webhooksLine(p), structuresLine(p)} {
			if text != "" {
				fmt.Fprintf(b, "  %s\n", text)
			}
		}
	}
	b.WriteByte('\n')
}

// summary says a pair's loss and what bounds it.
func summary(c Cell) string {
	if c.Loss.DiffUpper95 == nil {
		return "nothing could be compared"
	}
	return fmt.Sprintf("loss %s, and with 95 %% confidence at most %s above the reference's", percent(c.Loss.Candidate), percent(*c.Loss.DiffUpper95))
}

// speed says a pair's latencies.
func speed(c Cell) string {
	l := c.Latency
	if l.Candidate == nil || l.PairedDelta == nil {
		return ""
	}
	return fmt.Sprintf("latency p50 %s ms, p99 %s ms; against the reference, same event: p50 %+.1f ms, p99 %+.1f ms%s",
		ms(l.Candidate.P50), ms(l.Candidate.P99), l.PairedDelta.P50, l.PairedDelta.P99, between(l.PairedDelta.P99Bounds))
}

// between says a percentile's bounds, as far as they are known.
func between(b *Bounds) string {
	switch {
	case b == nil || (b.Low == nil && b.High == nil):
		return ""
	case b.High == nil:
		return fmt.Sprintf(" (%+.1f or more)", *b.Low)
	case b.Low == nil:
		return fmt.Sprintf(" (%+.1f or less)", *b.High)
	default:
		return fmt.Sprintf(" (%+.1f to %+.1f)", *b.Low, *b.High)
	}
}

func presenceLine(p Pair) string {
	if len(p.Presence) == 0 {
		return ""
	}
	var sum Presence
	for _, x := range p.Presence {
		sum.Seconds += x.Seconds
		sum.MeanDivergence += x.MeanDivergence * x.Seconds
		sum.Episodes += x.Episodes
		sum.LongestS = max(sum.LongestS, x.LongestS)
	}
	return fmt.Sprintf("presence: %s of the members differ on average; %d episodes, the longest %.1f s",
		percent(sum.MeanDivergence/max(sum.Seconds, 1)), sum.Episodes, sum.LongestS)
}

func decisionsLine(p Pair) string {
	if len(p.Decisions) == 0 {
		return ""
	}
	var all, differ int64
	for _, d := range p.Decisions {
		all += d.Count
		if d.differs() {
			differ += d.Count
		}
	}
	return fmt.Sprintf("decisions on subscriptions and calls: %d compared, %d differ", all, differ)
}

func webhooksLine(p Pair) string {
	if len(p.Webhooks) == 0 {
		return ""
	}
	sum := p.allWebhooks()
	text := fmt.Sprintf("webhooks: %d told by both, %d missing, %d extra, %d unknown", sum.Matched, sum.Missing, sum.Extra, sum.Unknown)
	if n, _ := sum.compared(); n > 0 {
		text += fmt.Sprintf("; with 95 %% confidence at most %s differ", percent(differenceUpper(sum.measure())))
	}
	return text
}

func structuresLine(p Pair) string {
	for _, s := range p.Structures {
		if s.Differs { // those that do come first
			return fmt.Sprintf("frames are built differently: %s for %s", s.Frame, s.Library)
		}
	}
	return ""
}

func ms(v float64) string { return fmt.Sprintf("%.1f", v) }

func cells(b *bytes.Buffer, r *Report) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "worst first\tevent\texpected\tmissing\tduplicate\treordered\tpayload\tunknown\tp99 ms")
	type row struct {
		candidate string
		*Cell
	}
	var rows []row
	for i := range r.Pairs {
		for k := range r.Pairs[i].Cells {
			rows = append(rows, row{r.Pairs[i].Candidate, &r.Pairs[i].Cells[k]})
		}
	}
	if len(rows) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(a, b row) int { return worstFirst(*a.Cell, *b.Cell) })
	for _, c := range rows[:min(len(rows), maxCells)] {
		p99 := "-"
		if c.Latency.Candidate != nil {
			p99 = ms(c.Latency.Candidate.P99)
		}
		fmt.Fprintf(t, "%s %s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", c.candidate, clipMiddle(c.Pattern, 36), clip(c.Event, 20), c.Expected,
			c.Missing, c.Duplicate, c.Reordered, c.PayloadDiffers, c.Unknown, p99)
	}
	_ = t.Flush() // into a buffer
	if more := len(rows) - maxCells; more > 0 {
		fmt.Fprintf(b, "and %d more cells, in the JSON and HTML forms\n", more)
	}
	b.WriteByte('\n')
}

func footer(b *bytes.Buffer, r *Report) {
	for _, x := range r.Exceptions {
		if x.State != ruleInForce {
			fmt.Fprintf(b, "ignore rule of %s for %s on %s is %s\n", x.Owner, x.Finding, cmp.Or(x.Pattern, "*"), x.State)
		}
	}
	if n := len(r.Suggestions); n > 0 {
		fmt.Fprintf(b, "%d differences look like a matter of course; the JSON and HTML forms suggest ignore rules for them\n", n)
	}
	m := r.Measurement
	path := "not known"
	if p := r.Coverage.PublishPath; p != nil {
		path = percent(*p)
	}
	fmt.Fprintf(b, "seen: publishes that passed the gateway: %s; %s; records %d, dropped %d; gaps %d; still open %d\n",
		path, webhookCoverage(r.Coverage), m.Records, m.Shed, m.Gaps, m.Open)
}

// webhookCoverage says whether the reference's webhooks were seen.
func webhookCoverage(c Coverage) string {
	if c.Webhooks == 0 {
		return "no webhooks came in (not compared)"
	}
	return fmt.Sprintf("%d webhooks came in", c.Webhooks)
}

// clip cuts a text to n characters.
func clip(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

// clipMiddle cuts a name to n characters and keeps both its ends, as names
// that are alike often differ in the last.
func clipMiddle(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	head := n / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(n-head-1):])
}
