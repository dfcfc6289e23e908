package upstream

import (
	"context"
	"errors"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
	"github.com/offramp/offramp/proxy/session"
)

// terminated is a client that the gateway speaks to for itself, with a socket
// id of its own. Each of its channels is the engine's or the vendor's: for
// those of the vendor it has a connection there, made when the first is
// needed, for which its subscriptions are signed again.
type terminated struct {
	// Set at construction.
	relay *Relay
	app   *proxy.App
	info  proxy.Client
	out   session.Outlet
	conn  *engine.Conn

	writing sync.Mutex // held while the vendor is written to

	// Guarded by mu.
	mu       sync.Mutex
	routes   map[protocol.ChannelName]routed // of channels that the client asked for
	user     string                          // signed in as
	userData string
	vendor   *vendorConn // nil: not needed yet
	over     bool
}

// routed is where a channel of a client is, and for which user.
type routed struct {
	leg  proxy.Leg
	user string
	data *string // channel_data
}

var _ session.Conn = (*terminated)(nil)

// connectTerminated connects a client to the engine, and to the vendor when
// a channel asks for it.
func (r *Relay) connectTerminated(app *proxy.App, client proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
	conn, refused := r.settings.Engine.Connect(app, client, out)
	if refused != nil {
		return nil, refused
	}
	c := &terminated{relay: r, app: app, info: client, out: out, conn: conn, routes: make(map[protocol.ChannelName]routed)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients[c] = struct{}{}
	r.split[conn.SocketID()] = c
	return c, nil
}

// Handle implements session.Conn.
func (c *terminated) Handle(frame []byte) {
	f, err := protocol.Decode(frame)
	if err != nil {
		c.conn.Handle(frame) // which says what is wrong with it
		return
	}
	switch {
	case f.Event == protocol.EventSubscribe:
		c.subscribe(frame, f)
	case f.Event == protocol.EventUnsubscribe:
		c.unsubscribe(frame, f)
	case f.Event == protocol.EventSignin:
		c.signin(frame, f)
	case f.IsClientEvent() && c.route(protocol.ChannelName(f.Channel)) == proxy.LegVendor:
		c.write(frame)
	default:
		c.conn.Handle(frame)
	}
}

func (c *terminated) route(channel protocol.ChannelName) proxy.Leg {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.routes[channel].leg
}

// subscribe routes a subscription. What the client asked for once stays where
// it is: when the channel moves, the client is sent away to come back.
func (c *terminated) subscribe(frame []byte, f protocol.Frame) {
	sub, err := protocol.DecodeSubscribe(f.Data)
	if err != nil {
		c.conn.Handle(frame)
		return
	}
	// What the engine would refuse it refuses for both.
	if !c.mayAsk(sub) {
		c.conn.Handle(frame)
		return
	}
	if c.choose(sub) == proxy.LegEngine {
		c.join(sub, frame)
		return
	}
	c.relay.settings.Feed.caughtUp(c.app.ID)
	if v := c.open(); v != nil {
		c.write(subscribeFrame(c.app, v.socket, sub))
	}
}

// join subscribes the client to a channel of the engine, where it is to be
// given what it has not been given by the vendor.
func (c *terminated) join(sub protocol.Subscribe, frame []byte) {
	joined := func() {}
	if b := c.relay.awaitBridge(c.relay.current(c.app)); b != nil {
		joined = b.listen(sub, c.conn.SocketID())
	}
	c.relay.level(context.Background(), c.app.ID, false)
	c.conn.Handle(frame)
	joined()
}

// mayAsk checks a subscription as the engine would, so that only channels
// that the client may be on are remembered.
func (c *terminated) mayAsk(sub protocol.Subscribe) bool {
	app := c.relay.current(c.app)
	return sub.Channel.Valid(app.Limits.ChannelNameLength) &&
		(!sub.Channel.NeedsAuth() || engine.VerifySubscribe(app, c.conn.SocketID(), sub) == nil)
}

// choose returns the leg of a channel, for this client and from now on.
func (c *terminated) choose(sub protocol.Subscribe) proxy.Leg {
	position := c.relay.position(c.relay.current(c.app))
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := c.routes[sub.Channel]
	if !known {
		at = routed{position.Serves(sub.Channel, c.user), c.user, sub.ChannelData}
		c.routes[sub.Channel] = at
	}
	return at.leg
}

// vendorSocket returns the client's id at the vendor; empty: it has none.
func (c *terminated) vendorSocket() protocol.SocketID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vendor == nil {
		return ""
	}
	return c.vendor.socket
}

func (c *terminated) unsubscribe(frame []byte, f protocol.Frame) {
	sub, err := protocol.DecodeSubscribe(f.Data)
	if err != nil || c.route(sub.Channel) != proxy.LegVendor {
		c.conn.Handle(frame)
	} else {
		c.write(frame)
	}
	c.mu.Lock()
	delete(c.routes, sub.Channel)
	c.mu.Unlock()
}

