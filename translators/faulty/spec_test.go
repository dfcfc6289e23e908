package faulty_test

import (
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/translators/faulty"
)

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want faulty.Spec
		err  string
	}{
		"nothing":              {text: "", want: faulty.Spec{}},
		"all there is":         {text: "drop=0.01, dup=0.005,reorder=0.005,corrupt=0.002,delay=200ms,seed=7", want: faulty.Spec{Drop: 0.01, Dup: 0.005, Reorder: 0.005, Corrupt: 0.002, Delay: 200 * time.Millisecond, Seed: 7}},
		"everything dropped":   {text: "drop=1", want: faulty.Spec{Drop: 1}},
		"no value":             {text: "drop", err: `fault "drop": write name=value`},
		"an unknown fault":     {text: "lose=0.1", err: "no such fault: use drop, dup"},
		"twice":                {text: "drop=0.1,drop=0.2", err: `"drop" is given twice`},
		"a percentage":         {text: "drop=1%", err: "a share between 0 and 1"},
		"more than all":        {text: "drop=1.5", err: "a share between 0 and 1"},
		"not a number":         {text: "drop=NaN", err: "a share between 0 and 1"},
		"more than all at sum": {text: "drop=0.6,dup=0.6", err: "add up to 1.2"},
		"a delay with no unit": {text: "delay=200", err: "a duration between 0s and 10s"},
		"a delay too long":     {text: "delay=1h", err: "a duration between 0s and 10s"},
		"a negative seed":      {text: "seed=-1", err: "a whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := faulty.Parse(tc.text)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("Parse(%q): %v, want %q in it", tc.text, err, tc.err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("Parse(%q) = %+v, %v, want %+v", tc.text, got, err, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("drop=0.01,dup=0.005,reorder=0.005,corrupt=0.002,delay=200ms,seed=7")
	f.Add("drop=1e-3")
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := faulty.Parse(text)
		if err != nil {
			return
		}
		again, err := faulty.Parse(spec.String())
		if err != nil || again != spec {
			t.Errorf("Parse(%q) = %+v, but its text %q reads as %+v, %v", text, spec, spec.String(), again, err)
		}
	})
}
