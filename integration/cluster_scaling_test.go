package integration

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/integration/harness"
)

// TestTwoNodesCarryMore measures what a delivery costs one node alone, and
// what it costs two nodes that share the subscribers of every channel, in
// processor time: a load generator would need most of the machine. Two nodes
// have to carry 1.6 times as much. Events come one by one: a node that has
// more to do than it can sends several in one write, and each costs it less.
// Everything has to arrive in any case; the figure counts on a quiet machine
// and without the race detector only, where OFFRAMP_MEASURE asks for it.
func TestTwoNodesCarryMore(t *testing.T) {
	redis := startRedis(t)
	cluster := `cluster: {redis: {url: "redis://127.0.0.1:` + redis.port + `/0"}}`
	alone := costOfDelivery(t, harness.Start(t, harness.DefaultApps))
	together := costOfDelivery(t, harness.Start(t, harness.DefaultApps, cluster), harness.Start(t, harness.DefaultApps, cluster))
	capacity := 2 * float64(alone) / float64(together)
	t.Logf("a delivery costs one node %v, and two nodes %v: they carry %.2f times as much", alone, together, capacity)
	if os.Getenv("OFFRAMP_MEASURE") != "" && capacity < 1.6 {
		t.Errorf("two nodes carry %.2f times what one does, want 1.6", capacity)
	}
}

// costOfDelivery returns the processor time of the nodes per delivered event.
func costOfDelivery(t *testing.T, nodes ...*harness.Gateway) time.Duration {
	t.Helper()
	const channels, subscribers, events = 2, 500, 200
	var received atomic.Int64
	var reading sync.WaitGroup
	var conns []*websocket.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		reading.Wait()
	}()
	for i := range channels * subscribers {
		conn := connect(t, nodes[i%len(nodes)])
		subscribe(t, conn, fmt.Sprintf("fan-%d", i%(channels*len(nodes))/len(nodes)))
		_ = conn.SetReadDeadline(time.Time{})
		conns = append(conns, conn)
		reading.Go(func() {
			for {
				_, frame, err := conn.ReadMessage()
				if err != nil {
					return
				}
				if strings.HasPrefix(string(frame), `{"event":"tick"`) {
					received.Add(1)
				}
			}
		})
	}
	before := processorTime(t, nodes)
	pace := time.NewTicker(10 * time.Millisecond) // so that no event shares a write with another
	defer pace.Stop()
	for n := range events {
		<-pace.C
		if err := serverOf(nodes[n%len(nodes)]).Trigger(fmt.Sprintf("fan-%d", n%channels), "tick", strconv.Itoa(n)); err != nil {
			t.Fatal(err)
		}
	}
	const deliveries = subscribers * events
	eventually(t, "all events are delivered", func() bool { return received.Load() == deliveries })
	return (processorTime(t, nodes) - before) / deliveries
}

// processorTime returns what the nodes have used of it.
func processorTime(t *testing.T, nodes []*harness.Gateway) (sum time.Duration) {
	t.Helper()
	for _, g := range nodes {
		_, metrics := get("http://" + g.Admin + "/metrics")
		for lines := bufio.NewScanner(strings.NewReader(metrics)); lines.Scan(); {
			if text, is := strings.CutPrefix(lines.Text(), "process_cpu_seconds_total "); is {
				seconds, err := strconv.ParseFloat(text, 64)
				if err != nil {
					t.Fatal(err)
				}
				sum += time.Duration(seconds * float64(time.Second))
			}
		}
	}
	return sum
}
