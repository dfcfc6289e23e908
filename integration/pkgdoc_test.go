package integration

import (
	"strings"
	"testing"
)

// TestPackageComments: every package says what it is for.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		switch {
		case p.Doc == "" && onlyTests(p):
		case p.Doc == "":
			t.Errorf("%s has no package comment: write one in its doc.go", p.name())
		case !strings.HasPrefix(p.Doc, want):
			t.Errorf("the comment of %s begins with %.40q, want %q", p.name(), p.Doc, want)
		}
	}
}

// onlyTests reports whether a package has no files but tests, whose comment
// go list does not see.
func onlyTests(p goPackage) bool { return len(p.Imports) == 0 && p.name() == "integration" }
