package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/offramp/offramp/integration/harness"
)

// bridged runs a gateway whose app is bridged to a NATS server.
func bridged(t *testing.T, url string) *harness.Gateway {
	t.Helper()
	return harness.Start(t, strings.TrimRight(harness.DefaultApps, "\n")+fmt.Sprintf(`
    backends:
      - {name: nats, plugin: nats, role: bridge, channels: ["news"], settings: {url: %q}}
`, url))
}

// TestBridgedGateways joins two gateways and a program of the backend's own:
// each is told once what another says, and nobody hears itself.
func TestBridgedGateways(t *testing.T) {
	url := startNATSProcess(t)
	one, two := bridged(t, url), bridged(t, url)
	ann, bob := connect(t, one), connect(t, two)
	subscribe(t, ann, "news")
	subscribe(t, bob, "news")
	runningPlugin(t, one, 0)
	runningPlugin(t, two, 0)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	program, err := conn.SubscribeSync("offramp." + harness.AppID + ".news")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}

	trigger(t, one, "news", "n", 1)
	expect(t, ann, "n", 1)
	expect(t, bob, "n", 1)
	trigger(t, two, "news", "n", 2)
	expect(t, ann, "n", 2)
	expect(t, bob, "n", 2)
	native := &nats.Msg{Subject: program.Subject, Header: nats.Header{"Offramp-Event": {"n"}}, Data: []byte("3")}
	if err := conn.PublishMsg(native); err != nil {
		t.Fatal(err)
	}
	expect(t, ann, "n", 3)
	expect(t, bob, "n", 3)
	trigger(t, one, "news", "n", 4) // nothing has come in between
	expect(t, ann, "n", 4)
	expect(t, bob, "n", 4)
	for want := range 4 {
		m, err := program.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) != fmt.Sprint(want+1) {
			t.Fatalf("the backend got %s, want %d, and each once", m.Data, want+1)
		}
	}
	var backends []struct {
		Bridge struct {
			Published int
			Loops     int
		}
	}
	getJSON(t, "http://"+one.Admin+"/api/v1/backends", &backends)
	if b := backends[0].Bridge; b.Published != 2 || b.Loops != 0 {
		t.Errorf("the gateway says %+v, want 2 events brought in and no loop", b)
	}
}
