package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/offramp/offramp/translators"
)

// TestTranslatorPages keeps docs/translators in step with the code; -update
// rewrites the pages.
func TestTranslatorPages(t *testing.T) {
	overview, err := os.ReadFile("../../docs/translators.md")
	if err != nil {
		t.Fatal(err)
	}
	overview = keepFidelity(t, "../../docs/translators.md", overview)
	for _, b := range builtins() {
		d := b.new().Describe()
		if d.Name != b.name {
			t.Errorf("translator %s calls itself %s", b.name, d.Name)
		}
		if err := d.Check(); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		if !strings.Contains(string(overview), "\n## "+b.name+"\n") {
			t.Errorf("docs/translators.md has no section %q", b.name)
		}
		path := filepath.Join("../../docs/translators", b.name+".md")
		if *update {
			if err := os.WriteFile(path, []byte(d.Page()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		page, err := os.ReadFile(path)
		if err != nil || string(page) != d.Page() {
			t.Errorf("%s is not what the code says (%v); rewrite it with -update", path, err)
		}
	}
}

// keepFidelity holds the overview's fidelity table to what the translators
// declare.
func keepFidelity(t *testing.T, path string, page []byte) []byte {
	t.Helper()
	const begin, end = "<!-- fidelity: written from the code -->\n", "<!-- end of fidelity -->\n"
	before, rest, ok := bytes.Cut(page, []byte(begin))
	table, after, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		t.Fatalf("%s has no fidelity table between its marks", path)
	}
	if want := fidelityTable(); string(table) != want {
		if !*update {
			t.Fatalf("the fidelity table of %s is not what the code says; rewrite it with -update; want:\n%s", path, want)
		}
		page = slices.Concat(before, []byte(begin), []byte(want), []byte(end), after)
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return page
}

// fidelityTable returns the declarations of all translators side by side, in
// Markdown.
func fidelityTable() string {
	var table strings.Builder
	row := func(head string, cell func(translators.Description) string) {
		fmt.Fprintf(&table, "| %s |", head)
		for _, b := range builtins() {
			fmt.Fprintf(&table, " %s |", cell(b.new().Describe()))
		}
		table.WriteByte('\n')
	}
	row("", func(d translators.Description) string { return d.Name })
	row("---", func(translators.Description) string { return "---" })
	for _, feature := range translators.Features() {
		row("`"+string(feature)+"`", func(d translators.Description) string {
			f := d.Features[feature]
			if f.Note == "" {
				return strings.ToLower(f.Level.String())
			}
			return strings.ToLower(f.Level.String()) + ": " + f.Note
		})
	}
	row("order", func(d translators.Description) string { return strings.ToLower(d.Ordering.String()) })
	row("guarantee", func(d translators.Description) string { return strings.ToLower(d.Guarantee.String()) })
	row("echo control", func(d translators.Description) string { return strings.ToLower(d.Echo.String()) })
	row("known limits", func(d translators.Description) string {
		var bounds []string
		for _, b := range d.Limits.Known() {
			bounds = append(bounds, strconv.FormatFloat(b.Value, 'f', -1, 64)+" "+b.Of)
		}
		if len(bounds) == 0 {
			return "none"
		}
		return strings.Join(bounds, "; ")
	})
	return table.String()
}
