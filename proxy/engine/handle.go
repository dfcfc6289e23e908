package engine

import (
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Handle carries out one text frame from the client. Frames of a connection
// are handled one after the other; a frame after the connection's end is
// passed over. The engine keeps nothing of raw.
func (c *Conn) Handle(raw []byte) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.closed {
		return
	}
	app, ok := c.engine.apps(c.tenant.id)
	if !ok || !app.Enabled {
		c.refused("frame", protocol.ErrAppDisabled)
		c.end(protocol.ErrAppDisabled)
		return
	}
	f, err := protocol.Decode(raw)
	action := "frame"
	if err == nil {
		action, err = c.command(app, f)
	}
	switch {
	case err == nil:
	case err.Closes():
		c.refused(action, err)
		c.end(err)
	default:
		c.refused(action, err)
		c.send(protocol.AppendError(nil, err))
	}
}

// command carries out a decoded frame. action names it in records.
func (c *Conn) command(app *proxy.App, f protocol.Frame) (action string, err *protocol.Error) {
	switch f.Event {
	case protocol.EventSubscribe:
		return "subscribe", c.subscribe(app, f.Data)
	case protocol.EventUnsubscribe:
		return "unsubscribe", c.unsubscribe(f.Data)
	case protocol.EventSignin:
		return "signin", c.signin(app, f.Data)
	case protocol.EventPing:
		c.send(protocol.AppendPong(nil))
		return "ping", nil
	case protocol.EventPong:
		return "pong", nil
	}
	if f.IsClientEvent() {
		return "client_event", c.clientEvent(app, f)
	}
	return "frame", protocol.ErrUnsupportedEvent(f.Event)
}
