package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// Conn is one client connection.
type Conn struct {
	// Set by Connect.
	engine *Engine
	tenant *tenant
	out    Outlet
	client *proxy.Client
	id     protocol.SocketID
	number uint64        // the id's second half: a later connection has a higher one
	since  time.Duration // after the engine's start

	authorised atomic.Bool // signed in, or on a channel that needs a signature

	// turn makes the connection's commands and its end happen one after the
	// other.
	turn sync.Mutex

	// Guarded by turn.
	quota  bool // counts against the app's limit of connections
	closed bool
	bucket bucket

	// Guarded by mu; changed only under turn as well, so that either is
	// enough for reading.
	mu     sync.Mutex
	joined subscriptions
	login  *login // nil: not signed in
}

// SocketID returns the connection's id.
func (c *Conn) SocketID() protocol.SocketID { return c.id }

// Connect registers a connection and sends the established frame to out, as
// its first. It refuses with 4100 while draining, else with 4003 if the app
// is disabled, and with 4004 if it has its full number of connections.
func (e *Engine) Connect(app *proxy.App, client proxy.Client, out Outlet) (*Conn, *protocol.Error) {
	t := e.tenant(app.ID)
	c := &Conn{engine: e, tenant: t, out: out, client: &client, since: time.Since(e.started)}
	if err := e.admit(app, c); err != nil {
		t.refusals.Add(1)
		e.offer(proxy.Record{
			Kind: proxy.KindRefused, Topic: proxy.Topic{App: app.ID}, Client: c.client,
			Code: err.Code, Text: err.Message, Action: "connect",
		})
		return nil, err
	}
	t.connections.Add(1)
	e.offer(proxy.Record{Kind: proxy.KindConnected, Topic: proxy.Topic{App: app.ID}, Socket: c.id, Client: c.client})
	timeout := max(int(app.ActivityTimeout/time.Second), 1)
	c.send(protocol.AppendEstablished(nil, c.id, timeout))
	if app.AuthorizedConnections {
		e.unauthorised.add(time.Now().Add(app.AuthorizeWithin), c)
	}
	return c, nil
}

// admit registers c, or says why not. Draining is looked at after it has been
// registered, so that Drain either sees c or c sees Drain.
func (e *Engine) admit(app *proxy.App, c *Conn) *protocol.Error {
	if e.draining.Load() {
		return protocol.ErrDraining
	}
	if !app.Enabled {
		return protocol.ErrAppDisabled
	}
	if err := c.takeQuota(app, !app.AuthorizedConnections); err != nil {
		return err
	}
	e.conns.add(c)
	if e.draining.Load() {
		e.conns.remove(c)
		c.returnQuota()
		return protocol.ErrDraining
	}
	return nil
}

// takeQuota checks the app's limit of connections, and counts c against it if
// it is to stay: one that must authorise itself first is not counted yet.
func (c *Conn) takeQuota(app *proxy.App, stay bool) *protocol.Error {
	limit := app.Limits.Connections
	if stay {
		c.quota = c.engine.takeSeat(c.tenant, limit)
	}
	if stay && !c.quota || !stay && c.tenant.seats.full(limit) {
		return protocol.ErrOverQuota
	}
	return nil
}

func (c *Conn) returnQuota() {
	if c.quota {
		c.quota = false
		c.engine.giveSeat(c.tenant)
	}
}

// authorise notes that the connection has proved that the app knows it.
func (c *Conn) authorise(app *proxy.App) *protocol.Error {
	if c.authorised.Swap(true) || c.quota {
		return nil
	}
	return c.takeQuota(app, true)
}

// authorisationDue ends a connection that has had its time to authorise.
func (e *Engine) authorisationDue(c *Conn) {
	if c.authorised.Load() || e.draining.Load() || e.conns.get(c.id) == nil {
		return
	}
	if app, ok := e.apps(c.tenant.id); !ok || !app.AuthorizedConnections {
		return
	}
	c.refused("connect", protocol.ErrUnauthorized)
	if c.client.Protocol >= 6 { // older clients are told by the transport
		c.send(protocol.AppendError(nil, protocol.ErrUnauthorized))
	}
	c.end(protocol.ErrUnauthorized)
}

// send queues one frame for the client. A client that takes no more is ended
// by its outlet.
func (c *Conn) send(frame []byte) { c.out.Send(fanout.One(frame), 0) }

// end asks the transport to end the connection.
func (c *Conn) end(err *protocol.Error) { c.out.Close(err.Code, err.Message) }

// refused counts and records a refusal.
func (c *Conn) refused(action string, err *protocol.Error) {
	c.tenant.refusals.Add(1)
	c.engine.offer(proxy.Record{
		Kind: proxy.KindRefused, Topic: proxy.Topic{App: c.tenant.id}, Socket: c.id,
		Code: err.Code, Text: err.Message, Action: action,
	})
}

// allowed records that a signature was checked and held.
func (c *Conn) allowed(action string, name protocol.ChannelName) {
	c.engine.offer(proxy.Record{
		Kind: proxy.KindAllowed, Topic: proxy.Topic{App: c.tenant.id, Channel: name}, Socket: c.id, Action: action,
	})
}

// Close takes the connection out of the engine once it has ended: it leaves
// its channels and signs out. code and reason say how it ended, for watchers;
// code 0 stands for unknown. Only the first call has an effect. It must not
// be called from within Outlet's methods.
func (c *Conn) Close(code int, reason string) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	e := c.engine
	for _, sub := range c.joined.all() {
		e.leave(c, sub)
	}
	if c.login != nil {
		e.signOut(c)
	}
	e.conns.remove(c)
	c.returnQuota()
	c.tenant.connections.Add(-1)
	e.offer(proxy.Record{
		Kind: proxy.KindDisconnected, Topic: proxy.Topic{App: c.tenant.id}, Socket: c.id,
		Client: c.client, Code: code, Text: reason,
	})
}

// subscription returns the connection's subscription to a channel, or nil. It
// may be called on any goroutine.
func (c *Conn) subscription(name protocol.ChannelName) *subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.joined.get(name)
}
