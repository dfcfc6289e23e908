package httpstream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/front"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
	"github.com/offramp/offramp/proxy/transport/httpstream"
)

const (
	greeting = `{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}`
	query    = "?protocol=7&client=js&version=8.6.0&t=1578951437711&n=1"
)

// pipes is a listener whose connections are in memory, so that the whole of a
// gateway can run in virtual time.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accepted <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// gateway is a front with fallback transports whose sessions are served by echo.
type gateway struct {
	t       *testing.T
	client  *http.Client
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	answers []*response

	mu    sync.Mutex
	conns []*echo
}

// echo serves a session: it greets and sends every frame back.
type echo struct {
	out    session.Outlet
	client proxy.Client

	mu    sync.Mutex
	ended []int // close codes it was told
}

func (e *echo) Handle(frame []byte) {
	switch text := string(frame); text {
	case "close":
		e.out.Close(4009, "the test asked for it")
	case "panic":
		panic("the test asked for it")
	default:
		e.out.Send(fanout.One(frame), 0)
	}
}

func (e *echo) Close(code int, _ string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = append(e.ended, code)
}

// wantEnded checks that the session has ended once, with that code.
func (e *echo) wantEnded(t *testing.T, code int) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.ended) != 1 || e.ended[0] != code {
		t.Errorf("the session ended with %v, want [%d]", e.ended, code)
	}
}

func (e *echo) wantOpen(t *testing.T) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.ended) != 0 {
		t.Errorf("the session ended with %v, want it open", e.ended)
	}
}

func (g *gateway) connect(app *proxy.App, client proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
	if app.ID == "full" {
		return nil, protocol.ErrOverQuota
	}
	e := &echo{out: out, client: client}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, e)
	out.Send(fanout.One([]byte(greeting)), 0)
	return e, nil
}

// session returns the n-th session that was opened.
func (g *gateway) session(n int) *echo {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if n >= len(g.conns) {
		g.t.Fatalf("only %d sessions were opened", len(g.conns))
	}
	return g.conns[n]
}

// run runs test with a gateway in virtual time.
func run(t *testing.T, test func(t *testing.T, g *gateway)) {
	t.Helper()
	warmUp(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		g, wait := start(t, ctx)
		defer func() {
			g.client.CloseIdleConnections()
			for _, r := range g.answers {
				r.Body.Close()
			}
			stop()
			if err := wait(); err != nil {
				t.Errorf("the gateway ended with: %v", err)
			}
			time.Sleep(time.Minute) // the HTTP library's idle workers look up now and then
		}()
		test(t, g)
	})
}

func start(t *testing.T, ctx context.Context) (g *gateway, wait func() error) {
	var all []*proxy.App
	for _, id := range []string{"key", "full"} {
		app := proxy.Defaults()
		app.ID, app.Credentials = id, []proxy.Credential{{Key: id}}
		all = append(all, &app)
	}
	registry, err := apps.New(all)
	if err != nil {
		t.Fatal(err)
	}
	g = &gateway{t: t}
	sessions := session.New(session.Settings{Apps: registry, Log: zerolog.Nop(), Connect: g.connect})
	streams := httpstream.New(httpstream.Settings{Sessions: sessions, MaxSessions: 8, MaxMessageBytes: 1000, Log: zerolog.Nop()})
	f := front.New(front.Settings{Stream: streams, Log: zerolog.Nop()})
	l := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	g.dial = l.dial
	g.client = &http.Client{Transport: &http.Transport{DialContext: l.dial}}
	errs := make(chan error, 3)
	go func() { errs <- f.Run(ctx, []net.Listener{l}) }()
	go func() { errs <- sessions.Run(ctx) }()
	go func() { errs <- streams.Run(ctx) }()
	return g, func() error { return errors.Join(<-errs, <-errs, <-errs) }
}

