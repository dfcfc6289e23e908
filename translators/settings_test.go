package translators_test

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type config struct {
	URL     string        `setting:"url,required" doc:"Where the backend is."`
	Mode    string        `setting:"mode" default:"fast" enum:"fast,safe" doc:"How."`
	Key     proxy.Secret  `setting:"key,required" doc:"Secret key."`
	Timeout time.Duration `setting:"timeout" default:"5s" min:"0.5" max:"60" doc:"Patience."`
	Retries int           `setting:"retries" default:"3" min:"0" max:"10" doc:"Attempts | retries."`
	Ratio   float64       `setting:"ratio" default:"0.5"`
	Verbose bool          `setting:"verbose" default:"true"`
	Hosts   []string      `setting:"hosts" doc:"More of them."`
	ignored int
}

func TestDecode(t *testing.T) {
	for name, tc := range map[string]struct {
		settings translators.Settings
		want     config
		problems []string
	}{
		"defaults fill what is absent": {
			settings: translators.Settings{"url": "u", "key": proxy.NewSecret("k")},
			want: config{
				URL: "u", Key: proxy.NewSecret("k"), Mode: "fast", Timeout: 5 * time.Second, Retries: 3, Ratio: 0.5, Verbose: true,
			},
		},
		"every setting, as JSON has it": {
			settings: translators.Settings{
				"url": "u", "key": "k", "mode": "safe", "timeout": "500ms", "retries": 0.0, "ratio": 1.0, "verbose": false,
				"hosts": []any{"a", "b"},
			},
			want: config{URL: "u", Key: proxy.NewSecret("k"), Mode: "safe", Timeout: 500 * time.Millisecond, Ratio: 1, Hosts: []string{"a", "b"}},
		},
		"numbers as YAML has them": {
			settings: translators.Settings{"url": "u", "key": "k", "retries": uint64(7), "ratio": 2},
			want: config{
				URL: "u", Key: proxy.NewSecret("k"), Mode: "fast", Timeout: 5 * time.Second, Retries: 7, Ratio: 2, Verbose: true,
			},
		},
		"required settings that are absent": {
			settings: translators.Settings{},
			problems: []string{"settings.key: is required: Secret key.", "settings.url: is required: Where the backend is."},
		},
		"an unknown one, and all problems at once": {
			settings: translators.Settings{"url": 1, "key": "k", "modes": "x", "mode": "slow"},
			problems: []string{
				`settings.mode: is "slow"; it must be one of fast, safe`, "settings.modes: is not a setting; there are key, url, hosts",
				"settings.url: is 1; it must be text",
			},
		},
		"values out of bounds": {
			settings: translators.Settings{"url": "u", "key": "k", "timeout": "100ms", "retries": 11},
			problems: []string{"settings.retries: is 11; it must be at most 10", "settings.timeout: is 0.1 seconds; it must be at least 0.5"},
		},
		"values of the wrong kind": {
			settings: translators.Settings{
				"url": "u", "key": "k", "timeout": "soon", "retries": 1.5, "verbose": "yes", "hosts": []any{"a", 1}, "ratio": nil,
			},
			problems: []string{
				"settings.hosts[1]: is 1; it must be text", "settings.ratio: is <nil>; it must be a number",
				"settings.retries: is 1.5; it must be an integer", `settings.timeout: is "soon"; it must be a duration`,
				`settings.verbose: is "yes"; it must be true or false`,
			},
		},
		"a secret of the wrong kind is not shown": {
			settings: translators.Settings{"url": "u", "key": 1234},
			problems: []string{"settings.key: is [redacted]; it must be text"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got config
			err := tc.settings.Decode(&got)
			if len(tc.problems) == 0 {
				if err != nil || !reflect.DeepEqual(got, tc.want) {
					t.Fatalf("Decode = %+v, %v, want %+v", got, err, tc.want)
				}
				return
			}
			if err == nil {
				t.Fatal("Decode accepted the settings")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tc.problems) {
				t.Fatalf("problems\n%v\nwant %d of them", err, len(tc.problems))
			}
			for i, want := range tc.problems {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("problem %q, want %q", lines[i], want)
				}
			}
		})
	}
}

func TestSchema(t *testing.T) {
	schema := translators.SchemaOf(config{ignored: 1})
	raw, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/schema.json.golden", string(raw)+"\n")
	golden(t, "testdata/settings.md.golden", schema.Markdown())
	var back translators.Schema
	if err := json.Unmarshal(raw, &back); err != nil || back.Markdown() != schema.Markdown() {
		t.Errorf("the schema reads back from JSON as %+v, %v", back, err)
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v); got\n%s", path, err, got)
	}
}

func TestCheck(t *testing.T) {
	good := translators.Description{Name: "x", Version: "1.0.0"}
	for name, tc := range map[string]struct {
		change func(*translators.Description)
		want   string
	}{
		"in order":         {func(*translators.Description) {}, ""},
		"no name":          {func(d *translators.Description) { d.Name = "" }, `name ""`},
		"a name with case": {func(d *translators.Description) { d.Name = "Ably" }, `name "Ably"`},
		"no version":       {func(d *translators.Description) { d.Version = "one" }, `version "one"`},
		"an odd feature": {func(d *translators.Description) {
			d.Features = map[translators.Feature]translators.Fidelity{"telepathy": {}}
		}, `feature "telepathy"`},
		"lossy without a word": {func(d *translators.Description) {
			d.Features = map[translators.Feature]translators.Fidelity{translators.FeatureCache: {Level: translators.Lossy}}
		}, "its note must say what is lost"},
		"a setting of an odd type": {func(d *translators.Description) {
			d.Settings = translators.SchemaOf(struct {
				F func() `setting:"f"`
			}{})
		}, `setting "f": its field has a type`},
		"a default that does not fit": {func(d *translators.Description) {
			d.Settings = translators.SchemaOf(struct {
				N int `setting:"n" default:"many"`
			}{})
		}, `default of settings.n: is "many"`},
	} {
		t.Run(name, func(t *testing.T) {
			d := good
			tc.change(&d)
			err := d.Check()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Check: %v, want %q in it", err, tc.want)
			}
		})
	}
}
