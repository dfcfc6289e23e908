package integration

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDependenciesAreExplained: docs/dependencies.md says why each module is
// here that our code imports, tests included.
func TestDependenciesAreExplained(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`+"\n"+`{{join .TestImports "\n"}}`+"\n"+`{{join .XTestImports "\n"}}`, module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	mods, err := exec.Command("go", "list", "-m", "-f", "{{.Path}}", "all").Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	modules := strings.Fields(string(mods))
	used := map[string]string{} // module: a package of it
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasPrefix(pkg, module) {
			continue
		}
		longest := ""
		for _, m := range modules {
			if (pkg == m || strings.HasPrefix(pkg, m+"/")) && len(m) > len(longest) {
				longest = m
			}
		}
		if longest != "" {
			used[longest] = pkg
		}
	}
	if len(used) < 10 {
		t.Fatalf("found %d modules in use, want all of them: %v", len(used), used)
	}
	text, err := os.ReadFile("../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for m, pkg := range used {
		if !strings.Contains(string(text), "| `"+m+"` |") {
			missing = append(missing, m+" (for "+pkg+")")
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("docs/dependencies.md does not say why these are here: %s", strings.Join(missing, ", "))
	}
}
