package scaffold_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offramp/offramp/plugins/scaffold"
)

func TestWrittenModuleBuildsAndPassesTheKit(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "mybackend")
	p := scaffold.Plugin{Name: "mybackend", Module: "example.com/mybackend", Go: "1.26", Version: "v0.0.0", Replace: root}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"vet", "-mod=mod", "./..."}, {"build", "-mod=mod", "-o", "mybackend", "."}, {"test", "-mod=mod", "-count=1", "-v", "./..."},
	} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		if args[0] == "test" && !strings.Contains(string(out), "--- PASS: TestConformance/subscribe") {
			t.Errorf("the kit did not run:\n%s", out)
		}
	}
	if n := linesOf(t, filepath.Join(dir, "translator.go")); n >= 120 {
		t.Errorf("translator.go has %d lines", n)
	}
}

// linesOf counts the lines that an author has to look at: all of them.
func linesOf(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

func TestWriteRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		plugin scaffold.Plugin
		dir    string
		want   string
	}{
		"a name that is none":              {scaffold.Plugin{Name: "My Backend"}, "x", `plugin name "My Backend"`},
		"a directory that holds something": {scaffold.Plugin{Name: "x"}, full, "is not empty"},
		"a path below a file":              {scaffold.Plugin{Name: "x"}, filepath.Join(full, "x", "y"), "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.plugin.Write(tc.dir); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Write: %v, want %q in it", err, tc.want)
			}
		})
	}
}
