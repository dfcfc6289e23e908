package transcript

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

func TestParse(t *testing.T) {
	scripts, err := Parse("f.txt", "# a comment\n\n== T001 T002: first\nA connect\nA > {\"event\": \"x\"}\n== : second\nsleep 5s\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) != 2 || strings.Join(scripts[0].IDs, " ") != "T001 T002" || len(scripts[1].IDs) != 0 || scripts[1].Title != "second" {
		t.Fatalf("Parse = %+v", scripts)
	}
	if got, want := scripts[0].Steps[1], (Step{Line: 5, Who: "A", Verb: ">", Rest: `{"event": "x"}`}); got != want {
		t.Errorf("step = %+v, want %+v", got, want)
	}
	if got, want := scripts[1].Steps[0], (Step{Line: 7, Verb: "sleep", Rest: "5s"}); got != want {
		t.Errorf("step = %+v, want %+v", got, want)
	}
	for text, want := range map[string]string{
		"A connect\n":      "f.txt:1: a step before the first title",
		"\n== no ids\n":    "f.txt:2: write the title",
		"== T1: too short": "f.txt:1: write the title",
	} {
		if _, err := Parse("f.txt", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want %s", text, err, want)
		}
	}
}

// A runner that cannot fail would prove nothing.
func TestRunNoticesWhatIsNotAsWritten(t *testing.T) {
	for name, tc := range map[string]struct{ steps, want string }{
		"as written":                      {"A connect\nA joins c\npublish c e 1\nA < {\"event\":\"e\",\"channel\":\"c\",\"data\":\"1\"}", ""},
		"another frame":                   {"A connect\nA subscribe c\nA < {}", "got\n  {\"event\":\"pusher_internal:subscription_succeeded\""},
		"no frame":                        {"A connect\nA < {}", "got nothing, want"},
		"a frame where silence is due":    {"A connect\nA subscribe c\nA silent", "want nothing"},
		"a frame that nobody reads":       {"A connect\nA subscribe c", "A has yet to read"},
		"a confirmation that is an error": {"A connect\nA joins #", "want a frame of pusher_internal:subscription_succeeded"},
		"open, not closed":                {"A connect\nA closed 4000 x", "the connection is open"},
		"closed with another code":        {"A connect\nA signs-in {\"id\":\"u\"}\nterminate u\nA closed 4000 x", `closed with "4009 Connection terminated by the application"`},
		"greeted, not refused":            {"A refused 4003 x", "want to be refused"},
		"refused, not greeted":            {"app no enabled\nA connect", "greeting"},
		"nobody of that name":             {"A silent", "A is not connected"},
		"a placeholder of nobody":         {"A connect\nA > ${B}", "B is not connected"},
		"a placeholder without an end":    {"A connect\nA > ${A", "no closing brace"},
		"an unknown step":                 {"jump", `no such step: "jump"`},
		"an unknown step of a client":     {"A connect\nA jumps", `no such step of a connection: "jumps"`},
		"an unknown setting":              {"app speed", `no such setting: "speed"`},
		"a bad duration":                  {"sleep long", "invalid duration"},
		"a frame on a closed connection":  {"A connect\nA signs-in {\"id\":\"u\"}\nterminate u\nA > {}", "the connection is closed"},
		"a publish without an absent one": {"publish c e 1 except A", "A is not connected"},
	} {
		t.Run(name, func(t *testing.T) {
			scripts, err := Parse("f.txt", "== : "+name+"\n"+tc.steps)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				target := NewEngine()
				ended := make(chan error)
				go func() { ended <- target.Run(ctx) }()
				err := scripts[0].Run(target)
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				switch {
				case tc.want == "" && err != nil:
					t.Errorf("Run = %v", err)
				case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
					t.Errorf("Run = %v, want %q in it", err, tc.want)
				}
			})
		})
	}
}
