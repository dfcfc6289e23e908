package front_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy/front"
)

// routes answers every request with the part that it was routed to.
type routes struct{ part string }

func (r routes) Serve(ctx *fasthttp.RequestCtx, key string) {
	fmt.Fprintf(ctx, "%s key=%q", r.part, key)
}
func (r routes) ServeUnknown(ctx *fasthttp.RequestCtx) { fmt.Fprintf(ctx, "%s unknown", r.part) }

type streams struct{}

func (streams) Serve(ctx *fasthttp.RequestCtx, key, rest string) {
	fmt.Fprintf(ctx, "stream key=%q rest=%q", key, rest)
}

// api answers with what it was asked; "/apps/slow" takes until released.
func api(release <-chan struct{}) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == "/apps/slow" {
			<-release
		}
		fmt.Fprintf(ctx, "api %s %s %d", ctx.Method(), ctx.Path(), len(ctx.PostBody()))
	}
}

// serve runs a front and returns its address and what stops it.
func serve(t *testing.T, s front.Settings) (addr string, stop func() error) {
	t.Helper()
	s.WebSocket, s.Stream, s.Log = routes{"websocket"}, streams{}, zerolog.Nop()
	if s.API == nil {
		s.API = api(nil)
	}
	s.ClientConfig = func(ctx *fasthttp.RequestCtx, key string) { fmt.Fprintf(ctx, "config key=%q", key) }
	f := front.New(s)
	listeners, err := front.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, listeners) }()
	for !f.Serving() {
		time.Sleep(time.Millisecond)
	}
	stop = func() error {
		cancel()
		err := <-done
		done <- nil
		if f.Serving() {
			t.Error("a stopped front says that it is serving")
		}
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return listeners[0].Addr().String(), stop
}

func TestRoutes(t *testing.T) {
	for name, tc := range map[string]struct {
		prefix  string
		method  string
		path    string
		upgrade bool
		status  int
		want    string
	}{
		"WebSocket":                        {path: "/app/KEY?protocol=7", upgrade: true, want: `websocket key="KEY"`},
		"WebSocket, key with escapes":      {path: "/app/K%45Y", upgrade: true, want: `websocket key="KEY"`},
		"WebSocket, no key":                {path: "/app/", upgrade: true, want: `websocket key=""`},
		"WebSocket, more behind the key":   {path: "/app/KEY/x", upgrade: true, want: `websocket key=""`},
		"WebSocket, slash behind the key":  {path: "/app/KEY/", upgrade: true, want: `websocket key="KEY"`},
		"WebSocket elsewhere":              {path: "/apps/1/events", upgrade: true, want: "websocket unknown"},
		"WebSocket at the root":            {path: "/", upgrade: true, want: "websocket unknown"},
		"WebSocket below the prefix":       {prefix: "/ws", path: "/ws/app/KEY", upgrade: true, want: `websocket key="KEY"`},
		"WebSocket outside the prefix":     {prefix: "/ws", path: "/app/KEY", upgrade: true, want: "websocket unknown"},
		"HTTP API":                         {method: "POST", path: "/apps/1/events", want: "api POST /apps/1/events 0"},
		"HTTP API, path of the Python SDK": {method: "POST", path: "/users/7/terminate_connections", want: "api POST /users/7/terminate_connections 0"},
		"HTTP API below the prefix":        {prefix: "/ws", path: "/ws/apps/1/channels", want: "api GET /ws/apps/1/channels 0"},
		"HTTP API outside the prefix":      {prefix: "/ws", path: "/apps/1/channels", status: 404, want: "Not found\n"},
		"client configuration":             {path: "/client-config/KEY", want: `config key="KEY"`},
		"fallback":                         {method: "POST", path: "/pusher/app/KEY/1/abc/xhr?t=1", want: `stream key="KEY" rest="1/abc/xhr"`},
		"fallback below the prefix":        {prefix: "/ws", method: "POST", path: "/ws/pusher/app/KEY/1/abc/xhr", want: `stream key="KEY" rest="1/abc/xhr"`},
		"fallback, no session":             {path: "/pusher/app/KEY", status: 404, want: "Not found\n"},
		"fallback, not an app":             {path: "/pusher/info", status: 404, want: "Not found\n"},
		"statistics by JSONP":              {path: "/timeline/v2/jsonp/1?session=MQ==", want: "Pusher.ScriptReceivers[1](null,{});"},
		"statistics by XHR":                {path: "/timeline/v2/xhr/2?session=MQ==", want: "{}"},
		"statistics with a name to run":    {path: "/timeline/v2/jsonp/alert(1)", status: 404, want: "Not found\n"},
		"statistics without a number":      {path: "/timeline/v2/jsonp/", status: 404, want: "Not found\n"},
		"statistics of another version":    {path: "/timeline/v1/xhr/1", status: 404, want: "Not found\n"},
		"app without upgrade":              {path: "/app/KEY", status: 404, want: "Not found\n"},
		"root":                             {path: "/", status: 404, want: "Not found\n"},
		"anything else":                    {path: "/favicon.ico", status: 404, want: "Not found\n"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, front.Settings{Prefix: tc.prefix})
			method := tc.method
			if method == "" {
				method = http.MethodGet
			}
			r, err := http.NewRequest(method, "http://"+addr+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.upgrade {
				r.Header.Set("Connection", "keep-alive, Upgrade")
				r.Header.Set("Upgrade", "WebSocket")
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			status := tc.status
			if status == 0 {
				status = http.StatusOK
			}
			if resp.StatusCode != status || string(body) != tc.want {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, status, tc.want)
			}
			if got := resp.Header.Get("Content-Type"); status == 404 && got != "text/plain; charset=utf-8" {
				t.Errorf("got Content-Type %q", got)
			}
		})
	}
}

