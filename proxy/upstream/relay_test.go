package upstream_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

func of(kind proxy.Kind, leg proxy.Leg, channel string) func(proxy.Record) bool {
	return func(r proxy.Record) bool { return r.Kind == kind && r.Leg == leg && string(r.Topic.Channel) == channel }
}

func TestAClientIsTheVendorsOwn(t *testing.T) {
	r := open(t, proxy.StageObserve)
	c := dial(t, r.gateway.addr, query)
	states := r.vendor.engine.Connections("1")
	if len(states) != 1 || states[0].Socket != c.id || states[0].Client.Library != "js" || states[0].Client.Version != "8.4.0" {
		t.Errorf("the vendor has %+v, the client is %s", states, c.id)
	}
	if n := len(r.gateway.engine.Connections("1")); n != 0 {
		t.Errorf("the gateway's engine has %d connections", n)
	}
	c.subscribe("private-a", "")
	direct := dial(t, r.vendor.addr, query)
	direct.subscribe("private-a", "")
	direct.send(`{"event":"client-hello","channel":"private-a","data":{"n":1}}`)
	if f := c.await("client-hello"); f.Raw != `{"event":"client-hello","channel":"private-a","data":"{\"n\":1}"}` {
		t.Errorf("relayed %s", f.Raw)
	}
	c.send(`{"event":"client-back","channel":"private-a","data":{"n":2}}`)
	direct.await("client-back")
	publish(t, r.vendor.addr, "private-a", "direct", "1")
	c.await("direct")
	publish(t, r.gateway.addr, "private-a", "relayed", "1")
	c.await("relayed")
	direct.await("relayed")
}

func TestControlFramesAndSubprotocolAreRelayed(t *testing.T) {
	r := open(t, proxy.StageObserve)
	dialer := websocket.Dialer{Subprotocols: []string{"pusher-channels-protocol-7"}}
	ws, resp, err := dialer.Dial("ws://"+r.gateway.addr+"/app/"+key+"?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "pusher-channels-protocol-7" {
		t.Errorf("sub-protocol %q", got)
	}
	pongs := make(chan string, 1)
	ws.SetPongHandler(func(text string) error { pongs <- text; return nil })
	if err := ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	select {
	case text := <-pongs:
		if text != "are you there" {
			t.Errorf("pong %q", text)
		}
	case <-time.After(5 * time.Second):
		t.Error("no pong")
	}
}