// signin signs the client in with the engine, which answers, and with the
// vendor as soon as the client is there.
func (c *terminated) signin(frame []byte, f protocol.Frame) {
	c.conn.Handle(frame)
	in, err := protocol.DecodeSignin(f.Data)
	if err != nil {
		return
	}
	key, signature, _ := protocol.SplitAuth(in.Auth)
	credential, ok := c.app.Credential(key)
	user, err := protocol.DecodeUser(in.UserData)
	if !ok || err != nil || !protocol.Verify(credential.Secret.Reveal(), protocol.UserString(c.conn.SocketID(), in.UserData), signature) {
		return
	}
	c.mu.Lock()
	c.user, c.userData = user.ID, in.UserData
	v := c.vendor
	c.mu.Unlock()
	if v != nil {
		c.write(signinFrame(c.app, v.socket, in.UserData))
	}
	c.known(user.ID)
}

// known moves channels that the client asked for before it was known who it
// is, and that are the engine's for that user. It is told once more that it is
// subscribed.
func (c *terminated) known(user string) {
	position := c.relay.position(c.relay.current(c.app))
	var moved []protocol.Subscribe
	c.mu.Lock()
	for channel, at := range c.routes {
		if at.user != "" {
			continue
		}
		if at.leg == proxy.LegVendor && position.Serves(channel, user) == proxy.LegEngine {
			moved = append(moved, protocol.Subscribe{Channel: channel, ChannelData: at.data})
			at.leg = proxy.LegEngine
		}
		at.user = user
		c.routes[channel] = at
	}
	c.mu.Unlock()
	for _, sub := range moved {
		c.join(sub, subscribeFrame(c.app, c.conn.SocketID(), sub))
		c.write(unsubscribeFrame(sub.Channel))
	}
}

// open returns the connection to the vendor, made if need be. Where that
// fails the client is sent away to come back, and nil is returned.
func (c *terminated) open() *vendorConn {
	c.mu.Lock()
	v, userData := c.vendor, c.userData
	c.mu.Unlock()
	if v != nil {
		return v
	}
	v, err := c.relay.dialVendor(context.Background(), c.app, &c.info)
	if err != nil {
		e := c.relay.unreachable(c.app, &c.info, err)
		c.out.Close(e.Code, e.Message)
		return nil
	}
	c.mu.Lock()
	over := c.over
	if !over {
		c.vendor = v
		c.relay.ids.opened(v.socket, c.conn.SocketID())
	}
	c.mu.Unlock()
	if over || !c.relay.run(func() { c.read(v) }) {
		v.leave()
		return nil
	}
	if userData != "" {
		c.write(signinFrame(c.app, v.socket, userData))
	}
	return v
}

// write sends to the vendor; that it fails ends read.
func (c *terminated) write(frame []byte) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	v := c.vendor
	c.mu.Unlock()
	if v != nil && v.write(frame) != nil {
		_ = v.ws.Close() // it is broken already
	}
}

// read passes on what the vendor says about the channels that are its own. A
// vendor that ends, for whatever reason, must not keep the client away.
func (c *terminated) read(v *vendorConn) {
	for {
		_, text, err := v.ws.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			c.relay.closedWith(c.app.ID, closed.Code, closed.Text)
		}
		if err != nil {
			break
		}
		if c.passes(text) {
			c.relay.metrics.down.Add(float64(len(text)))
			c.out.Send(fanout.One(text), 0)
		}
	}
	_ = v.ws.Close()
	c.mu.Lock()
	over := c.over
	c.mu.Unlock()
	if !over {
		c.out.Close(errLost.Code, errLost.Message)
	}
}

// passes reports whether a frame of the vendor's is for the client. What
// concerns the connection or the user is the engine's to say.
func (c *terminated) passes(text []byte) bool {
	f, ok := readServerFrame(text)
	switch {
	case !ok:
		return false
	case f.channel != "":
		return c.route(f.channel) == proxy.LegVendor
	case f.event == "pusher:error":
		code := gjson.GetBytes(f.content(), "code").Int()
		return code == protocol.CodeNone || code >= 4300
	default:
		return false
	}
}

// Close implements session.Conn.
func (c *terminated) Close(code int, reason string) {
	c.mu.Lock()
	c.over = true
	v := c.vendor
	c.mu.Unlock()
	if v != nil {
		v.leave()
		c.relay.ids.closed(v.socket)
	}
	c.conn.Close(code, reason)
	c.relay.mu.Lock()
	defer c.relay.mu.Unlock()
	delete(c.relay.clients, c)
	delete(c.relay.split, c.conn.SocketID())
}

func (c *terminated) owner() *proxy.App         { return c.app }
func (c *terminated) dismiss(e *protocol.Error) { c.out.Close(e.Code, e.Message) }
func (c *terminated) abort() {
	c.dismiss(protocol.ErrReconnect)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over = true; c.vendor != nil {
		_ = c.vendor.ws.Close() // ends read
	}
}

// misplaced reports whether a channel of the client is no longer where the
// client has it.
func (c *terminated) misplaced(p *route.Position) bool {
	if p.Relayed() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel, at := range c.routes {
		if p.Serves(channel, at.user) != at.leg {
			return true
		}
	}
	return false
}
