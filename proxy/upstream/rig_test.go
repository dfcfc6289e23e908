package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
	"github.com/tidwall/gjson"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/backend/memory"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/front"
	"github.com/offramp/offramp/proxy/httpapi"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
	"github.com/offramp/offramp/proxy/session"
	"github.com/offramp/offramp/proxy/tap"
	transport "github.com/offramp/offramp/proxy/transport/websocket"
	"github.com/offramp/offramp/proxy/upstream"
)

const (
	key    = "app-key"
	secret = "app-secret"
)

func newApp(stage proxy.Stage) *proxy.App {
	app := proxy.Defaults()
	app.ID, app.Stage = "1", stage
	app.Credentials = []proxy.Credential{{Key: key, Secret: proxy.NewSecret(secret)}}
	app.ClientEvents, app.SubscriptionCounting = true, true
	return &app
}

// server is one whole Pusher-compatible server on a loopback port.
type server struct {
	t      testing.TB
	addr   string
	engine *engine.Engine
	stop   func()
}

// service is what a server answers with.
type service struct {
	engine    *engine.Engine
	websocket front.Upgrades
	api       *httpapi.API
	relay     *upstream.Relay
	router    *route.Router
}

// serve starts an engine with a front; wrap may put a relay before them.
func serve(t testing.TB, node uint64, registry *apps.Registry, feed *upstream.Feed, wrap func(service) service) (*server, service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(name string, f func(context.Context) error) {
		running.Go(func() {
			if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	s := &server{t: t}
	s.engine = engine.New(engine.Settings{Node: node, Apps: registry.ByID, Broker: memory.NewBroker(), Presence: memory.NewPresence(), Log: zerolog.Nop(), Tap: watching(feed)})
	var svc service
	sessions := session.New(session.Settings{Apps: registry, Log: zerolog.Nop(), Connect: func(a *proxy.App, c proxy.Client, o session.Outlet) (session.Conn, *protocol.Error) {
		if svc.relay != nil && svc.relay.Takes(a) {
			return svc.relay.Connect(a, c, o)
		}
		conn, err := s.engine.Connect(a, c, o)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}})
	svc = service{
		engine:    s.engine,
		websocket: transport.New(transport.Settings{Sessions: sessions, Log: zerolog.Nop()}),
		api:       httpapi.New(httpapi.Settings{Apps: registry, Engine: s.engine, Log: zerolog.Nop()}),
	}
	handler := svc.api.Handler
	if wrap != nil {
		svc = wrap(svc)
		handler = svc.relay.ServeAPI
		run("relay", svc.relay.Run)
		run("router", svc.router.Run)
	}
	run("engine", s.engine.Run)
	run("sessions", sessions.Run)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	fr := front.New(front.Settings{WebSocket: svc.websocket, API: handler, Log: zerolog.Nop()})
	run("front", func(ctx context.Context) error { return fr.Run(ctx, []net.Listener{listener}) })
	s.stop = sync.OnceFunc(func() {
		drained, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		_ = s.engine.Drain(drained, 0)
		cancel()
		running.Wait()
	})
	t.Cleanup(s.stop)
	return s, svc
}

func watching(feed *upstream.Feed) engine.Tap {
	if feed == nil {
		return nil
	}
	return tap.New(tap.Watcher{Name: "bridge", Sink: feed, Kinds: upstream.FeedKinds})
}

// rig is a vendor and a gateway in front of it.
type rig struct {
	t       testing.TB
	vendor  *server
	gateway *server
	relay   *upstream.Relay
	router  *route.Router
	shadow  *engine.Engine
	seen    *records
	up      *proxy.Upstream
	node    uint64 // of the relay; 0: 2
	rules   []proxy.Rule
	hooks   upstream.Hooks // nil: webhooks of the vendor are not served
	copies  string         // where copies are kept; empty: in memory only
	calls   time.Duration  // how long a call may take; 0: the default
}

// open starts both, with the app at that stage in the gateway.
func open(t testing.TB, stage proxy.Stage) *rig {
	t.Helper()
	r := new(rig)
	r.openAt(t, stage)
	return r
}

func (r *rig) openAt(t testing.TB, stage proxy.Stage) {
	t.Helper()
	vendors, err := apps.New([]*proxy.App{newApp(proxy.StageExited)})
	if err != nil {
		t.Fatal(err)
	}
	r.t, r.seen = t, newRecords()
	r.vendor, _ = serve(t, 1, vendors, nil, nil)
	r.startGateway(stage, &proxy.Upstream{WebSocket: "ws://" + r.vendor.addr, API: "http://" + r.vendor.addr})
}

func (r *rig) startGateway(stage proxy.Stage, up *proxy.Upstream) {
	r.t.Helper()
	app := newApp(stage)
	app.Upstream, r.up, app.Rules, app.Staff = up, up, r.rules, []string{"staff"}
	registry, err := apps.New([]*proxy.App{app})
	if err != nil {
		r.t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(r.t.TempDir(), "db"), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { db.Close() })
	r.router, err = route.New(route.Settings{DB: db, Apps: registry, Log: zerolog.Nop()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.shadow = engine.New(engine.Settings{Node: 3, Apps: registry.ByID, Broker: memory.NewBroker(), Presence: memory.NewPresence(), Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.shadow.Run(ctx) }()
	feed := upstream.NewFeed(4096)
	if r.copies != "" {
		if err := feed.Keep(r.copies, []string{"1"}, zerolog.Nop()); err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() {
			if err := feed.Close(); err != nil {
				r.t.Error(err)
			}
		})
	}
	r.gateway, _ = serve(r.t, 2, registry, feed, func(s service) service {
		r.relay = upstream.New(upstream.Settings{
			Apps: registry, Route: r.router, WebSocket: s.websocket, API: s.api, Engine: s.engine, Feed: feed, Shadow: r.shadow, Node: max(r.node, 2), LookAtVendor: 200 * time.Millisecond, CallWithin: r.calls, Log: zerolog.Nop(), Hooks: r.hooks,
			Tap: tap.New(tap.Watcher{Name: "test", Sink: r.seen, Kinds: proxy.AllKinds}),
		})
		s.websocket, s.relay, s.router = r.relay, r.relay, r.router
		return s
	})
	r.t.Cleanup(func() {
		r.gateway.stop()
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
}

// move sets the app's stage.
func (r *rig) move(stage proxy.Stage) {
	r.t.Helper()
	if _, err := r.router.Set(r.t.Context(), route.Request{App: "1", Stage: stage, Who: "test"}); err != nil {
		r.t.Fatal(err)
	}
}

// records keeps what is offered, and tells of each.
type records struct {
	mu    sync.Mutex
	all   []proxy.Record
	grown *sync.Cond
}

func newRecords() *records {
	r := &records{}
	r.grown = sync.NewCond(&r.mu)
	return r
}

func (r *records) Offer(rec proxy.Record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
	r.grown.Broadcast()
	return true
}

// await returns the first record for which holds, now or within 5 s.
func (r *records) await(t testing.TB, what string, holds func(proxy.Record) bool) proxy.Record {
	t.Helper()
	late := time.AfterFunc(5*time.Second, r.grown.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(5 * time.Second)
	r.mu.Lock()
	defer r.mu.Unlock()
	for from := 0; ; {
		for ; from < len(r.all); from++ {
			if holds(r.all[from]) {
				return r.all[from]
			}
		}
		if !time.Now().Before(deadline) {
			t.Fatalf("no record: %s", what)
		}
		r.grown.Wait()
	}
}

func (r *records) where(holds func(proxy.Record) bool) (found []proxy.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.all {
		if holds(rec) {
			found = append(found, rec)
		}
	}
	return found
}

// client is a WebSocket client.
type client struct {
	t  testing.TB
	ws *websocket.Conn
	id protocol.SocketID
}

// dial connects to addr and waits for the greeting.
func dial(t testing.TB, addr, query string) *client {
	t.Helper()
	c := dialOnly(t, addr, query)
	frame := c.await("pusher:connection_established")
	c.id = protocol.SocketID(gjson.Get(frame.Get("data").String(), "socket_id").String())
	return c
}

func dialOnly(t testing.TB, addr, query string) *client {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/app/"+key+"?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &client{t: t, ws: ws}
}

const query = "protocol=7&client=js&version=8.4.0"

// read returns the next frame, or the error that ended the connection.
func (c *client) read() (gjson.Result, error) {
	if err := c.ws.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return gjson.Result{}, err
	}
	_, text, err := c.ws.ReadMessage()
	return gjson.ParseBytes(text), err
}

// await returns the next frame of that event.
func (c *client) await(event string) gjson.Result {
	c.t.Helper()
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", event, err)
		}
		if f.Get("event").String() == event {
			return f
		}
	}
}

// closed returns the code and reason that the connection ends with.
func (c *client) closed() (int, string) {
	c.t.Helper()
	for {
		_, err := c.read()
		var ended *websocket.CloseError
		if errors.As(err, &ended) {
			c.ws.Close()
			return ended.Code, ended.Text
		}
		if err != nil {
			c.t.Fatalf("waiting for the end: %v", err)
		}
	}
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// subscribe joins a channel, on a presence channel as user.
func (c *client) subscribe(channel, user string) {
	c.t.Helper()
	c.send(c.subscription(channel, user))
	c.await("pusher_internal:subscription_succeeded")
}

func (c *client) subscription(channel, user string) string {
	name := protocol.ChannelName(channel)
	data := map[string]string{"channel": channel}
	var member *string
	if name.Kind() == protocol.Presence {
		text := fmt.Sprintf(`{"user_id":%q}`, user)
		member = &text
		data["channel_data"] = text
	}
	if name.NeedsAuth() {
		data["auth"] = key + ":" + protocol.Sign(secret, protocol.ChannelString(c.id, name, member))
	}
	text, _ := json.Marshal(map[string]any{"event": "pusher:subscribe", "data": data})
	return string(text)
}

// call makes a signed API call and returns status and body.
func call(t testing.TB, addr, method, path, params, body string) (int, string) {
	t.Helper()
	query := "auth_key=" + key + "&auth_timestamp=" + strconv.FormatInt(time.Now().Unix(), 10) + "&auth_version=1.0" + params
	if body != "" {
		query += "&body_md5=" + protocol.BodyMD5([]byte(body))
	}
	query += "&auth_signature=" + protocol.Sign(secret, protocol.RequestString(method, path, protocol.ParseQuery(query)))
	return request(t, addr, method, path+"?"+query, body)
}

func request(t testing.TB, addr, method, target, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// publish sends an event through the API at addr.
func publish(t testing.TB, addr, channel, name, data string) {
	t.Helper()
	body := fmt.Sprintf(`{"name":%q,"channel":%q,"data":%q}`, name, channel, data)
	if status, text := call(t, addr, "POST", "/apps/1/events", "", body); status != 200 || text != "{}" {
		t.Fatalf("publish: %d %s", status, text)
	}
}
