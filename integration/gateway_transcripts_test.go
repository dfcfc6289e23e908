package integration

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/integration/conformance"
	"github.com/offramp/offramp/integration/transcript"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/backend/memory"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/front"
	"github.com/offramp/offramp/proxy/httpapi"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
	"github.com/offramp/offramp/proxy/transport/websocket"
)

// TestTranscriptsOverTheNetwork runs the transcripts against a server on the
// loopback interface, but for those that wait for long.
func TestTranscriptsOverTheNetwork(t *testing.T) {
	scripts, err := transcript.Load("testdata/transcripts")
	if err != nil {
		t.Fatal(err)
	}
	more, err := transcript.Load("testdata/transcripts/gateway")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range append(scripts, more...) {
		if waits(script) {
			continue
		}
		t.Run(strings.Join(script.IDs, " ")+": "+script.Title, func(t *testing.T) {
			conformance.Record(t, script.IDs...)
			target := serve(t)
			defer target.Close()
			if err := script.Run(target); err != nil {
				t.Error(err)
			}
		})
	}
}

func waits(s transcript.Script) bool {
	for _, step := range s.Steps {
		if d, err := time.ParseDuration(step.Rest); step.Verb == "sleep" && (err != nil || d > time.Second) {
			return true
		}
	}
	return false
}

// serve runs a server with one app until the test ends.
func serve(t *testing.T) *transcript.Gateway {
	t.Helper()
	app := proxy.Defaults()
	app.ID = "app-id"
	app.Credentials = []proxy.Credential{{Key: "app-key", Secret: proxy.NewSecret("app-secret")}}
	registry, err := apps.New([]*proxy.App{&app})
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New(engine.Settings{
		Node: 1, Apps: registry.ByID, Broker: memory.NewBroker(), Presence: memory.NewPresence(), Log: zerolog.Nop(),
	})
	sessions := session.New(session.Settings{Apps: registry, Log: zerolog.Nop(), Connect: func(app *proxy.App, client proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
		conn, refused := e.Connect(app, client, out)
		if refused != nil {
			return nil, refused
		}
		return conn, nil
	}})
	sockets := websocket.New(websocket.Settings{Sessions: sessions, Log: zerolog.Nop()})
	api := httpapi.New(httpapi.Settings{Apps: registry, Engine: e, Log: zerolog.Nop()})
	f := front.New(front.Settings{WebSocket: sockets, API: api.Handler, Log: zerolog.Nop()})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{
		e.Run, sessions.Run, sockets.Run, func(ctx context.Context) error { return f.Run(ctx, []net.Listener{listener}) },
	} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return &transcript.Gateway{
		Addr: listener.Addr().String(), AppID: app.ID, Key: "app-key", Secret: "app-secret",
		Change: func(change func(*proxy.App) error) error {
			next := *registry.All()[0]
			if err := change(&next); err != nil {
				return err
			}
			return registry.Swap([]*proxy.App{&next})
		},
		Drainer: func() error { return e.Drain(ctx, 0) },
	}
}
