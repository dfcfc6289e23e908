package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTranslatorPages keeps docs/translators in step with the code; -update
// rewrites the pages.
func TestTranslatorPages(t *testing.T) {
	overview, err := os.ReadFile("../../docs/translators.md")
	if err != nil {
		t.Fatal(err)
	}
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
