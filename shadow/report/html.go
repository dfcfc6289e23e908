package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed report.gohtml
var page string

// WriteHTML writes the report as one HTML file that needs nothing else: no
// scripts, no network. It prints, and follows the reader's light or dark
// setting.
func WriteHTML(w io.Writer, r *Report) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"headline":      headlineParts,
		"class":         verdictClass,
		"summary":       summary,
		"speed":         speed,
		"grouped":       grouped,
		"percent":       percent,
		"number":        func(n int64) string { return number(float64(n)) },
		"ms":            ms,
		"codes":         codes,
		"rejections":    func(c Cell) int64 { return rejections(&c) },
		"trafficChart":  trafficChart,
		"lossChart":     func(p Pair) template.HTML { return lossChart(p, r.Gates) },
		"latencyChart":  latencyChart,
		"heatMap":       heatMap,
		"presenceStrip": presenceStrip,
		"differs":       func(d Decision) bool { return d.differs() },
		"duration":      func(s float64) string { return span(seconds(s)) },
		"rulesYAML":     rulesYAML,
		"words":         func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	return nil
}

// headlineParts splits a verdict's sentence into its word and the rest.
func headlineParts(s State) [2]string {
	word, rest, _ := strings.Cut(headlines[s], ": ")
	if rest != "" {
		rest = strings.ToUpper(rest[:1]) + rest[1:]
	}
	return [2]string{word, rest}
}

func verdictClass(s State) string {
	switch s {
	case Ready, ReadyWithExceptions:
		return "good"
	case NotReady:
		return "bad"
	default:
		return "unsure"
	}
}