func TestCloseCodesAreTheVendors(t *testing.T) {
	r := open(t, proxy.StageObserve)
	t.Run("a refusal", func(t *testing.T) {
		c := dialOnly(t, r.gateway.addr, "protocol=3")
		if code, reason := c.closed(); code != protocol.CodeUnsupported || reason != "Unsupported protocol version" {
			t.Errorf("closed with %d %q", code, reason)
		}
	})
	t.Run("terminated", func(t *testing.T) {
		c := dial(t, r.gateway.addr, query)
		user := `{"id":"u"}`
		c.send(fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":"%s:%s","user_data":%q}}`, key, protocol.Sign(secret, protocol.UserString(c.id, user)), user))
		c.await("pusher:signin_success")
		if status, text := call(t, r.gateway.addr, "POST", "/apps/1/users/u/terminate_connections", "", "{}"); status != 200 {
			t.Fatalf("terminate: %d %s", status, text)
		}
		if code, _ := c.closed(); code != 4009 {
			t.Errorf("closed with %d, want the vendor's 4009", code)
		}
	})
	t.Run("by the client", func(t *testing.T) {
		c := dial(t, r.gateway.addr, query)
		message := websocket.FormatCloseMessage(1001, "gone away")
		if err := c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		c.closed()
		gone := r.seen.await(t, "disconnected", func(rec proxy.Record) bool { return rec.Kind == proxy.KindDisconnected && rec.Socket == c.id })
		if gone.Code != 1001 || gone.Text != "gone away" {
			t.Errorf("recorded %d %q", gone.Code, gone.Text)
		}
	})
}

// comesBack fails the test for every close code that stops a client for good.
func comesBack(t *testing.T, code int) {
	t.Helper()
	if code < 4100 || code > 4299 {
		t.Errorf("closed with %d: clients would not come back", code)
	}
}

func TestAnUpstreamThatIsDownBringsClientsBack(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := closed.Addr().String()
	closed.Close()
	for version, query := range map[int]string{7: query, 5: "protocol=5"} {
		r := &rig{t: t, seen: newRecords()}
		r.startGateway(proxy.StageObserve, &proxy.Upstream{WebSocket: "ws://" + addr, API: "http://" + addr})
		c := dialOnly(t, r.gateway.addr, query)
		if version < 6 {
			if f := c.await("pusher:error"); f.Get("data.code").Int() != 4100 {
				t.Errorf("in-band %s", f.Raw)
			}
		}
		code, reason := c.closed()
		comesBack(t, code)
		if reason != "Upstream not reachable, please try again" {
			t.Errorf("reason %q", reason)
		}
		refused := r.seen.await(t, "refused", of(proxy.KindRefused, proxy.LegVendor, ""))
		if refused.Text != "refused" || refused.Action != "connect" {
			t.Errorf("record %+v", refused)
		}
		if status, text := call(t, r.gateway.addr, "GET", "/apps/1/channels", "", ""); status != 502 || text != "Upstream not reachable, please try again\n" {
			t.Errorf("api: %d %q", status, text)
		}
	}
}

// odd is an upstream that answers an upgrade with raw bytes and hangs up.
func odd(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			_, _ = c.Read(buf)
			_, _ = c.Write([]byte(answer))
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

func TestAnUpstreamThatAnswersOddlyBringsClientsBack(t *testing.T) {
	for name, answer := range map[string]string{
		"an HTTP error":            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"a redirect":               "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n",
		"no HTTP":                  "SSH-2.0-OpenSSH\r\n\r\n",
		"nothing":                  "",
		"a head without end":       "HTTP/1.1 101 " + strings.Repeat("x", 20<<10),
		"a greeting, then silence": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			addr := odd(t, answer)
			r := &rig{t: t, seen: newRecords()}
			r.startGateway(proxy.StageObserve, &proxy.Upstream{WebSocket: "ws://" + addr, API: "http://" + addr})
			conn, err := net.Dial("tcp", r.gateway.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /app/%s?%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", key, query)
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			var got []byte
			for buf := make([]byte, 4096); ; {
				n, err := conn.Read(buf)
				got = append(got, buf[:n]...)
				if err != nil {
					break
				}
			}
			if !strings.HasPrefix(string(got), "HTTP/1.1 101 ") {
				t.Fatalf("answered %q", got)
			}
			if !strings.Contains(string(got), "\x10\x04Upstream") { // 4100
				t.Errorf("no close frame with 4100 in %q", got)
			}
		})
	}
}

func TestALostUpstreamBringsClientsBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	r := &rig{t: t, seen: newRecords()}
	real := open(t, proxy.StageExited).vendor
	r.startGateway(proxy.StageObserve, &proxy.Upstream{WebSocket: "ws://" + l.Addr().String(), API: "http://" + real.addr})
	killed := make(chan struct{})
	go func() { // a vendor that is killed after its greeting
		c := <-accepted
		behind, err := net.Dial("tcp", real.addr)
		if err != nil {
			return
		}
		defer behind.Close()
		go io.Copy(behind, c)
		buf := make([]byte, 4096)
		n, _ := behind.Read(buf)
		_, _ = c.Write(buf[:n])
		<-killed
		_ = c.Close()
	}()
	c := dial(t, r.gateway.addr, query)
	close(killed)
	code, reason := c.closed()
	comesBack(t, code)
	if reason != "Upstream connection lost, please try again" {
		t.Errorf("reason %q", reason)
	}
}

func TestDrainBringsEveryClientBack(t *testing.T) {
	r := open(t, proxy.StageObserve)
	var clients []*client
	for range 20 {
		clients = append(clients, dial(t, r.gateway.addr, query))
	}
	start := time.Now()
	if err := r.relay.Drain(t.Context(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 150*time.Millisecond {
		t.Errorf("all at once: %v", took)
	}
	for _, c := range clients {
		if code, reason := c.closed(); code != 4200 || reason != "Please reconnect immediately" {
			t.Errorf("closed with %d %q", code, reason)
		}
	}
}

func TestAStageMovedSendsClientsToTheEngineAndBack(t *testing.T) {
	r := open(t, proxy.StageObserve)
	c := dial(t, r.gateway.addr, query)
	r.move(proxy.StageCutover)
	code, _ := c.closed()
	if code != 4200 {
		t.Errorf("closed with %d, want 4200", code)
	}
	dial(t, r.gateway.addr, query)
	if n := len(r.gateway.engine.Connections("1")); n != 1 {
		t.Errorf("the engine has %d connections, want 1", n)
	}
	if _, err := r.router.Rollback(t.Context(), route.Undo{App: "1", Who: "test"}); err != nil {
		t.Fatal(err)
	}
	back := dial(t, r.gateway.addr, query)
	eventually(t, "only the client that is back is at the vendor", func() bool {
		states := r.vendor.engine.Connections("1")
		return len(states) == 1 && states[0].Socket == back.id
	})
}
