package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

// brokers are the servers that a vandal can stand in front of.
var brokers = map[string]struct {
	start func(*testing.T) (addr string)
	parse parser
	url   string
}{
	"nats":  {startEmbeddedNATS, natsFrame, "nats://"},
	"redis": {func(t *testing.T) string { return "127.0.0.1:" + startRedis(t).port }, redisFrame, "redis://"},
}

func startEmbeddedNATS(t *testing.T) (addr string) {
	t.Helper()
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	if !server.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	return server.Addr().String()
}

// TestFaultsOnTheWireAreNamed has a vandal between the plugin and a real
// server, whose messages it loses, repeats, swaps, alters and delays: the
// report names each fault, and nothing else. A connection that breaks is no
// fault of what was on its way.
func TestFaultsOnTheWireAreNamed(t *testing.T) {
	const channels, batches, rate = 3, 120, 0.05
	const events = channels * batches * batchOfNumbers
	const atTheEnd = 4
	all := mischief{drop: rate, dup: rate, swap: rate, data: rate, anywhere: rate, delay: rate / 4}
	for name, broker := range brokers {
		t.Run(name, func(t *testing.T) {
			v := startVandal(t, broker.start(t), broker.parse, 1, all)
			g := startMirrored(t, name, broker.url+v.addr, channels)
			publishNumbers(t, g, channels, batches)
			awaitTotal(t, g, func(got cell) (want cell) { return v.foretell(events, got.PayloadDiffers) })
			v.calm()
			time.AfterFunc(300*time.Millisecond, v.cut) // amid what follows, most likely
			publishNumbers(t, g, channels, batches)
			awaitTotal(t, g, func(got cell) (want cell) {
				want = v.foretell(2*events, got.PayloadDiffers)
				want.Unknown = got.Unknown
				if got.Reordered == want.Reordered-1 {
					// The swap that the first half ended with took its second message from this
					// one, much later: that is late, and no longer out of order.
					want.Reordered--
				}
				// What is unknown of an event may also be whether it came once more.
				if unjudged := want.Expected - got.Expected; unjudged >= 0 && unjudged <= got.Unknown {
					want.Expected -= unjudged
					want.Matched -= unjudged
				}
				// The last that were lost in the first half may, for all that the report can
				// see, have been on their way still when the connection broke.
				if doubted := want.Missing - got.Missing; doubted > 0 && doubted <= min(atTheEnd, got.Unknown) {
					want.Missing -= doubted
					want.Matched += doubted
				}
				return want
			})
		})
	}
}

// startMirrored starts a gateway with a backend, and a client on each channel.
func startMirrored(t *testing.T, plugin, url string, channels int) *harness.Gateway {
	t.Helper()
	g := harness.Start(t, strings.TrimRight(harness.DefaultApps, "\n")+fmt.Sprintf(`
    backends:
      - {name: other, plugin: %s, role: shadow, channels: ["*"], settings: {url: %q}}
`, plugin, url))
	for c := range channels {
		subscribe(t, connect(t, g), fmt.Sprint("room-", c))
	}
	runningPlugin(t, g, 0)
	return g
}

// awaitTotal waits until the report on the backend is as wanted, given what it
// says.
func awaitTotal(t *testing.T, g *harness.Gateway, want func(got cell) cell) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		got, _ := reportTotal(t, g, "other")
		if got == want(got) {
			t.Logf("%+v", got)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute after the last event the report says\n%+v, want\n%+v", got, want(got))
		}
	}
}

// foretell returns what the report should say. Whoever alters anything may
// alter what no client is shown, such as a time stamp: between the two bounds
// the report is believed.
func (v *vandal) foretell(events, found int64) cell {
	v.mu.Lock()
	defer v.mu.Unlock()
	altered := min(max(found, int64(v.done.data)), int64(v.done.data+v.done.anywhere))
	missing, swapped := int64(v.done.drop)+int64(v.held), int64(v.done.swap)-int64(v.held)
	return cell{
		Expected: events, Matched: events - missing - altered, Missing: missing,
		Duplicate: int64(v.done.dup), Reordered: swapped, PayloadDiffers: altered,
	}
}

const batchOfNumbers = 4

// publishNumbers publishes events with numbers of 16 digits.
func publishNumbers(t *testing.T, g *harness.Gateway, channels, batches int) {
	t.Helper()
	client := pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: g.Addr}
	n := 0
	for range batches {
		for c := range channels {
			var batch []pusher.Event
			for range batchOfNumbers {
				n++
				batch = append(batch, pusher.Event{Channel: fmt.Sprint("room-", c), Name: "number", Data: fmt.Sprintf("n=%016d", n*7919)})
			}
			if _, err := client.TriggerBatch(batch); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}
