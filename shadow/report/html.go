package report

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed report.gohtml
var page string

// WriteHTML writes the report as one HTML file that needs nothing else: no
// network, and nothing runs in it. The JSON form is in it as data, so that Read
// reads it back. It prints, and follows the reader's light or dark
// setting.
func WriteHTML(w io.Writer, r *Report) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"headline":        headlineParts,
		"class":           verdictClass,
		"standings":       standings,
		"worstPairs":      worstPairs,
		"nextStep":        nextStep,
		"summary":         summary,
		"speed":           speed,
		"between":         between,
		"grouped":         grouped,
		"percent":         percent,
		"number":          func(n int64) string { return number(float64(n)) },
		"ms":              ms,
		"codes":           codes,
		"rejections":      func(c Cell) int64 { return rejections(&c) },
		"trafficChart":    trafficChart,
		"lossChart":       func(p Pair) template.HTML { return lossChart(p, r.Gates) },
		"latencyChart":    latencyChart,
		"heatMap":         heatMap,
		"presenceStrip":   presenceStrip,
		"differs":         func(d Decision) bool { return d.differs() },
		"duration":        func(s float64) string { return span(seconds(s)) },
		"data":            data,
		"rulesYAML":       rulesYAML,
		"webhookCoverage": webhookCoverage,
		"webhooksBound":   webhooksBound,
		"noise":           noise,
		"title":           gateTitle,
		"openTitle":       openTitle,
		"advice":          gateAdvice,
		"cited":           r.cited,
		"codeParts":       func(s string) []string { return strings.Split(s, "`") },
		"odd":             func(i int) bool { return i%2 == 1 },
		"isEvent":         func(s Step) bool { return s.Kind == "" },
		"stepWords":       func(s Step) string { return s.Words() },
		"aboutEvents":     func(x Exhibit) bool { return x.Before != nil || x.After != nil },
		"words":           func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	return nil
}

// dataMark begins the JSON form within the HTML form.
const dataMark = `<script type="application/json" id="report">`

// data writes the JSON form as a part of the page that nobody sees. The
// encoder escapes what could end the part.
func data(r *Report) (template.HTML, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode report: %w", err)
	}
	return template.HTML(dataMark + string(text) + "</script>"), nil //nolint:gosec // escaped by the encoder
}

// skipTo reads up to the end of a mark on one line.
func skipTo(r *bufio.Reader, mark string) error {
	matched := 0
	for matched < len(mark) {
		c, err := r.ReadByte()
		if err != nil {
			return errors.New("this page is no report of this version: it has no data in it")
		}
		switch c {
		case mark[matched]:
			matched++
		case mark[0]: // which occurs nowhere else in the mark
			matched = 1
		default:
			matched = 0
		}
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

// webhooksBound says how sure the agreement of webhooks is, against the gate.
func webhooksBound(p Pair, g Gates) string {
	sum := p.allWebhooks()
	n, differ := sum.compared()
	if n == 0 {
		return "None could be compared."
	}
	return fmt.Sprintf("%s of %s were told by one side only; with 95 %% confidence at most %s are, and %s is allowed.",
		number(float64(differ)), number(float64(n)), percent(differenceUpper(sum.measure())), percent(limit(g.Webhooks)))
}

// noise says how far the reference disagrees with itself about the order.
func noise(r ReorderRates) string {
	if r.NoiseLow == nil || r.NoiseHigh == nil {
		return ""
	}
	return fmt.Sprintf("%s (95 %% sure: %s to %s)", percent(r.Noise), percent(*r.NoiseLow), percent(*r.NoiseHigh))
}
