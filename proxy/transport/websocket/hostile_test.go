package websocket_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy/fanout"
)

// stillServes checks that others are served as before.
func (g *gateway) stillServes(t testing.TB) {
	t.Helper()
	p := connect(t, g)
	p.write(text("hello").masked())
	p.wantFrame(text("hello"))
	p.write(closing(1000, "").masked())
	p.wantClose(1000)
}

func TestBadHandshakes(t *testing.T) {
	g := start(t, "")
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"no key":               {request: "GET /app/key?protocol=7 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", status: 400},
		"a key that is no key": {request: strings.Replace(upgradeRequest("/app/key?protocol=7"), "dGhlIHNhbXBsZSBub25jZQ==", "short", 1), status: 400},
		"version 8":            {request: strings.Replace(upgradeRequest("/app/key?protocol=7"), "Version: 13", "Version: 8", 1), status: 400},
		"POST":                 {request: strings.Replace(upgradeRequest("/app/key?protocol=7"), "GET", "POST", 1), status: 405},
		"no upgrade":           {request: "GET /app/key?protocol=7 HTTP/1.1\r\nHost: x\r\n\r\n", status: 404},
		"upgrade to h2c":       {request: strings.Replace(upgradeRequest("/app/key?protocol=7"), "Upgrade: websocket", "Upgrade: h2c", 1), status: 404},
		"not HTTP":             {request: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", status: 400},
		"header of 64 KiB":     {request: upgradeRequest("/app/key?protocol=7", "X-Long: "+strings.Repeat("x", 64<<10)), status: 431},
		"header without end":   {request: "GET /" + strings.Repeat("x", 64<<10), status: 431},
	} {
		t.Run(name, func(t *testing.T) {
			p := rawDial(t, g.addr)
			p.Write([]byte(tc.request)) // may be cut off by the answer
			p.readResponse()
			if p.response.StatusCode != tc.status {
				t.Errorf("got status %d, want %d", p.response.StatusCode, tc.status)
			}
		})
	}
	g.stillServes(t)
}

func TestHandshakeByteByByte(t *testing.T) {
	g := start(t, "")
	p := rawDial(t, g.addr)
	for _, b := range []byte(upgradeRequest("/app/key?protocol=7")) {
		p.write([]byte{b})
	}
	p.readResponse()
	p.wantFrame(text(greeting))
}

// Some clients do not wait for the answer to their handshake.
func TestFramesRightBehindTheHandshake(t *testing.T) {
	g := start(t, "")
	p := rawDial(t, g.addr)
	early := bytes.Join(sends(text("one"), control(opPing, "two"), text(strings.Repeat("3", 1000))), nil)
	p.write(append([]byte(upgradeRequest("/app/key?protocol=7")), early...))
	p.readResponse()
	p.wantFrame(text(greeting))
	p.wantFrame(text("one"))
	p.wantFrame(control(opPong, "two"))
	p.wantFrame(text(strings.Repeat("3", 1000)))
	p.write(text("and on").masked())
	p.wantFrame(text("and on"))
}

func TestEndsAreTold(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(p *peer)
		code int
	}{
		"T024 by the client, with a code": {end: func(p *peer) { p.write(closing(1001, "leaving").masked()); p.wantClose(1001) }, code: 1001},
		"by the client, without a code":   {end: func(p *peer) { p.write(control(opClose, "").masked()); p.wantClose(0) }, code: 1005},
		"by the server":                   {end: func(p *peer) { p.write(text("close 4200").masked()); p.wantClose(4200) }, code: 4200},
		"by the server, unanswered":       {end: func(p *peer) { p.write(text("close 4200").masked()); p.readFrame(); p.Close() }, code: 4200},
		"by a broken connection":          {end: func(p *peer) { p.Close() }, code: 0},
		"inside a frame":                  {end: func(p *peer) { p.write(text("cut short").masked()[:8]); p.Close() }, code: 0},
		"inside a message":                {end: func(p *peer) { p.write(frame{false, opText, []byte("x")}.masked()); p.Close() }, code: 0},
		"by a breach of the protocol":     {end: func(p *peer) { p.write([]byte{0x81, 0}); p.wantClose(1002) }, code: 1002},
		"by text that is not UTF-8":       {end: func(p *peer) { p.write(text("\xff").masked()); p.wantClose(1007) }, code: 1007},
		"by a message that is too long":   {end: func(p *peer) { p.write(text(strings.Repeat("x", maxMessage+1)).masked()); p.wantClose(1009) }, code: 1009},
		"by a panic of ours":              {end: func(p *peer) { p.write(text("panic").masked()); p.wantClose(1011) }, code: 1011},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, "")
			tc.end(connect(t, g))
			g.wantEnded(t, tc.code)
			if n := g.open.Load(); n != 0 {
				t.Errorf("%d connections are open", n)
			}
		})
	}
}

