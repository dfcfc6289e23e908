package pusher_test

import (
	"testing"

	"github.com/offramp/offramp/translators/pusher"
	"github.com/offramp/offramp/translators/translatortest"
)

func TestConformance(t *testing.T) {
	for name, tc := range map[string]struct {
		start   func(*testing.T) peer
		process bool
	}{
		"a second Offramp":            {start: secondOfframp},
		"a second Offramp, a process": {start: secondOfframp, process: true},
		"soketi":                      {start: soketi},
		"soketi, a process":           {start: soketi, process: true},
	} {
		t.Run(name, func(t *testing.T) {
			options := translatortest.Options{}
			if tc.process {
				t.Parallel() // after those in this process, whose goroutines are counted
				options.Command = translatortest.Self(t)
			} else {
				options.Translator = pusher.New()
			}
			p := tc.start(t)
			options.Settings, options.Outage = p.settings(), p.outage
			translatortest.Run(t, options)
		})
	}
}
