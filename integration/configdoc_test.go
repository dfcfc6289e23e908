package integration

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/offramp/offramp/configs"
)

// settingRow is a line of the tables in docs/configuration.md:
// | `path` | default | meaning |
var settingRow = regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\| ([^|]*) \\| ([^|]+) \\|$")

// TestConfigurationIsDocumented: docs/configuration.md has a row for every
// setting there is, with its default, and for no other.
func TestConfigurationIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range settingRow.FindAllStringSubmatch(string(text), -1) {
		path, standard := row[1], strings.TrimSpace(row[2])
		if _, twice := documented[path]; twice {
			t.Errorf("%s is documented twice", path)
		}
		documented[path] = standard
	}
	for _, s := range configs.Settings() {
		want := "–"
		switch {
		case s.Required:
			want = "required"
		case s.Default != "":
			want = "`" + s.Default + "`"
		}
		got, ok := documented[s.Path]
		switch {
		case !ok:
			t.Errorf("docs/configuration.md has no row for %s (default %s): %s", s.Path, want, s.Takes)
		case got != want:
			t.Errorf("docs/configuration.md says that %s is %s when absent, and it is %s", s.Path, got, want)
		}
		delete(documented, s.Path)
	}
	for path := range documented {
		t.Errorf("docs/configuration.md has a row for %s, which is no setting", path)
	}
}
