package session

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// link is a transport that writes down what is asked of it.
type link struct {
	start time.Time

	mu  sync.Mutex
	log []string
}

func (l *link) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, fmt.Sprintf(format, args...))
}

func (l *link) Send(b *fanout.Batch, from int) bool {
	for i := from; i < b.Len(); i++ {
		l.note("send %s", b.Payload(i))
	}
	return true
}

func (l *link) Close(code int, reason string) { l.note("close %d %s", code, reason) }
func (l *link) Ping()                         { l.note("ping at %v", time.Since(l.start).Round(time.Second)) }
func (l *link) Abort()                        { l.note("abort at %v", time.Since(l.start).Round(time.Second)) }

func (l *link) want(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !reflect.DeepEqual(l.log, want) && len(l.log)+len(want) > 0 {
		t.Errorf("the link was asked to\n\t%s\nwant\n\t%s", strings.Join(l.log, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// served is what a connection's frames go to.
type served struct {
	out    Outlet
	closed []string
}

func (s *served) Handle(frame []byte) {
	if string(frame) == "panic" {
		panic("boom")
	}
	s.out.Send(fanout.One(frame), 0)
}

func (s *served) Close(code int, reason string) {
	s.closed = append(s.closed, fmt.Sprintf("%d %s", code, reason))
	if reason == "panic" {
		panic("boom")
	}
}

func newTestServer(t *testing.T, log zerolog.Logger) (*Server, *proxy.App) {
	t.Helper()
	app := proxy.Defaults()
	app.ID, app.Credentials = "1", []proxy.Credential{{Key: "key"}}
	registry, err := apps.New([]*proxy.App{&app})
	if err != nil {
		t.Fatal(err)
	}
	connect := func(_ *proxy.App, client proxy.Client, out Outlet) (Conn, *protocol.Error) {
		if client.Library == "refused" {
			return nil, protocol.ErrOverQuota
		}
		if client.Library == "panic" {
			panic("boom")
		}
		out.Send(fanout.One([]byte("hello")), 0)
		return &served{out: out}, nil
	}
	return New(Settings{Apps: registry, Connect: connect, Log: log}), &app
}

func TestLiveness(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(s *Session)
		want []string
	}{
		"T029 T030 a silent peer is pinged after 60 s and given up after 75 s": {
			do:   func(*Session) { time.Sleep(5 * time.Minute) },
			want: []string{"ping at 1m0s", "close 4201 Pong reply not received", "abort at 1m15s"},
		},
		"T031 a peer that sends every 50 s is left alone": {
			do: func(s *Session) {
				for range 6 {
					time.Sleep(50 * time.Second)
					s.Seen()
				}
			},
		},
		"T032 a peer that answers pings is pinged and left alone": {
			do: func(s *Session) {
				for range 4 {
					time.Sleep(61 * time.Second)
					s.Seen()
				}
			},
			want: []string{"ping at 1m0s", "ping at 2m1s", "ping at 3m2s", "ping at 4m3s"},
		},
		"a peer that answers late, but in time": {
			do: func(s *Session) {
				time.Sleep(74 * time.Second)
				s.Seen()
				time.Sleep(30 * time.Second)
			},
			want: []string{"ping at 1m0s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, app := newTestServer(t, zerolog.Nop())
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- srv.Run(ctx) }()
				l := &link{start: time.Now()}
				ses, refused := srv.Open(app, proxy.Client{Protocol: 7}, l)
				if refused != nil {
					t.Fatal(refused)
				}
				go func() {
					// The transport ends the session when it is aborted.
					for {
						time.Sleep(time.Second)
						l.mu.Lock()
						over := len(l.log) > 0 && strings.HasPrefix(l.log[len(l.log)-1], "abort")
						l.mu.Unlock()
						if over || ctx.Err() != nil {
							ses.End(0, "")
							return
						}
					}
				}()
				tc.do(ses)
				l.want(t, append([]string{"send hello"}, tc.want...)...)
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Second)
			})
		})
	}
}

