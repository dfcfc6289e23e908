package websocket_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/front"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
	"github.com/offramp/offramp/proxy/transport/websocket"
)

// patience bounds every wait of a test.
const patience = 10 * time.Second

// maxMessage is the limit that the gateway under test is given.
const maxMessage = 64 << 10

// gateway is a running public listener whose connections are served by echo.
type gateway struct {
	addr     string
	sessions *session.Server
	server   *websocket.Server
	open     atomic.Int64
	ended    chan ended

	mu   sync.Mutex
	outs []session.Outlet // of every connection there was, in order
}

func (g *gateway) outlets() []session.Outlet {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.outs
}

// ended is how a connection's end was told.
type ended struct {
	code   int
	reason string
}

// echo serves a connection: it greets, and sends every frame back.
type echo struct {
	gateway *gateway
	out     session.Outlet
}

const greeting = `{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}`

func (e *echo) Handle(frame []byte) {
	switch text := string(frame); {
	case text == "panic":
		panic("the test asked for it")
	case strings.HasPrefix(text, "close "):
		var code int
		fmt.Sscanf(text, "close %d", &code)
		e.out.Close(code, "the test asked for it")
	default:
		e.out.Send(fanout.One(frame), 0)
	}
}

func (e *echo) Close(code int, reason string) {
	e.gateway.open.Add(-1)
	select {
	case e.gateway.ended <- ended{code, reason}:
	default:
	}
}

// testApps are the apps of a gateway under test, by key.
func testApps() []*proxy.App {
	app := func(id string, change func(*proxy.App)) *proxy.App {
		a := proxy.Defaults()
		a.ID, a.Credentials = id, []proxy.Credential{{Key: id, Secret: proxy.NewSecret("secret")}}
		if change != nil {
			change(&a)
		}
		return &a
	}
	return []*proxy.App{
		app("key", nil),
		app("disabled", func(a *proxy.App) { a.Enabled = false }),
		app("tls-only", func(a *proxy.App) { a.TLSOnly = true }),
		app("full", nil),
		app("origins", func(a *proxy.App) { a.Origins = []string{"https://*.example.com"} }),
		app("impatient", func(a *proxy.App) { a.PingAfter, a.PongWithin = 500*time.Millisecond, 500*time.Millisecond }),
	}
}

// start runs a gateway until the test ends.
func start(t testing.TB, prefix string) *gateway {
	t.Helper()
	return startWith(t, prefix, nil)
}

func startWith(t testing.TB, prefix string, secure *tls.Config) *gateway {
	t.Helper()
	registry, err := apps.New(testApps())
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{ended: make(chan ended, 256)}
	g.sessions = session.New(session.Settings{Apps: registry, Log: zerolog.Nop(), Connect: g.connect})
	g.server = websocket.New(websocket.Settings{Sessions: g.sessions, MaxMessageBytes: maxMessage, Log: zerolog.Nop()})
	f := front.New(front.Settings{Prefix: prefix, TLS: secure, WebSocket: g.server, RequestTimeout: time.Second, Log: zerolog.Nop()})
	listeners, err := front.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = listeners[0].Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	errs := make(chan error, 3)
	go func() { errs <- f.Run(ctx, listeners) }()
	go func() { errs <- g.sessions.Run(ctx) }()
	go func() { errs <- g.server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-errs, <-errs, <-errs); err != nil {
			t.Errorf("the gateway ended with: %v", err)
		}
	})
	return g
}

func (g *gateway) connect(app *proxy.App, _ proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
	if app.ID == "full" {
		return nil, protocol.ErrOverQuota
	}
	g.open.Add(1)
	g.mu.Lock()
	g.outs = append(g.outs, out)
	g.mu.Unlock()
	out.Send(fanout.One([]byte(greeting)), 0)
	return &echo{gateway: g, out: out}, nil
}

// peer is the client's end of a raw socket.
type peer struct {
	t testing.TB
	net.Conn
	in       *bufio.Reader
	response *http.Response
}

// dial sends an upgrade request and reads the answer.
func dial(t testing.TB, g *gateway, path string, headers ...string) *peer {
	t.Helper()
	p := rawDial(t, g.addr)
	p.write([]byte(upgradeRequest(path, headers...)))
	p.readResponse()
	return p
}

// connect dials the usual app and reads past the greeting.
func connect(t testing.TB, g *gateway) *peer {
	t.Helper()
	p := dial(t, g, "/app/key?protocol=7&client=js&version=8.6.0&flash=false")
	p.wantFrame(frame{true, opText, []byte(greeting)})
	return p
}