func TestRequestLimits(t *testing.T) {
	addr, _ := serve(t, front.Settings{MaxBodyBytes: 1000, RequestTimeout: 200 * time.Millisecond})
	for name, tc := range map[string]struct {
		request string
		status  int
		want    string
	}{
		"a body at the limit": {request: "POST /apps/1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000), status: 200, want: "api POST /apps/1/events 1000"},
		"a body above it":     {request: "POST /apps/1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" + strings.Repeat("x", 1001), status: 413, want: "Request body too large: at most 1000 bytes\n"},
		"chunks above it":     {request: "POST /apps/1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("64\r\n"+strings.Repeat("x", 100)+"\r\n", 11) + "0\r\n\r\n", status: 413, want: "Request body too large: at most 1000 bytes\n"},
		"a header of 20 KiB":  {request: "GET /apps/1 HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", status: 431, want: "Request header too large: at most 8 KiB\n"},
		"a header of 7 KiB":   {request: "GET /apps/1 HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 7<<10) + "\r\n\r\n", status: 200, want: "api GET /apps/1 0"},
		"a request cut short": {request: "GET /apps/1 HTTP/1.1\r\nHost: x\r\n", status: 408, want: "Request timed out\n"},
		"a body cut short":    {request: "POST /apps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", status: 408, want: "Request timed out\n"},
		"something else":      {request: "hello\r\n\r\n", status: 400, want: "Malformed request\n"},
		"two lengths":         {request: "POST /apps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", status: 400, want: "Malformed request\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			c.Write([]byte(tc.request)) // may be cut off by the answer
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.status || string(body) != tc.want {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, tc.status, tc.want)
			}
		})
	}
}

func TestSilentConnectionIsClosed(t *testing.T) {
	addr, _ := serve(t, front.Settings{RequestTimeout: 100 * time.Millisecond})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("a connection that asks for nothing is kept: %v", err)
	}
}

// Requests under way are finished, and connections are kept alive until then.
func TestGracefulStop(t *testing.T) {
	release := make(chan struct{})
	addr, stop := serve(t, front.Settings{API: api(release)})
	client := &http.Client{Transport: &http.Transport{}}
	for range 2 {
		get(t, client, "http://"+addr+"/apps/quick")
	}
	answer := make(chan string, 1)
	go func() { answer <- get(t, client, "http://"+addr+"/apps/slow") }()
	time.Sleep(50 * time.Millisecond) // for the request to arrive
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break // it accepts no more
		}
		c.Close()
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-stopped:
		t.Fatalf("the front stopped before a request was answered, with %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if got, want := <-answer, "api GET /apps/slow 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Errorf("get %s: %v", url, err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func TestTLS(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	addr, _ := serve(t, front.Settings{TLS: &tls.Config{Certificates: certified.TLS.Certificates}, RequestTimeout: 300 * time.Millisecond,
		API: func(ctx *fasthttp.RequestCtx) { fmt.Fprintf(ctx, "TLS: %v", ctx.IsTLS()) }})
	if got, want := get(t, certified.Client(), "https://"+addr+"/apps/1"), "TLS: true"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	t.Run("a handshake that stops halfway", func(t *testing.T) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		c.Write([]byte{0x16, 0x03, 0x01})
		all, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("it is waited for: %v", err)
		}
		if bytes.Contains(all, []byte("HTTP")) {
			t.Errorf("it is answered in the clear: %q", all)
		}
	})
}

func TestListen(t *testing.T) {
	listeners, err := front.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		if got, want := l.Addr().String(), listeners[0].Addr().String(); got != want {
			t.Errorf("listening on %s and %s", got, want)
		}
	}
	if _, err := front.Listen(t.Context(), listeners[0].Addr().String()); err == nil {
		t.Error("a port that is taken was opened again")
	}
	for _, l := range listeners {
		l.Close()
	}
	again, err := front.Listen(t.Context(), listeners[0].Addr().String())
	if err != nil {
		t.Fatalf("a port that was closed cannot be opened: %v", err)
	}
	for _, l := range again {
		l.Close()
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	addr, _ := serve(t, front.Settings{API: func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == "/apps/panic" {
			panic("the test asked for it")
		}
		ctx.WriteString("fine")
	}})
	client := &http.Client{}
	for path, want := range map[string]string{"/apps/panic": "Internal error\n", "/apps/1": "fine"} {
		if got := get(t, client, "http://"+addr+path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
