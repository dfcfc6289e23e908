package integration

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

// leaving runs a vendor, which is a second gateway with the same credentials,
// and a gateway in front of it at stage observe.
func leaving(t *testing.T) (vendor, gateway *harness.Gateway) {
	t.Helper()
	vendor = harness.Start(t, harness.DefaultApps)
	gateway = harness.Start(t, strings.TrimRight(harness.DefaultApps, "\n")+fmt.Sprintf(`
    stage: observe
    upstream: {websocket: "ws://%s", api: "http://%s"}
`, vendor.Addr, vendor.Addr))
	return vendor, gateway
}

// stage runs offramp stage against a running gateway.
func stage(t *testing.T, g *harness.Gateway, args ...string) {
	t.Helper()
	if out, status := run(t, append(append([]string{"stage"}, args...), "--admin", "http://"+g.Admin, "--why", "drill")...); status != 0 {
		t.Fatalf("offramp stage %s ends with %d: %s", strings.Join(args, " "), status, out)
	}
}

func trigger(t *testing.T, g *harness.Gateway, channel, event string, n int) {
	t.Helper()
	client := pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: g.Addr}
	if err := client.Trigger(channel, event, n); err != nil {
		t.Errorf("publish %s %d: %v", event, n, err)
	}
}

func expect(t *testing.T, conn *websocket.Conn, event string, n int) {
	t.Helper()
	if frame, want := readEvent(t, conn), fmt.Sprintf(`{"event":"%s","channel":"news","data":"%d"}`, event, n); frame != want {
		t.Fatalf("got %s, want %s", frame, want)
	}
}

// ending reads until a connection ends, and returns how.
func ending(conn *websocket.Conn) (err error) {
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	for err == nil {
		_, _, err = conn.ReadMessage()
	}
	return err
}

// wander keeps a client on a gateway until stop: it comes back whenever it is
// sent away, and fails the test when it is told to stay away.
func wander(t *testing.T, g *harness.Gateway, stop <-chan struct{}) (seen map[string]int, moves int) {
	seen = make(map[string]int)
	for {
		conn, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr+"/app/"+harness.Key+"?protocol=7", nil)
		if err != nil {
			t.Errorf("the client cannot come back: %v", err)
			return seen, moves
		}
		_ = resp.Body.Close()
		_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"event":"pusher:subscribe","data":{"channel":"news"}}`)) // or it is closed below
		for err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			var frame []byte
			if _, frame, err = conn.ReadMessage(); strings.HasPrefix(string(frame), `{"event":"n"`) {
				seen[string(frame)]++
			}
		}
		_ = conn.Close()
		select {
		case <-stop:
			return seen, moves
		default:
		}
		var ended *websocket.CloseError
		if errors.As(err, &ended) {
			moves++
			if ended.Code < 4100 || ended.Code > 4299 {
				t.Errorf("the client was closed with %d %q: it would not come back", ended.Code, ended.Text)
			}
		}
	}
}

// TestTheRoadOutAndBack walks from observe to cutover and back with one
// command a step, under load. Somebody who stays at the vendor gets every
// event once and in order; a client of the gateway is sent from side to side,
// never away, and gets nothing twice.
func TestTheRoadOutAndBack(t *testing.T) {
	vendor, gateway := leaving(t)
	straggler := connect(t, vendor)
	subscribe(t, straggler, "news")
	stop := make(chan struct{})
	var load sync.WaitGroup
	published := 0
	load.Go(func() {
		client := pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: gateway.Addr}
		for ; ; published++ {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
				if err := client.Trigger("news", "n", published); err != nil {
					t.Errorf("publish %d: %v", published, err)
				}
			}
		}
	})
	var seen map[string]int
	var moves int
	load.Go(func() { seen, moves = wander(t, gateway, stop) })
	for _, next := range []string{"shadow", "mirror", "cutover"} {
		stage(t, gateway, "set", next, "--force")
		time.Sleep(500 * time.Millisecond)
	}
	began := time.Now()
	for range 3 {
		stage(t, gateway, "rollback")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("three rollbacks took %v", took)
	}
	time.Sleep(500 * time.Millisecond)
	close(stop)
	load.Wait()
	for n := range published {
		expect(t, straggler, "n", n)
	}
	if moves < 3 {
		t.Errorf("the client was moved %d times, want at least once for mirror, cutover and back", moves)
	}
	for frame, times := range seen {
		if times > 1 {
			t.Errorf("%s came %d times", frame, times)
		}
	}
	if missed := published - len(seen); missed > published/5 {
		t.Errorf("%d of %d events missed the client while it was between two connections", missed, published)
	}
}

// TestGatewayKilledOnTheRoad: the stage is where it was left.
func TestGatewayKilledOnTheRoad(t *testing.T) {
	vendor, gateway := leaving(t)
	stage(t, gateway, "set", "cutover", "--force")
	gateway.Kill(t)
	gateway.Run(t)
	here, there := connect(t, gateway), connect(t, vendor)
	subscribe(t, here, "news")
	subscribe(t, there, "news")
	trigger(t, gateway, "news", "n", 1)
	expect(t, here, "n", 1)
	expect(t, there, "n", 1)
	stage(t, gateway, "rollback")
	if err := ending(here); !websocket.IsCloseError(err, 4200) {
		t.Errorf("after the rollback the client ended with %v, want close 4200", err)
	}
	here = connect(t, gateway)
	subscribe(t, here, "news")
	trigger(t, vendor, "news", "n", 2)
	expect(t, here, "n", 2)
	expect(t, there, "n", 2)
}

// TestVendorKilledOnTheRoad: clients of the gateway go on, and the bridge is
// there again when the vendor is.
func TestVendorKilledOnTheRoad(t *testing.T) {
	vendor, gateway := leaving(t)
	relayed := connect(t, gateway)
	vendor.Kill(t)
	if err := ending(relayed); !websocket.IsCloseError(err, 4100, 4200) {
		t.Errorf("a relayed client ended with %v, want close 4100 or 4200", err)
	}
	stage(t, gateway, "set", "cutover", "--force")
	here := connect(t, gateway)
	subscribe(t, here, "news")
	for n := range 5 {
		trigger(t, gateway, "news", "n", n)
		expect(t, here, "n", n)
	}
	vendor.Run(t)
	there := connect(t, vendor)
	subscribe(t, there, "news")
	// Both directions come back by themselves; only events show when.
	stop := make(chan struct{})
	var load sync.WaitGroup
	defer load.Wait()
	defer close(stop)
	load.Go(func() {
		for {
			trigger(t, gateway, "news", "from-here", 1)
			trigger(t, vendor, "news", "from-there", 1)
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	await(t, there, "from-here")
	await(t, here, "from-there")
}

// await reads up to an event of that name.
func await(t *testing.T, conn *websocket.Conn, event string) {
	t.Helper()
	for began := time.Now(); !strings.HasPrefix(readEvent(t, conn), `{"event":"`+event+`"`); {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("no %s within 30 s", event)
		}
	}
}
