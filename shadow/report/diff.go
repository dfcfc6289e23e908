package report

import (
	"fmt"
	"io"
	"slices"
)

// Change is one figure that differs between two reports.
type Change struct {
	Reference, Candidate string // empty: of the whole report
	Cell                 string // "pattern · event"; empty: the pair's total
	Figure               string
	Before, After        string
	Trend                string // better or worse; empty where neither can be said
}

// Diff returns what changed from report a to report b: the verdict, gates
// that failed or recovered, every cell's findings, webhooks, and how frames
// are built.
func Diff(a, b *Report) []Change {
	var out []Change
	if a.Verdict.State != b.Verdict.State {
		out = append(out, Change{Figure: "verdict", Before: string(a.Verdict.State), After: string(b.Verdict.State)})
	}
	out = append(out, gateChanges(a, b)...)
	for _, pair := range pairNames(a, b) {
		p, q := find(a, pair), find(b, pair)
		out = append(out, cellChanges(pair, "", &p.Total, &q.Total)...)
		for _, key := range cellNames(p, q) {
			out = append(out, cellChanges(pair, key.pattern+" · "+key.event, cell(p, key), cell(q, key))...)
		}
		out = append(out, webhookChanges(pair, p, q)...)
		out = append(out, structureChanges(pair, p, q)...)
	}
	return out
}

// WriteDiff writes changes for people, one a line.
func WriteDiff(w io.Writer, changes []Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "no difference")
		return err
	}
	for _, c := range changes {
		where := "report"
		if c.Candidate != "" {
			where = c.Reference + " → " + c.Candidate
		}
		if c.Cell != "" {
			where += "  " + c.Cell
		}
		trend := c.Trend
		if trend != "" {
			trend = ": " + trend
		}
		if _, err := fmt.Fprintf(w, "%s  %s: %s → %s%s\n", where, c.Figure, c.Before, c.After, trend); err != nil {
			return fmt.Errorf("write changes: %w", err)
		}
	}
	return nil
}

type pairName struct{ reference, candidate string }

type cellName struct{ kind, pattern, event string }

func gateChanges(a, b *Report) []Change {
	failed := func(r *Report, gate Reason) bool {
		return slices.ContainsFunc(r.Verdict.Reasons, func(x Reason) bool {
			return x.Gate == gate.Gate && x.Candidate == gate.Candidate && x.Reference == gate.Reference
		})
	}
	var out []Change
	for _, x := range a.Verdict.Reasons {
		if !failed(b, x) {
			out = append(out, Change{Reference: x.Reference, Candidate: x.Candidate, Figure: "gate " + x.Gate, Before: "failed", After: "not failed", Trend: better})
		}
	}
	for _, x := range b.Verdict.Reasons {
		if !failed(a, x) {
			out = append(out, Change{Reference: x.Reference, Candidate: x.Candidate, Figure: "gate " + x.Gate, Before: "not failed", After: "failed: " + x.Text, Trend: worse})
		}
	}
	return out
}

func pairNames(reports ...*Report) []pairName {
	var out []pairName
	for _, r := range reports {
		for _, p := range r.Pairs {
			if n := (pairName{p.Reference, p.Candidate}); !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

func find(r *Report, n pairName) *Pair {
	for i := range r.Pairs {
		if r.Pairs[i].Reference == n.reference && r.Pairs[i].Candidate == n.candidate {
			return &r.Pairs[i]
		}
	}
	return new(Pair)
}

func cellNames(pairs ...*Pair) []cellName {
	var out []cellName
	for _, p := range pairs {
		for _, c := range p.Cells {
			if n := (cellName{c.Type, c.Pattern, c.Event}); !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

func cell(p *Pair, n cellName) *Cell {
	for i := range p.Cells {
		if c := &p.Cells[i]; c.Type == n.kind && c.Pattern == n.pattern && c.Event == n.event {
			return c
		}
	}
	return new(Cell)
}

func cellChanges(pair pairName, name string, a, b *Cell) []Change {
	var out []Change
	figure := func(figure string, before, after int64, trend string) {
		if before != after {
			out = append(out, Change{
				Reference: pair.reference, Candidate: pair.candidate, Cell: name, Figure: figure,
				Before: number(float64(before)), After: number(float64(after)), Trend: trend,
			})
		}
	}
	fault := func(name string, before, after int64) {
		figure(name, before, after, trend(rate(before, a.Expected), rate(after, b.Expected), a.Expected > 0 && b.Expected > 0))
	}
	figure("expected", a.Expected, b.Expected, "")
	fault("missing", a.Missing, b.Missing)
	fault("duplicate", a.Duplicate, b.Duplicate)
	fault("reordered", a.Reordered, b.Reordered)
	fault("payload_differs", a.PayloadDiffers, b.PayloadDiffers)
	fault("extra", a.Extra, b.Extra)
	figure("unknown", a.Unknown, b.Unknown, "")
	return out
}