// warmUp makes the HTTP library start the clock that it keeps for the life of
// the process, which a bubble could not wait for.
var warmUp = func() func(t *testing.T) {
	var once sync.Once
	return func(t *testing.T) {
		once.Do(func() {
			ctx, stop := context.WithCancel(context.Background())
			g, wait := start(t, ctx)
			g.post("xhr_send/warm", "xhr_send", "[]").wantStatus(http.StatusNotFound)
			g.client.CloseIdleConnections()
			stop()
			if err := wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}()

// abandonPoll polls, and gives up after that time.
func (g *gateway) abandonPoll(session string, after time.Duration) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), after)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway.test/pusher/app/key/"+session+"/xhr"+query, http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	if resp, err := g.client.Do(r); err == nil {
		resp.Body.Close()
		g.t.Errorf("a poll was answered with %s", resp.Status)
	}
	synctest.Wait()
}

// response is an answer whose body may go on.
type response struct {
	t *testing.T
	*http.Response
	lines *bufio.Reader
}

// post sends a request of a session, which is "server/name".
func (g *gateway) post(session, action, body string) *response {
	g.t.Helper()
	return g.do(http.MethodPost, "/pusher/app/key/"+session+"/"+action, body)
}

func (g *gateway) do(method, path, body string, headers ...string) *response {
	g.t.Helper()
	r, err := http.NewRequest(method, "http://gateway.test"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := g.client.Do(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	answer := &response{t: g.t, Response: resp, lines: bufio.NewReader(resp.Body)}
	g.answers = append(g.answers, answer)
	return answer
}

func (r *response) wantStatus(want int) *response {
	r.t.Helper()
	if r.StatusCode != want {
		r.t.Errorf("got status %d, want %d", r.StatusCode, want)
	}
	return r
}

// wantBody reads the whole body.
func (r *response) wantBody(want string) {
	r.t.Helper()
	defer r.Body.Close()
	got, err := io.ReadAll(r.lines)
	if err != nil {
		r.t.Fatalf("read the body: %v", err)
	}
	if string(got) != want {
		r.t.Errorf("got body %q, want %q", got, want)
	}
}

// wantLine reads one frame of a body that goes on.
func (r *response) wantLine(want string) {
	r.t.Helper()
	if got := r.line(); got != want {
		r.t.Fatalf("got frame %.200q, want %.200q", got, want)
	}
}

// wantMessages reads messages, however many there are in a frame.
func (r *response) wantMessages(want ...string) {
	r.t.Helper()
	var got []string
	for len(got) < len(want) {
		var some []string
		line := r.line()
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "a")), &some); err != nil {
			r.t.Fatalf("got frame %.200q, want messages", line)
		}
		got = append(got, some...)
	}
	if !slices.Equal(got, want) {
		r.t.Fatalf("got messages %q, want %q", got, want)
	}
}

func (r *response) line() string {
	r.t.Helper()
	line, err := r.lines.ReadString('\n')
	if err != nil {
		r.t.Fatalf("read a frame: %v (after %q)", err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

func (r *response) wantPrelude() { r.t.Helper(); r.wantLine(strings.Repeat("h", 2048)) }

// messages is the frame that holds these messages.
func messages(texts ...string) string {
	encoded, err := json.Marshal(texts)
	if err != nil {
		panic(err)
	}
	return "a" + strings.ReplaceAll(string(encoded), `\u003c`, "<")
}

// sending is the body of an xhr_send with these messages.
func sending(texts ...string) string { return strings.TrimPrefix(messages(texts...), "a") }

func closed(code int, reason string) string { return fmt.Sprintf("c[%d,%q]", code, reason) }

// openStreaming opens a session by streaming and reads up to the greeting.
func (g *gateway) openStreaming(session string) *response {
	g.t.Helper()
	r := g.post(session, "xhr_streaming"+query, "").wantStatus(http.StatusOK)
	r.wantPrelude()
	r.wantLine("o")
	r.wantLine(messages(greeting))
	return r
}

// openPolling opens a session by polling.
func (g *gateway) openPolling(session string) {
	g.t.Helper()
	g.post(session, "xhr"+query, "").wantStatus(http.StatusOK).wantBody("o\n" + messages(greeting) + "\n")
}

// abort ends a request the way a browser does.
func (r *response) abort() {
	r.Body.Close()
	synctest.Wait()
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
