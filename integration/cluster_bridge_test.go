package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/offramp/offramp/integration/harness"
)

// TestBridgeOfTwoNodes bridges a gateway of two nodes to a program of the
// backend's own: clients of both nodes are given what it says once, also after
// the node has died that brought it in, and it is given what they say once.
func TestBridgeOfTwoNodes(t *testing.T) {
	url := startNATSProcess(t)
	nodes, _ := startCluster(t, 2, strings.TrimRight(harness.DefaultApps, "\n")+fmt.Sprintf(`
    backends:
      - {name: nats, plugin: nats, role: bridge, channels: ["private-news"], settings: {url: %q}}
`, url))
	ann, bob := dialNode(t, nodes[0]), dialNode(t, nodes[1])
	ann.join("private-news", "")
	bob.join("private-news", "")
	runningPlugin(t, nodes[0], 0)
	runningPlugin(t, nodes[1], 0)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	program, err := conn.SubscribeSync("offramp." + harness.AppID + ".private-news")
	if err != nil {
		t.Fatal(err)
	}
	native := func(data string) {
		t.Helper()
		if err := conn.PublishMsg(&nats.Msg{Subject: program.Subject, Header: nats.Header{"Offramp-Event": {"n"}}, Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	given := func(c *clusterClient, want ...string) bool { return slices.Equal(dataOf(c.events("n")), want) }

	native("1")
	eventually(t, "both have the native event", func() bool { return given(ann, "1") && given(bob, "1") })
	native("2")
	native("2")
	eventually(t, "both have two equal ones", func() bool { return given(ann, "1", "2", "2") && given(bob, "1", "2", "2") })
	trigger(t, nodes[0], "private-news", "n", 3)
	eventually(t, "both have a server's event", func() bool { return given(ann, "1", "2", "2", "3") && given(bob, "1", "2", "2", "3") })
	send(t, bob.conn, `{"event":"client-n","channel":"private-news","data":"4"}`)
	eventually(t, "the other one has a client's event", func() bool { return slices.Equal(dataOf(ann.events("client-n")), []string{"4"}) })
	trigger(t, nodes[1], "private-news", "n", 5)
	for i, want := range []string{"1", "2", "2", "3", "4", "5"} {
		m, err := program.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(m.Data); i < 3 && got != want || !strings.Contains("12345", got) {
			t.Fatalf("the backend got %s in place %d, want %s", got, i, want)
		}
	}

	// The node dies that brings events in.
	owner, other, client, witness := 0, 1, bob, ann
	if bridgedIn(t, nodes[1]) > 0 {
		owner, other, client, witness = 1, 0, ann, bob
	}
	if n := bridgedIn(t, nodes[owner]); n != 3 || bridgedIn(t, nodes[other]) != 0 {
		t.Errorf("one node has brought in %d events and the other %d, want 3 and 0", n, bridgedIn(t, nodes[other]))
	}
	before := dataOf(witness.events("n"))
	if want := []string{"1", "2", "2", "3", "5"}; !slices.Equal(before, want) {
		eventually(t, "the last server's event", func() bool { return given(witness, want...) })
	}
	nodes[owner].Kill(t)
	native("6")
	native("7")
	patiently(t, "what came after the node died", func() bool { return given(client, "1", "2", "2", "3", "5", "6", "7") })
	native("8")
	eventually(t, "what comes later", func() bool { return given(client, "1", "2", "2", "3", "5", "6", "7", "8") })
	for range 3 {
		if _, err := program.NextMsg(30 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := program.NextMsg(time.Second); err == nil {
		t.Errorf("the backend got %s once more", m.Data)
	}
	if got := dataOf(client.events("n")); len(got) != 8 {
		t.Errorf("the client was given %v in the end, want each once", got)
	}
}

// dataOf returns the data of events.
func dataOf(frames []string) []string {
	var list []string
	for _, f := range frames {
		_, data, _ := strings.Cut(f, `"data":"`)
		data, _, _ = strings.Cut(data, `"`)
		list = append(list, data)
	}
	return list
}

// bridgedIn returns how many events a gateway's bridge has brought in.
func bridgedIn(t *testing.T, g *harness.Gateway) int {
	t.Helper()
	var backends []struct{ Bridge struct{ Published int } }
	getJSON(t, "http://"+g.Admin+"/api/v1/backends", &backends)
	return backends[0].Bridge.Published
}
