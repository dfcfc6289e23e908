package integration

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/integration/transcript"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/backend/redis"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/front"
	"github.com/offramp/offramp/proxy/httpapi"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
	"github.com/offramp/offramp/proxy/transport/websocket"
)

// TestTranscriptsOnTwoNodes runs every transcript of several connections with
// one connection, and one request, on the one node and the next on the other:
// clients see no difference.
func TestTranscriptsOnTwoNodes(t *testing.T) {
	scripts, err := transcript.Load("testdata/transcripts")
	if err != nil {
		t.Fatal(err)
	}
	server := startRedis(t)
	ran := 0
	for _, script := range scripts {
		if waits(script) || connections(script) < 2 {
			continue
		}
		ran++
		t.Run(strings.Join(script.IDs, " ")+": "+script.Title, func(t *testing.T) {
			target := serveTwo(t, server)
			defer target.Close()
			if err := script.Run(target); err != nil {
				t.Error(err)
			}
		})
	}
	if ran < 25 {
		t.Errorf("only %d transcripts have several connections", ran)
	}
}

func connections(s transcript.Script) int {
	var names []string
	for _, step := range s.Steps {
		if step.Verb == "connect" && !slices.Contains(names, step.Who) {
			names = append(names, step.Who)
		}
	}
	return len(names)
}

// serveTwo runs two nodes with one app until the test ends.
func serveTwo(t *testing.T, server *redisServer) *transcript.Gateway {
	t.Helper()
	app, probed := proxy.Defaults(), proxy.Defaults()
	app.ID, probed.ID = "app-id", "probe"
	app.Credentials = []proxy.Credential{{Key: "app-key", Secret: proxy.NewSecret("app-secret")}}
	probed.Credentials = []proxy.Credential{{Key: "probe-key", Secret: proxy.NewSecret("probe-secret")}}
	registry, err := apps.New([]*proxy.App{&app, &probed})
	if err != nil {
		t.Fatal(err)
	}
	first, second := serveNode(t, server, registry, 1), serveNode(t, server, registry, 2)
	both := probes{t: t, app: &probed, nodes: []*engine.Engine{first.engine, second.engine}}
	for _, e := range both.nodes {
		conn, refused := e.Connect(&probed, proxy.Client{Key: "probe-key", Protocol: 7}, &both)
		if refused != nil {
			t.Fatal(refused)
		}
		conn.Handle([]byte(`{"event":"pusher:subscribe","data":{"channel":"probe"}}`))
	}
	both.await(4) // greetings and confirmations
	return &transcript.Gateway{
		Addr: first.addr, More: []string{second.addr}, Barrier: both.barrier, AppID: app.ID, Key: "app-key", Secret: "app-secret",
		Change: func(change func(*proxy.App) error) error {
			next, _ := registry.ByID(app.ID)
			changed := *next
			if err := change(&changed); err != nil {
				return err
			}
			return registry.Swap([]*proxy.App{&changed, &probed})
		},
		Drainer: func() error {
			for _, e := range both.nodes {
				if err := e.Drain(t.Context(), 0); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// probes is a client on each node that tells when what was published has
// arrived everywhere.
type probes struct {
	t     *testing.T
	app   *proxy.App
	nodes []*engine.Engine
	got   atomic.Int64
}

// Send implements engine.Outlet.
func (p *probes) Send(b *fanout.Batch, from int) bool {
	p.got.Add(int64(b.Len() - from))
	return true
}

// Close implements engine.Outlet.
func (*probes) Close(int, string) {}

func (p *probes) await(n int64) {
	eventually(p.t, "what was published is everywhere", func() bool { return p.got.Load() >= n })
}

func (p *probes) barrier() {
	want := p.got.Load() + int64(len(p.nodes)*len(p.nodes))
	for _, e := range p.nodes {
		err := e.Publish(p.t.Context(), p.app, engine.Publication{Channels: []protocol.ChannelName{"probe"}, Name: "e", Data: []byte("1")})
		if err != nil {
			p.t.Errorf("probe: %v", err)
			return
		}
	}
	p.await(want)
}

// clusterNode is a running node without a process of its own.
type clusterNode struct {
	engine *engine.Engine
	addr   string
}

func serveNode(t *testing.T, server *redisServer, registry *apps.Registry, id uint64) clusterNode {
	t.Helper()
	var e *engine.Engine
	backend, err := redis.New(redis.Settings{
		Server: redis.Server{URL: proxy.NewSecret("redis://127.0.0.1:" + server.port + "/0")}, Prefix: t.Name() + ":", Node: id, Log: zerolog.Nop(),
		Changed: func(c proxy.Change) { e.Apply(c) }, Returned: func() { e.Resync() },
	})
	if err != nil {
		t.Fatal(err)
	}
	e = engine.New(engine.Settings{
		Node: id, Apps: registry.ByID, Broker: backend.Broker, Presence: backend.Ledger, Occupancy: backend.Ledger, Log: zerolog.Nop(),
	})
	sessions := session.New(session.Settings{Apps: registry, Log: zerolog.Nop(), Connect: func(app *proxy.App, client proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
		conn, refused := e.Connect(app, client, out)
		if refused != nil {
			return nil, refused
		}
		return conn, nil
	}})
	sockets := websocket.New(websocket.Settings{Sessions: sessions, Log: zerolog.Nop()})
	api := httpapi.New(httpapi.Settings{Apps: registry, Engine: e, Rates: backend.Rates, Log: zerolog.Nop()})
	f := front.New(front.Settings{WebSocket: sockets, API: api.Handler, Log: zerolog.Nop()})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, backend.Ledger.Run)
	runUntilEnd(t, e.Run, sessions.Run, sockets.Run, func(ctx context.Context) error { return f.Run(ctx, []net.Listener{listener}) })
	eventually(t, "the node is one with the others", func() bool { return backend.Healthy() == nil })
	return clusterNode{e, listener.Addr().String()}
}

// runUntilEnd runs parts until the test ends.
func runUntilEnd(t *testing.T, parts ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range parts {
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
}
