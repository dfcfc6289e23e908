package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed report.gohtml
var page string

// WriteHTML writes the report as one HTML file that needs nothing else: no
// scripts, no network. It prints, and follows the reader's light or dark
// setting.
func WriteHTML(w io.Writer, r *Report) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"headline": func(s State) string { return headlines[s] },
		"summary":  summary,
		"percent":  percent,
		"ms":       ms,
		"codes":    codes,
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	return nil
}
