package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
)

// pipes is a listener whose connections are in memory, for virtual time.
type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes {
	return &pipes{incoming: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.incoming:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6002} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.incoming <- theirs
	return ours, nil
}

// serving runs a server in the bubble and returns a client of it.
func serving(t *testing.T, s *Server) (client *http.Client, listener *pipes, stop func()) {
	listener = newPipes()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, listener) }()
	transport := &http.Transport{DialContext: listener.dial}
	return &http.Client{Transport: transport}, listener, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		transport.CloseIdleConnections()
	}
}

func TestEventStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway()
		client, _, stop := serving(t, New(g.settings()))
		response, err := client.Get("http://127.0.0.1:6002/api/v1/events?app=one&channel=a*&kinds=published,refused")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		next := func() string {
			for lines.Scan() {
				if lines.Text() != "" {
					return lines.Text()
				}
			}
			return ""
		}
		if got := next(); got != ": connected" {
			t.Errorf("first line %q, want a comment at once", got)
		}
		if want := (FeedFilter{"one", "a*", proxy.KindsOf(proxy.KindPublished, proxy.KindRefused)}); g.feed != want {
			t.Errorf("filter %+v, want %+v", g.feed, want)
		}

		// Longer than any time limit of the listener, with comments in between.
		begin := time.Now()
		for range 12 {
			if got := next(); got != ": still here" {
				t.Fatalf("after %v: line %q, want a sign of life", time.Since(begin), got)
			}
		}
		if silent := time.Since(begin); silent != 12*keepAlive {
			t.Errorf("12 signs of life took %v, want %v", silent, 12*keepAlive)
		}

		g.records <- proxy.Record{
			Kind: proxy.KindPublished, At: time.Now(), Leg: proxy.LegEngine, Topic: proxy.Topic{App: "one", Channel: "a1"},
			Event: &proxy.Event{Name: "line\nbreak", Data: []byte(strings.Repeat("ä", maxShownData))},
		}
		if got := next(); got != "event: record" {
			t.Errorf("line %q, want event: record", got)
		}
		var v recordView
		if err := json.Unmarshal([]byte(strings.TrimPrefix(next(), "data: ")), &v); err != nil {
			t.Fatal(err)
		}
		if v.Kind != "published" || v.Channel != "a1" || v.Event.Name != "line\nbreak" || v.Event.Bytes != 2*maxShownData ||
			len(v.Event.Data) > maxShownData+len("…") || !strings.HasSuffix(v.Event.Data, "ä…") {
			t.Errorf("record %+v, event of %d bytes %q…", v, v.Event.Bytes, v.Event.Data[:10])
		}

		ended := make(chan string)
		go func() { ended <- next() }()
		stop() // the stream ends with the gateway
		if got := <-ended; got != "" {
			t.Errorf("line %q after the end", got)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(newGateway().settings())
		client, _, stop := serving(t, s)
		var open []*http.Response
		for range maxStreams {
			response, err := client.Get("http://127.0.0.1:6002/api/v1/events")
			if err != nil || response.StatusCode != 200 {
				t.Fatalf("stream %d: %v %v", len(open)+1, response, err)
			}
			open = append(open, response)
		}
		response, err := client.Get("http://127.0.0.1:6002/api/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("one more stream = %s, want 503", response.Status)
		}
		response.Body.Close()
		open[0].Body.Close()
		synctest.Wait()
		time.Sleep(keepAlive + streamWrite) // the server notices at its next write
		synctest.Wait()
		again, err := client.Get("http://127.0.0.1:6002/api/v1/events")
		if err != nil || again.StatusCode != 200 {
			t.Errorf("after one has left: %v %v, want 200", again, err)
		}
		for _, r := range append(open, again) {
			r.Body.Close()
		}
		stop()
	})
}

// TestSlowRequestsAreCutOff: a connection that dribbles its header, or never
// sends one, does not stay.
func TestSlowRequestsAreCutOff(t *testing.T) {
	for name, sent := range map[string]string{"a header without end": "GET /live HTTP/1.1\r\nHost: localhost\r\n", "nothing at all": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, listener, stop := serving(t, New(newGateway().settings()))
				conn, err := listener.dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if _, err := conn.Write([]byte(sent)); err != nil {
					t.Fatal(err)
				}
				for err == nil {
					_, err = conn.Read(make([]byte, 512))
				}
				if took := time.Since(begin); took > readHeaderTimeout+time.Second {
					t.Errorf("cut off after %v, want %v", took, readHeaderTimeout)
				}
				conn.Close()
				stop()
			})
		})
	}
}

func TestRunReportsAListenerThatFails(t *testing.T) {
	l := newPipes()
	l.Close()
	if err := New(newGateway().settings()).Run(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run on a closed listener = %v, want %v", err, net.ErrClosed)
	}
}
