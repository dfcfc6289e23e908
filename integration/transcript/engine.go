package transcript

import (
	"context"
	"errors"
	"sync"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/memory"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// The app of an Engine target.
const (
	appID  = "app-id"
	key    = "app-key"
	secret = "app-secret"
)

// Engine is a target that is an engine alone, without transports or HTTP, in
// the virtual time of a testing/synctest bubble.
type Engine struct {
	engine *engine.Engine

	mu  sync.Mutex
	app proxy.App
}

var _ Target = (*Engine)(nil)

// NewEngine returns a target with one app that has every switch off. Run must
// be running while scripts are.
func NewEngine() *Engine {
	target := &Engine{app: proxy.Defaults()}
	target.app.ID = appID
	target.app.Credentials = []proxy.Credential{{Key: key, Secret: proxy.NewSecret(secret)}}
	target.engine = engine.New(engine.Settings{
		Node: 1,
		Apps: func(id string) (*proxy.App, bool) {
			app := target.current()
			return app, id == app.ID
		},
		Broker:   memory.NewBroker(),
		Presence: memory.NewPresence(),
		Log:      zerolog.Nop(),
	})
	return target
}

// Run runs the engine until ctx ends.
func (e *Engine) Run(ctx context.Context) error { return e.engine.Run(ctx) }

func (e *Engine) current() *proxy.App {
	e.mu.Lock()
	defer e.mu.Unlock()
	app := e.app
	return &app
}

// Configure implements Target.
func (e *Engine) Configure(settings string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	app := e.app
	if err := configureAll(&app, settings); err != nil {
		return err
	}
	e.app = app
	return nil
}

// Request implements Target.
func (e *Engine) Request(string, string, string) (int, string, error) {
	return 0, "", errors.New("the engine alone does not speak HTTP")
}

// Connect implements Target.
func (e *Engine) Connect(query string) (Client, error) {
	if query != "" {
		return nil, errors.New("the engine alone does not read a URL")
	}
	c := &engineClient{}
	c.in.onClose = func(code int, reason string) { c.conn.Close(code, reason) }
	conn, refused := e.engine.Connect(e.current(), proxy.Client{Key: key, Protocol: 7, Transport: "memory"}, &c.in)
	if refused != nil {
		c.in.ended, c.in.code, c.in.reason = true, refused.Code, refused.Message
		return c, nil
	}
	c.conn = conn
	return c, nil
}

// Publish implements Target.
func (e *Engine) Publish(channels []string, event, data, except string) error {
	p := engine.Publication{Name: event, Data: []byte(data), Except: protocol.SocketID(except)}
	for _, name := range channels {
		p.Channels = append(p.Channels, protocol.ChannelName(name))
	}
	return e.engine.Publish(context.Background(), e.current(), p)
}

// Terminate implements Target.
func (e *Engine) Terminate(userID string) error {
	return e.engine.TerminateUser(context.Background(), e.current(), userID)
}

// Drain implements Target.
func (e *Engine) Drain() error { return e.engine.Drain(context.Background(), 0) }

// Settle implements Target.
func (e *Engine) Settle() { synctest.Wait() }

// Sleep implements Target.
func (e *Engine) Sleep(d time.Duration) { time.Sleep(d) }

// Credential implements Target.
func (e *Engine) Credential() (string, string) { return key, secret }

// engineClient is a connection without a transport.
type engineClient struct {
	conn *engine.Conn
	in   inbox
}

// Send implements Client.
func (c *engineClient) Send(frame string) error {
	if _, _, ended := c.Closed(); ended {
		return errors.New("the connection is closed")
	}
	c.conn.Handle([]byte(frame))
	return nil
}

// Next implements Client.
func (c *engineClient) Next(bool) (string, bool) { return c.in.next() }

// Closed implements Client.
func (c *engineClient) Closed() (code int, reason string, closed bool) { return c.in.closed() }

// Close implements Client.
func (c *engineClient) Close() error {
	c.conn.Close(1000, "")
	return nil
}

// inbox is an engine.Outlet that keeps what it is sent.
type inbox struct {
	onClose func(code int, reason string)

	mu     sync.Mutex
	frames []string
	ended  bool
	code   int
	reason string
}

var _ engine.Outlet = (*inbox)(nil)

// Send implements engine.Outlet.
func (in *inbox) Send(b *fanout.Batch, from int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return false
	}
	for i := from; i < b.Len(); i++ {
		in.frames = append(in.frames, string(b.Payload(i)))
	}
	return true
}

// Close implements engine.Outlet. The connection leaves the engine on a
// goroutine of its own, as it does with a real transport.
func (in *inbox) Close(code int, reason string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return
	}
	in.ended, in.code, in.reason = true, code, reason
	go in.onClose(code, reason)
}

func (in *inbox) next() (string, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.frames) == 0 {
		return "", false
	}
	frame := in.frames[0]
	in.frames = in.frames[1:]
	return frame, true
}

func (in *inbox) closed() (int, string, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.code, in.reason, in.ended
}