// A peer that has gone without a word is noticed, and does not hold on to
// anything longer than its app's patience.
func TestT030HalfOpen(t *testing.T) {
	g := start(t, "")
	p := dial(t, g, "/app/impatient?protocol=7")
	p.wantFrame(text(greeting))
	p.wantFrame(control(opPing, "")) // never answered
	p.wantClose(4201)
	g.wantEnded(t, 4201)
}

func TestT032PongsKeepAlive(t *testing.T) {
	g := start(t, "")
	p := dial(t, g, "/app/impatient?protocol=7")
	p.wantFrame(text(greeting))
	for range 3 {
		p.wantFrame(control(opPing, ""))
		p.write(control(opPong, "").masked())
	}
}

// A peer that sends without reading is cut off when what waits for it grows
// too large, and nobody else notices.
func TestFlood(t *testing.T) {
	for name, flood := range map[string][]byte{
		"of pings":    bytes.Repeat(control(opPing, strings.Repeat("p", 125)).masked(), 500),
		"of messages": bytes.Repeat(text(strings.Repeat("m", 1000)).masked(), 100),
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, "")
			p := connect(t, g)
			var err error
			for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
				_, err = p.Write(flood)
			}
			if err == nil || isTimeout(err) {
				t.Fatalf("a flood was let in for %v", patience)
			}
			g.wantEnded(t, 4100)
			g.stillServes(t)
		})
	}
}

// What one subscriber does not read must not hold up the others.
func TestSlowReader(t *testing.T) {
	g := start(t, "")
	connect(t, g) // and reads nothing more
	quick := connect(t, g)
	batch := fanout.One(bytes.Repeat([]byte("x"), 10000))
	slowOut, quickOut := g.outlets()[0], g.outlets()[1]
	for i := 0; slowOut.Send(batch, 0); i++ {
		if i > 10000 {
			t.Fatal("what waits for a peer has no bound")
		}
		if !quickOut.Send(batch, 0) {
			t.Fatal("the quick one was cut off")
		}
		if f, err := quick.readFrame(); err != nil || len(f.payload) != 10000 {
			t.Fatalf("the quick one got %v, %v", f, err)
		}
	}
	g.wantEnded(t, 4100)
}

// Handshakes that never come to an end cost nothing but their connection, and
// that only for a while.
func TestSlowHandshakes(t *testing.T) {
	g := start(t, "")
	before := runtime.NumGoroutine()
	var peers []*peer
	for i := range 50 {
		p := rawDial(t, g.addr)
		p.write([]byte(upgradeRequest("/app/key?protocol=7")[:i+1]))
		peers = append(peers, p)
	}
	g.stillServes(t)
	for _, p := range peers {
		if _, err := io.Copy(io.Discard, p); err != nil && !errors.Is(err, io.EOF) && isTimeout(err) {
			t.Fatal("a handshake may take for ever")
		}
	}
	settles(t, before)
}

// Resting connections have no goroutine and are served all the same.
func TestRest(t *testing.T) {
	const clients = 300
	g := start(t, "")
	before := runtime.NumGoroutine()
	var peers []*peer
	for range clients {
		peers = append(peers, connect(t, g))
	}
	if runtime.GOOS == "linux" {
		settles(t, before)
	}
	for range 3 {
		for _, p := range peers {
			p.write(text("still here?").masked())
			p.write(control(opPing, "and now?").masked())
		}
		for _, p := range peers {
			p.wantFrame(text("still here?"))
			p.wantFrame(control(opPong, "and now?"))
		}
	}
	for i, p := range peers {
		switch i % 4 {
		case 0:
			p.Close()
		case 1:
			p.write(closing(1000, "").masked())
			p.wantClose(1000)
		case 2:
			g.outlets()[i].Close(4200, "")
			p.wantClose(4200)
		}
	}
	for range clients / 4 * 3 {
		select {
		case <-g.ended:
		case <-time.After(patience):
			t.Fatal("the end of a resting connection was not noticed")
		}
	}
	settles(t, before)
}

// settles waits until there are as few goroutines as before, nearly.
func settles(t *testing.T, before int) {
	t.Helper()
	const some = 100 // idle workers of the HTTP server, and the crew
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before+some; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// Connections end with the server.
func TestServerEnds(t *testing.T) {
	p := new(peer)
	t.Run("server", func(t *testing.T) {
		g := start(t, "")
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		*p = peer{t: t, Conn: c, in: bufio.NewReader(c)}
		p.SetDeadline(time.Now().Add(patience))
		p.write([]byte(upgradeRequest("/app/key?protocol=7")))
		p.readResponse()
		p.wantFrame(text(greeting))
	})
	p.t = t
	defer p.Close()
	p.wantClose(4200)
}
