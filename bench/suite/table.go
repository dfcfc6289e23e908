package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// brief says a single result's main figures.
func brief(l line) string {
	c, ok := findCase(l.Case)
	if !ok {
		return ""
	}
	text := ""
	for _, m := range c.metrics {
		text += m.name + " " + figure(m.value(l.Result)) + m.unit + "  "
	}
	r := l.Result
	text += fmt.Sprintf("reads/poll %.2f other CPU %.2f", r.ReadsPerPoll, l.OtherCPU)
	if r.Lost != 0 || r.Duplicated+r.Disordered+r.Unknown+r.Failed > 0 || r.Trouble != "" {
		text += fmt.Sprintf("  lost %d dup %d disorder %d unknown %d failed %d closed %d %s",
			r.Lost, r.Duplicated, r.Disordered, r.Unknown, r.Failed, r.Closed, r.Trouble)
	}
	return text
}

func findCase(name string) (benchCase, bool) {
	for _, c := range everyCase() {
		if c.name == name {
			return c, true
		}
	}
	return benchCase{}, false
}

// report prints everything that was run.
func report(w io.Writer, lines []line) {
	printTable(w, lines)
	printCurves(w, lines)
}

// printTable prints medians with their ranges, and how the bars stand.
func printTable(w io.Writer, lines []line) {
	for _, c := range slices.Concat(allCases(), mirroringCases()) {
		results := map[string][]line{}
		for _, l := range lines {
			if l.Case == c.name {
				results[l.Result.Server] = append(results[l.Result.Server], l)
			}
		}
		if len(results) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n## %s\n\n", c.name)
		printMedians(w, c, results)
		printBars(w, c, results)
	}
}

func printMedians(w io.Writer, c benchCase, results map[string][]line) {
	tab := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprint(tab, "| server\t| runs\t")
	for _, m := range c.metrics {
		fmt.Fprintf(tab, "| %s\t", heading(m))
	}
	fmt.Fprint(tab, "| lost, doubled, out of order\t|\n|---\t|---\t")
	for range c.metrics {
		fmt.Fprint(tab, "|---\t")
	}
	fmt.Fprint(tab, "|---\t|\n")
	for _, name := range c.servers {
		runs := results[name]
		if len(runs) == 0 {
			continue
		}
		disturbed := 0
		for _, l := range runs {
			if l.Disturbed {
				disturbed++
			}
		}
		fmt.Fprintf(tab, "| %s\t| %d", name, len(runs))
		if disturbed > 0 {
			fmt.Fprintf(tab, " (%d disturbed)", disturbed)
		}
		fmt.Fprint(tab, "\t")
		for _, m := range c.metrics {
			values := sorted(m, runs)
			fmt.Fprintf(tab, "| %s (%s–%s)\t", figure(median(values)), figure(values[0]), figure(values[len(values)-1]))
		}
		fmt.Fprintf(tab, "| %d\t|\n", wrongDeliveries(runs))
	}
	// The writer below decides whether printing works; there is nobody to tell.
	_ = tab.Flush()
}

func wrongDeliveries(runs []line) int64 {
	wrong := int64(0)
	for _, l := range runs {
		wrong += max(l.Result.Lost, -l.Result.Lost) + int64(l.Result.Duplicated+l.Result.Disordered+l.Result.Unknown)
	}
	return wrong
}

func printBars(w io.Writer, c benchCase, results map[string][]line) {
	fmt.Fprintln(w)
	for _, b := range c.bars {
		own := results[b.server]
		if len(own) == 0 {
			continue
		}
		got, want := median(sorted(b.metric, own)), b.factor
		text := fmt.Sprintf("%s %s %s", heading(b.metric), relation(b.atLeast), figure(b.factor))
		if b.server != offramp {
			text = b.server + ": " + text
		}
		if b.peer != "" {
			if len(results[b.peer]) == 0 {
				continue
			}
			got /= median(sorted(b.metric, results[b.peer]))
			text += " × " + b.peer
		}
		verdict := "reached"
		if b.atLeast && got < want || !b.atLeast && got > want {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "- %s: %s, %s\n", text, figure(got), verdict)
	}
}

func relation(atLeast bool) string {
	if atLeast {
		return "≥"
	}
	return "≤"
}

func heading(m metric) string {
	if m.unit == "" {
		return m.name
	}
	return m.name + " " + m.unit
}

func sorted(m metric, lines []line) []float64 {
	values := make([]float64, len(lines))
	for i, l := range lines {
		values[i] = m.value(l.Result)
	}
	slices.Sort(values)
	return values
}

func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// figure prints three significant digits, without an exponent where people
// would not write one.
func figure(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'f', 2, 64) + "M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'f', 0, 64) + "k"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}
