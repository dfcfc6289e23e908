package translatortest_test

import (
	"context"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/nats"
	"github.com/offramp/offramp/translators/translatortest"
)

// TestARealBackendMadeSlow: NATS behind a Delay is slow, and its translator
// waits.
func TestARealBackendMadeSlow(t *testing.T) {
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Shutdown)
	if !server.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	delay := translatortest.NewDelay(t, server.Addr().String())
	slowed := 0
	report, err := translatortest.Check(context.Background(), translatortest.Options{
		Translator: nats.New(), Settings: translators.Settings{"url": "nats://" + delay.Addr}, Only: []string{"slow"},
		Slow: func() (func(), error) { slowed++; return delay.Slow() }, Patience: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Results[0]; r.Outcome != translatortest.Passed || slowed != 1 {
		t.Errorf("slowed %d times: %+v", slowed, r)
	}
}
