package integration

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy/protocol"
)

// footprint is what a gateway says that it holds.
type footprint map[string]float64

// allowance is how much a figure may have grown.
type allowance struct{ factor, more float64 }

func (a allowance) covers(before, after float64) bool { return after <= before*a.factor+a.more }

// heldThings are the figures that must be back where they were when everybody
// has left, and by how much a process may miss that: what it keeps for the
// next time.
var heldThings = map[string]allowance{
	"offramp_engine_connections":    {1, 0},
	"offramp_engine_channels":       {1, 0},
	"offramp_engine_subscriptions":  {1, 0},
	"process_open_fds":              {1, 2},  // connections of this test's own HTTP client
	"go_goroutines":                 {1, 40}, // pools keep some of their workers for a while
	"go_memstats_heap_objects":      {1.1, 2000},
	"process_resident_memory_bytes": {1.05, 1 << 20},
}

// shortResidence is how much of its memory a gateway may keep more than before
// in the short form, which makes up its mind within seconds, and with the race
// detector's own memory.
const shortResidence = 1.25

// TestNothingGrows lets clients come, subscribe and crash, for seconds or for
// as long as OFFRAMP_SOAK says (such as 1h), and compares what the gateway
// holds then with what it held after a first such round.
func TestNothingGrows(t *testing.T) {
	rest, allowed := 4*time.Second, maps.Clone(heldThings)
	if text := os.Getenv("OFFRAMP_SOAK"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("OFFRAMP_SOAK: %v", err)
		}
		rest = d
	} else {
		residence := allowed["process_resident_memory_bytes"]
		residence.factor = shortResidence
		allowed["process_resident_memory_bytes"] = residence
	}
	g := harness.Start(t, harness.DefaultApps)
	churn(t, g, 3*time.Second)
	before := settled(t, g, nil, nil)
	clients := churn(t, g, rest)
	after := settled(t, g, before, allowed)
	t.Logf("%d clients came and left in %v", clients, rest)
	for name, a := range allowed {
		t.Logf("%-30s %12.0f before, %12.0f after", name, before[name], after[name])
		if !a.covers(before[name], after[name]) {
			t.Errorf("%s: %.0f before and %.0f after", name, before[name], after[name])
		}
	}
}

// settled waits until nobody is left and the figures are no more than they
// may be, or for 15 s, and returns them.
func settled(t *testing.T, g *harness.Gateway, before footprint, allowed map[string]allowance) (now footprint) {
	t.Helper()
	// Idle memory is given back after half a second; some pools need another collection.
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		now = measure(t, g)
		calm := before != nil
		for name, a := range allowed {
			calm = calm && a.covers(before[name], now[name])
		}
		if calm || time.Now().After(deadline) {
			return now
		}
		if before == nil && time.Until(deadline) < 10*time.Second && now["offramp_engine_connections"] == 0 {
			return now
		}
	}
}

func measure(t *testing.T, g *harness.Gateway) footprint {
	t.Helper()
	resp, err := http.Get("http://" + g.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	found := make(footprint)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		series, text, _ := strings.Cut(lines.Text(), " ")
		name, _, _ := strings.Cut(series, "{")
		if _, wanted := heldThings[name]; !wanted {
			continue
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("metric %s: %v", name, err)
		}
		found[name] += value
	}
	for name := range heldThings {
		if _, ok := found[name]; !ok {
			t.Fatalf("the gateway has no metric %s", name)
		}
	}
	return found
}

// churn keeps clients coming and going, some of them politely, and returns
// how many there were.
func churn(t *testing.T, g *harness.Gateway, d time.Duration) (clients int) {
	t.Helper()
	const atOnce = 40
	var wg sync.WaitGroup
	var mu sync.Mutex
	stop := time.Now().Add(d)
	for i := range atOnce {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			server := serverOf(g) // not for concurrent use
			for n := 0; time.Now().Before(stop); n++ {
				if err := visit(g, random); err != nil {
					t.Error(err)
					return
				}
				if n%8 == 0 {
					if err := server.Trigger(fmt.Sprintf("cache-%d", random.IntN(50)), "e", "x"); err != nil {
						t.Error(err)
						return
					}
				}
				mu.Lock()
				clients++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return clients
}

// visit is one client: it connects, subscribes to some channels, and closes,
// crashes or resets its connection, with or without waiting for answers.
func visit(g *harness.Gateway, random *rand.Rand) error {
	conn, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr+"/app/"+harness.Key+"?protocol=7&client=churn&version=1", nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, greeting, err := conn.ReadMessage()
	if err != nil {
		return fmt.Errorf("read the greeting: %w", err)
	}
	socket := protocol.SocketID(strings.Split(string(greeting), `\"`)[3])
	number := random.IntN(50)
	for _, frame := range []string{
		fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":"public-%d"}}`, number),
		fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":"cache-%d"}}`, number),
		presenceFrame(socket, fmt.Sprintf("presence-%d", number), fmt.Sprint(random.IntN(1000))),
	} {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	if random.IntN(4) > 0 {
		if _, _, err := conn.ReadMessage(); err != nil {
			return fmt.Errorf("read an answer: %w", err)
		}
	}
	switch random.IntN(3) {
	case 0:
		return conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	case 1:
		return conn.NetConn().(*net.TCPConn).SetLinger(0) // the peer sees a reset
	}
	return nil
}

func presenceFrame(socket protocol.SocketID, channel, user string) string {
	data := `{"user_id":"` + user + `"}`
	auth := harness.Key + ":" + protocol.Sign(harness.Secret, protocol.ChannelString(socket, protocol.ChannelName(channel), &data))
	return `{"event":"pusher:subscribe","data":{"channel":"` + channel + `","auth":"` + auth +
		`","channel_data":` + string(protocol.AppendString(nil, data)) + `}}`
}