func rawDial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &peer{t: t, Conn: c, in: bufio.NewReader(c)}
}

func upgradeRequest(path string, headers ...string) string {
	base := []string{
		"Host: gateway.test", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}
	return "GET " + path + " HTTP/1.1\r\n" + strings.Join(append(base, headers...), "\r\n") + "\r\n\r\n"
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) readResponse() {
	p.t.Helper()
	r, err := http.ReadResponse(p.in, nil)
	if err != nil {
		p.t.Fatalf("read the answer to the handshake: %v", err)
	}
	p.response = r
}

// The opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// frame is one WebSocket frame.
type frame struct {
	fin     bool
	opcode  byte
	payload []byte
}

func (f frame) String() string {
	return fmt.Sprintf("{fin=%v opcode=%d %d bytes %.80q}", f.fin, f.opcode, len(f.payload), f.payload)
}

// masked encodes f the way a client must.
func (f frame) masked() []byte {
	b0 := f.opcode
	if f.fin {
		b0 |= 0x80
	}
	out := appendLength([]byte{b0}, len(f.payload), 0x80)
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	out = append(out, mask[:]...)
	for i, b := range f.payload {
		out = append(out, b^mask[i%4])
	}
	return out
}

func appendLength(out []byte, n int, bit byte) []byte {
	switch {
	case n < 126:
		return append(out, byte(n)|bit)
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(out, 126|bit), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(out, 127|bit), uint64(n))
	}
}

func text(s string) frame { return frame{true, opText, []byte(s)} }

// readFrame reads one frame of the server.
func (p *peer) readFrame() (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return frame{}, err
	}
	if head[1]&0x80 != 0 {
		return frame{}, errors.New("the server masked a frame")
	}
	if head[0]&0x70 != 0 {
		return frame{}, errors.New("the server set a reserved bit")
	}
	n := uint64(head[1])
	var extended [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(p.in, extended[:2]); err != nil {
			return frame{}, err
		}
		n = uint64(binary.BigEndian.Uint16(extended[:2]))
	case 127:
		if _, err := io.ReadFull(p.in, extended[:]); err != nil {
			return frame{}, err
		}
		n = binary.BigEndian.Uint64(extended[:])
	}
	f := frame{fin: head[0]&0x80 != 0, opcode: head[0] & 0x0f, payload: make([]byte, n)}
	_, err := io.ReadFull(p.in, f.payload)
	return f, err
}

func (p *peer) wantFrame(want frame) {
	p.t.Helper()
	got, err := p.readFrame()
	if err != nil {
		p.t.Fatalf("read a frame: %v; want %v", err, want)
	}
	if got.fin != want.fin || got.opcode != want.opcode || string(got.payload) != string(want.payload) {
		p.t.Fatalf("got frame %v, want %v", got, want)
	}
}

// wantClose reads a close frame with that code and returns its reason. It
// answers the frame, and the server must then end the connection.
func (p *peer) wantClose(code int) (reason string) {
	p.t.Helper()
	got, err := p.readFrame()
	if err != nil {
		p.t.Fatalf("read a frame: %v; want a close frame with %d", err, code)
	}
	if got.opcode != opClose {
		p.t.Fatalf("got frame %v, want a close frame with %d", got, code)
	}
	if code == 0 {
		if len(got.payload) != 0 {
			p.t.Fatalf("got close frame %v, want one without a code", got)
		}
	} else {
		if len(got.payload) < 2 {
			p.t.Fatalf("got close frame %v, want one with %d", got, code)
		}
		if c := int(binary.BigEndian.Uint16(got.payload)); c != code {
			p.t.Fatalf("got close code %d %q, want %d", c, got.payload[2:], code)
		}
		reason = string(got.payload[2:])
	}
	p.Write(frame{true, opClose, got.payload}.masked()) // the server may have gone already
	p.wantEOF()
	return reason
}

func (p *peer) wantEOF() {
	p.t.Helper()
	if f, err := p.readFrame(); err == nil {
		p.t.Fatalf("got frame %v, want the end of the connection", f)
	} else if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		p.t.Fatal("the server did not end the connection")
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func (g *gateway) wantEnded(t testing.TB, code int) {
	t.Helper()
	select {
	case e := <-g.ended:
		if e.code != code {
			t.Fatalf("the connection ended with %d %q, want %d", e.code, e.reason, code)
		}
	case <-time.After(patience):
		t.Fatal("the connection's end was not told")
	}
}
