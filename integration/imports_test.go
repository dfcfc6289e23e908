package integration

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// mayImport is the table of docs/architecture.md: for each package, which
// packages of ours it may import. Patterns are path.Match patterns; the most
// specific one that matches, which is the first, counts. Packages of cmd,
// integration and bench may import anything, and nothing may import them.
var mayImport = []struct {
	pkg     string
	imports []string
}{
	{"proxy/protocol", nil},
	{"proxy", []string{"proxy/protocol"}},
	{"proxy/fanout", []string{"proxy/protocol"}},
	{"proxy/apps", vocabulary},
	{"proxy/route", vocabulary},
	{"proxy/tap", vocabulary},
	{"proxy/clientconfig", vocabulary},
	{"proxy/webhooks", vocabulary},
	{"proxy/backend/backendtest", vocabulary},
	{"proxy/backend/*", vocabulary},
	{"proxy/engine", and(vocabulary, "proxy/fanout")},
	{"proxy/session", and(vocabulary, "proxy/fanout")},
	{"proxy/transport/hijack", nil},
	{"proxy/transport/*", and(vocabulary, "proxy/fanout", "proxy/session", "proxy/transport/hijack")},
	{"proxy/httpapi", served},
	{"proxy/upstream", and(served, "proxy/httpapi", "proxy/transport/hijack")},
	{"proxy/front", and(served, "proxy/transport/*", "proxy/httpapi", "proxy/upstream")},
	{"proxy/admin", vocabulary},
	{"translators", vocabulary},
	{"translators/translatortest", and(vocabulary, "translators", "plugins", "plugins/host")},
	{"translators/*", and(vocabulary, "translators")},
	{"translators/ably/ablytest", vocabulary}, // a stand-in server: it knows nothing of the translator it judges
	{"plugins/internal/wire", and(vocabulary, "translators")},
	{"plugins", and(vocabulary, "translators", "plugins/internal/wire")},
	{"plugins/scaffold", nil},
	{"plugins/host", and(vocabulary, "translators", "plugins", "plugins/internal/wire")},
	{"shadow", vocabulary},
	{"shadow/*", and(vocabulary, "shadow", "shadow/*")},
	{"configs", []string{"proxy", "proxy/*", "proxy/*/*", "shadow"}},
}

var (
	vocabulary = []string{"proxy", "proxy/protocol"}
	// served is what stands on top of the engine.
	served = and(vocabulary, "proxy/fanout", "proxy/engine", "proxy/session", "proxy/apps", "proxy/route", "proxy/tap")
)

func and(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

// outermost packages wire the others together.
func outermost(name string) bool {
	return name == "cmd" || name == "integration" || name == "bench" ||
		strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "integration/") || strings.HasPrefix(name, "bench/")
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// TestImports: who may import whom, of docs/architecture.md.
func TestImports(t *testing.T) {
	for _, v := range violations(packages(t)) {
		t.Error(v)
	}
}

// violations returns a line for every import that the table forbids.
func violations(all []goPackage) []string {
	var found []string
	for _, p := range all {
		row := slices.IndexFunc(mayImport, func(r struct {
			pkg     string
			imports []string
		}) bool {
			return matches([]string{r.pkg}, p.name())
		})
		if row < 0 && !outermost(p.name()) {
			found = append(found, p.name()+" is not in the table: say what it may import, here and in docs/architecture.md")
			continue
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module+"/") {
				continue
			}
			imported = strings.TrimPrefix(imported, module+"/")
			switch {
			case outermost(imported) && !outermost(p.name()):
				found = append(found, p.name()+" imports "+imported+", which nothing may import")
			case row >= 0 && !matches(mayImport[row].imports, imported):
				found = append(found, p.name()+" imports "+imported+": it may import "+strings.Join(mayImport[row].imports, ", "))
			}
		}
	}
	return found
}

// TestViolations: the guard itself notices.
func TestViolations(t *testing.T) {
	for name, tc := range map[string]struct{ pkg, imports, want string }{
		"a package below may be imported":  {"proxy/engine", "proxy", ""},
		"the gateway knows no translators": {"proxy/engine", "translators", "proxy/engine imports translators"},
		"the comparator knows no plugins":  {"shadow", "plugins", "shadow imports plugins"},
		"siblings do not know each other":  {"proxy/transport/websocket", "proxy/transport/httpstream", "proxy/transport/websocket imports proxy/transport/httpstream"},
		"nothing imports a command":        {"proxy", "cmd/offramp", "proxy imports cmd/offramp"},
		"a package that nobody wrote down": {"proxy/newcomer/deep", "proxy", "proxy/newcomer/deep is not in the table"},
		"commands may import anything":     {"cmd/offramp", "plugins/host", ""},
		"the standard library is free":     {"proxy", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			imports := []string{"net/http"}
			if tc.imports != "" {
				imports = append(imports, module+"/"+tc.imports)
			}
			got := strings.Join(violations([]goPackage{{ImportPath: module + "/" + tc.pkg, Imports: imports}}), "\n")
			if (tc.want == "") != (got == "") || !strings.HasPrefix(got, tc.want) {
				t.Errorf("violations = %q, want %q", got, tc.want)
			}
		})
	}
}

// longestChain is how many packages one may have to read to understand one. The
// commands and tests on top, which use everything, do not count.
const longestChain = 7

// TestImportChain: no package stands on a chain longer than agreed.
func TestImportChain(t *testing.T) {
	imports := map[string][]string{}
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, module+"/") {
				imports[p.ImportPath] = append(imports[p.ImportPath], imported)
			}
		}
	}
	known := map[string][]string{}
	var chain func(pkg string) []string
	chain = func(pkg string) []string {
		if c, ok := known[pkg]; ok {
			return c
		}
		var longest []string
		for _, imported := range imports[pkg] {
			if c := chain(imported); len(c) > len(longest) {
				longest = c
			}
		}
		known[pkg] = append([]string{strings.TrimPrefix(pkg, module+"/")}, longest...)
		return known[pkg]
	}
	for pkg := range imports {
		if c := chain(pkg); len(c) > longestChain && !outermost(c[0]) {
			t.Errorf("a chain of %d imports, want at most %d: %s", len(c), longestChain, strings.Join(c, " → "))
		}
	}
}
