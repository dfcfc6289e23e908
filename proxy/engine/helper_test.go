package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/memory"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	testApp    = "app-id"
	testKey    = "app-key"
	testSecret = "app-secret"
)

// node is an engine with the memory backend and one app, running.
type node struct {
	*Engine
	t   testing.TB
	app atomic.Pointer[proxy.App]
	tap *recorder
}

// nodeSettings are what tests vary.
type nodeSettings struct {
	app       func(*proxy.App)
	broker    func(proxy.Broker) proxy.Broker
	presence  func(proxy.Presence) proxy.Presence
	occupancy proxy.Occupancy // nil: the only node
	kinds     proxy.Kinds     // records to keep; 0: no tap
	node      uint64          // 0: 7
}

// run starts a node, which ends with the test. Inside a synctest bubble t is
// the bubble's.
func run(t testing.TB, s nodeSettings) *node {
	t.Helper()
	n := &node{t: t}
	app := proxy.Defaults()
	app.ID = testApp
	app.Credentials = []proxy.Credential{{Key: testKey, Secret: proxy.NewSecret(testSecret)}}
	app.ClientEvents, app.Watchlist = true, true
	if s.app != nil {
		s.app(&app)
	}
	n.app.Store(&app)
	settings := Settings{
		Node:      cmp.Or(s.node, 7),
		Apps:      func(id string) (*proxy.App, bool) { a := n.app.Load(); return a, a.ID == id },
		Broker:    memory.NewBroker(),
		Presence:  memory.NewPresence(),
		Occupancy: s.occupancy,
		Log:       zerolog.Nop(),
	}
	if s.broker != nil {
		settings.Broker = s.broker(settings.Broker)
	}
	if s.presence != nil {
		settings.Presence = s.presence(settings.Presence)
	}
	if s.kinds != 0 {
		n.tap = &recorder{kinds: s.kinds}
		settings.Tap = n.tap
	}
	n.Engine = New(settings)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return n
}

// change swaps in a changed copy of the app, as a reload does.
func (n *node) change(f func(*proxy.App)) {
	app := *n.app.Load()
	f(&app)
	n.app.Store(&app)
}

func (n *node) topic(name string) proxy.Topic {
	return proxy.Topic{App: testApp, Channel: protocol.ChannelName(name)}
}

func (n *node) publish(channel, name, data string) {
	n.t.Helper()
	err := n.Publish(context.Background(), n.app.Load(), Publication{
		Channels: []protocol.ChannelName{protocol.ChannelName(channel)}, Name: name, Data: []byte(data),
	})
	if err != nil {
		n.t.Errorf("Publish(%s): %v", channel, err)
	}
}

// dial connects a client and takes the greeting off its frames.
func (n *node) dial() *client {
	n.t.Helper()
	c := &client{n: n}
	conn, refused := n.Connect(n.app.Load(), proxy.Client{Key: testKey, Protocol: 7}, c)
	if refused != nil {
		n.t.Fatalf("Connect: %v", refused)
	}
	c.conn = conn
	c.take()
	return c
}

// client is a connection whose transport is a list in memory.
type client struct {
	n    *node
	conn *Conn

	mu     sync.Mutex
	frames []string
	code   int
	reason string
}

func (c *client) Send(b *fanout.Batch, from int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := from; i < b.Len(); i++ {
		c.frames = append(c.frames, string(b.Payload(i)))
	}
	return true
}

func (c *client) Close(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code, c.reason = code, reason
	}
}

func (c *client) closed() (int, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason
}

// take returns what has been received and not yet taken.
func (c *client) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames := c.frames
	c.frames = nil
	return frames
}

// count returns how many frames wait to be taken.
func (c *client) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.frames)
}

func (c *client) send(format string, args ...any) {
	c.conn.Handle(fmt.Appendf(nil, format, args...))
}

// subscribe sends a signed pusher:subscribe; channelData may be empty.
func (c *client) subscribe(name, channelData string) {
	data := map[string]any{"channel": name}
	var signed *string
	if channelData != "" {
		data["channel_data"], signed = channelData, &channelData
	}
	if channel := protocol.ChannelName(name); channel.NeedsAuth() {
		data["auth"] = testKey + ":" + protocol.Sign(testSecret, protocol.ChannelString(c.conn.id, channel, signed))
	}
	c.command(protocol.EventSubscribe, data)
}

func (c *client) unsubscribe(name string) {
	c.command(protocol.EventUnsubscribe, map[string]any{"channel": name})
}

func (c *client) signin(userData string) {
	auth := testKey + ":" + protocol.Sign(testSecret, protocol.UserString(c.conn.id, userData))
	c.command(protocol.EventSignin, map[string]any{"auth": auth, "user_data": userData})
}

func (c *client) command(event string, data map[string]any) {
	frame, err := json.Marshal(map[string]any{"event": event, "data": data})
	if err != nil {
		c.n.t.Fatal(err)
	}
	c.conn.Handle(frame)
}

// frame is a server frame, decoded.
type frame struct {
	Event   string
	Channel string
	Data    json.RawMessage
	UserID  string `json:"user_id"`
}

func parse(t testing.TB, text string) frame {
	t.Helper()
	var f frame
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("frame %q: %v", text, err)
	}
	return f
}

// data decodes the frame's data string into v.
func (f frame) data(t testing.TB, v any) {
	t.Helper()
	var text string
	if err := json.Unmarshal(f.Data, &text); err != nil {
		t.Fatalf("data of %s is %s, want a string", f.Event, f.Data)
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("data of %s is %q: %v", f.Event, text, err)
	}
}

// recorder is a Tap that keeps what it is offered.
type recorder struct {
	kinds proxy.Kinds

	mu      sync.Mutex
	records []proxy.Record
}

func (r *recorder) Wants(k proxy.Kind) bool { return r.kinds.Has(k) }

func (r *recorder) Offer(rec proxy.Record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
	return true
}

func (r *recorder) all() []proxy.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]proxy.Record(nil), r.records...)
}

// eventually waits in real time for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func hasError(frames []string, code int, text string) bool {
	want := string(protocol.AppendError(nil, &protocol.Error{Code: code, Message: text}))
	return len(frames) == 1 && frames[0] == want
}

func succeeded(frames []string) bool {
	return len(frames) > 0 && strings.Contains(frames[0], "subscription_succeeded")
}
