package ably_test

import (
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/ably"
	"github.com/offramp/offramp/translators/ably/ablytest"
	"github.com/offramp/offramp/translators/translatortest"
)

// TestMain makes the test binary the plugin, too.
func TestMain(m *testing.M) { translatortest.Main(m, ably.New()) }

// standIn starts a stand-in for Ably.
func standIn(t *testing.T, o ablytest.Options) *ablytest.Server {
	t.Helper()
	server, err := ablytest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func settings(server *ablytest.Server, more ...any) translators.Settings {
	s := translators.Settings{"key": proxy.NewSecret(server.Key()), "host": server.Addr(), "tls": false, "retry": "200ms"}
	for i := 0; i < len(more); i += 2 {
		s[more[i].(string)] = more[i+1]
	}
	return s
}

func open(t *testing.T, role proxy.Role, settings translators.Settings) translators.Session {
	t.Helper()
	return translatortest.Open(t, ably.New(), role, settings)
}
