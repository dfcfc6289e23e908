package nats_test

import (
	"fmt"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/nats"
	"github.com/offramp/offramp/translators/translatortest"
)

func TestConformance(t *testing.T) {
	process := translatortest.Self(t)
	password := proxy.NewSecret("p4ssw0rd-of-nats")
	for name, o := range map[string]struct {
		server   natsserver.Options
		settings translators.Settings
		command  host.Command
	}{
		"core":                 {},
		"core, a process":      {command: process},
		"jetstream":            {server: natsserver.Options{JetStream: true}, settings: translators.Settings{"mode": "jetstream"}},
		"jetstream, a process": {server: natsserver.Options{JetStream: true}, settings: translators.Settings{"mode": "jetstream"}, command: process},
	} {
		t.Run(name, func(t *testing.T) {
			if o.command.Path != "" {
				t.Parallel() // after those in this process, whose goroutines are counted
			}
			o.server.Username, o.server.Password = "u", password.Reveal()
			if o.server.JetStream {
				o.server.StoreDir = t.TempDir()
			}
			server := embedded(t, &o.server)
			settings := translators.Settings{"url": server.ClientURL(), "user": "u", "password": password}
			for key, value := range o.settings {
				settings[key] = value
			}
			options := translatortest.Options{Command: o.command, Settings: settings, Throughput: 50, Outage: func() (func(), error) {
				again := o.server
				if _, err := fmt.Sscanf(server.ClientURL(), "nats://127.0.0.1:%d", &again.Port); err != nil {
					return nil, err
				}
				server.Shutdown()
				server.WaitForShutdown()
				return func() { server = embedded(t, &again) }, nil
			}}
			if o.command.Path == "" {
				options.Translator = nats.New()
			}
			translatortest.Run(t, options)
		})
	}
}
