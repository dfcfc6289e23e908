package ably_test

import (
	"testing"
	"time"

	"github.com/offramp/offramp/translators/ably"
	"github.com/offramp/offramp/translators/ably/ablytest"
	"github.com/offramp/offramp/translators/translatortest"
)

func TestConformance(t *testing.T) {
	for name, tc := range map[string]struct {
		encoding string
		process  bool
	}{
		"MessagePack":            {encoding: "msgpack"},
		"JSON":                   {encoding: "json"},
		"MessagePack, a process": {encoding: "msgpack", process: true},
	} {
		t.Run(name, func(t *testing.T) {
			options := translatortest.Options{
				Patience:   5 * time.Second,
				Throughput: 200, // the kit keeps to the declared rate, which allows for a little more than 500
			}
			if tc.process {
				t.Parallel() // after those in this process, whose goroutines are counted
				options.Command = translatortest.Self(t)
			} else {
				options.Translator = ably.New()
			}
			server := standIn(t, ablytest.Options{})
			options.Settings = settings(server, "encoding", tc.encoding)
			options.Outage = func() (func(), error) {
				addr := server.Addr()
				err := server.Close()
				return func() { server = standIn(t, ablytest.Options{Addr: addr}) }, err
			}
			translatortest.Run(t, options)
		})
	}
}