func TestRunEndsWhatIsOpen(t *testing.T) {
	srv, app := newTestServer(t, zerolog.Nop())
	l := &link{start: time.Now()}
	if _, refused := srv.Open(app, proxy.Client{Protocol: 7}, l); refused != nil {
		t.Fatal(refused)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := srv.Run(ctx); err != nil {
		t.Fatal(err)
	}
	want := []string{"send hello", "close 4200 Please reconnect immediately", "abort at 0s"}
	l.want(t, want...)
	late := &link{start: time.Now()}
	if _, refused := srv.Open(app, proxy.Client{Protocol: 7}, late); refused != nil {
		t.Fatal(refused)
	}
	late.want(t, want...)
}

func TestCloseInBand(t *testing.T) {
	for name, tc := range map[string]struct {
		version int
		code    int
		want    []string
	}{
		"protocol 7":                 {version: 7, code: 4009, want: []string{"close 4009 why"}},
		"protocol 6":                 {version: 6, code: 4009, want: []string{"close 4009 why"}},
		"protocol 5 is told in-band": {version: 5, code: 4009, want: []string{`send {"event":"pusher:error","data":{"code":4009,"message":"why"}}`, "close 4009 why"}},
		"protocol 4, for a drain":    {version: 4, code: 4200, want: []string{`send {"event":"pusher:error","data":{"code":4200,"message":"why"}}`, "close 4200 why"}},
		"not for codes of RFC 6455":  {version: 5, code: 1011, want: []string{"close 1011 why"}},
	} {
		t.Run(name, func(t *testing.T) {
			srv, app := newTestServer(t, zerolog.Nop())
			l := &link{}
			ses, _ := srv.Open(app, proxy.Client{Protocol: tc.version}, l)
			ses.Close(tc.code, "why")
			l.want(t, append([]string{"send hello"}, tc.want...)...)
		})
	}
}

func TestOpenRefused(t *testing.T) {
	srv, app := newTestServer(t, zerolog.Nop())
	l := &link{}
	ses, refused := srv.Open(app, proxy.Client{Protocol: 7, Library: "refused"}, l)
	if ses != nil || refused != protocol.ErrOverQuota {
		t.Errorf("Open = %v, %v, want %v", ses, refused, protocol.ErrOverQuota)
	}
	l.want(t, "close 4004 Application is over connection quota")
}

func TestPanicsEndOneConnection(t *testing.T) {
	var log bytes.Buffer
	srv, app := newTestServer(t, zerolog.New(&log))
	bad, good := &link{}, &link{}
	first, _ := srv.Open(app, proxy.Client{Protocol: 7}, bad)
	second, _ := srv.Open(app, proxy.Client{Protocol: 7}, good)
	if first.Handle([]byte("panic")) {
		t.Error("Handle reports that the connection goes on")
	}
	if !second.Handle([]byte("fine")) {
		t.Error("the other connection does not go on")
	}
	first.End(1011, "panic")
	bad.want(t, "send hello", "close 1011 Internal error", "close 1011 Internal error")
	good.want(t, "send hello", "send fine")
	late := &link{}
	if _, refused := srv.Open(app, proxy.Client{Protocol: 7, Library: "panic"}, late); refused != errInternal {
		t.Errorf("Open = %v, want %v", refused, errInternal)
	}
	late.want(t, "close 1011 Internal error")
	if n := testutil.ToFloat64(srv.metrics.panics); n != 3 {
		t.Errorf("%v panics were counted, want 3", n)
	}
	for _, want := range []string{"boom", "session_test.go", `"doing":"handle a frame"`, `"doing":"end a connection"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %q: %s", want, log.String())
		}
	}
}

func TestMetrics(t *testing.T) {
	srv, app := newTestServer(t, zerolog.Nop())
	var sessions []*Session
	for _, transport := range []string{"ws", "ws", "xhr_polling"} {
		ses, _ := srv.Open(app, proxy.Client{Protocol: 7, Transport: transport}, &link{})
		sessions = append(sessions, ses)
	}
	sessions[0].End(0, "")
	sessions[2].End(4321, "made up")
	srv.Open(app, proxy.Client{Protocol: 7, Transport: "ws", Library: "refused"}, &link{})
	srv.Admit(Request{Key: "nobody", Protocol: new(string), Transport: "ws"})
	version := "7"
	srv.Admit(Request{Key: "nobody", Protocol: &version, Transport: "ws"})
	want := `
# HELP offramp_connections Open client connections.
# TYPE offramp_connections gauge
offramp_connections{app="1",transport="ws"} 1
offramp_connections{app="1",transport="xhr_polling"} 0
# HELP offramp_connections_closed_total Client connections that ended, by close code; 1006 stands for a lost connection.
# TYPE offramp_connections_closed_total counter
offramp_connections_closed_total{app="1",code="1006",transport="ws"} 1
offramp_connections_closed_total{app="1",code="other",transport="xhr_polling"} 1
# HELP offramp_connections_opened_total Client connections that were established.
# TYPE offramp_connections_opened_total counter
offramp_connections_opened_total{app="1",transport="ws"} 2
offramp_connections_opened_total{app="1",transport="xhr_polling"} 1
# HELP offramp_connections_refused_total Connection attempts that were refused, by close code. app is empty for an unknown one.
# TYPE offramp_connections_refused_total counter
offramp_connections_refused_total{app="",code="4001",transport="ws"} 1
offramp_connections_refused_total{app="",code="4006",transport="ws"} 1
offramp_connections_refused_total{app="1",code="4004",transport="ws"} 1
# HELP offramp_connection_panics_total Connections that were ended because handling them panicked.
# TYPE offramp_connection_panics_total counter
offramp_connection_panics_total 0
`
	if err := testutil.CollectAndCompare(srv, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestAdmit(t *testing.T) {
	srv, app := newTestServer(t, zerolog.Nop())
	seven, eight := "7", "8"
	for name, tc := range map[string]struct {
		request Request
		want    *protocol.Error
	}{
		"admitted":                     {request: Request{Key: "key", Protocol: &seven}},
		"no key":                       {request: Request{Protocol: &seven}, want: protocol.ErrPathNotFound},
		"no key and no version":        {request: Request{}, want: protocol.ErrPathNotFound},
		"no version, unknown key":      {request: Request{Key: "nobody"}, want: protocol.ErrNoVersion},
		"a later version, unknown key": {request: Request{Key: "nobody", Protocol: &eight}, want: protocol.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := srv.Admit(tc.request)
			if err != tc.want || (err == nil) != (got == app) {
				t.Errorf("Admit = %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestClientTextIsBounded(t *testing.T) {
	version := "7"
	r := Request{Key: "key", Protocol: &version, Library: strings.Repeat("é", 60), Version: "8.6.0"}
	c, err := r.client()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Library) > maxClientText || !strings.HasPrefix(r.Library, c.Library) {
		t.Errorf("the library is kept as %q", c.Library)
	}
}
