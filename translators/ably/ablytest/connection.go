package ablytest

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

const (
	maxIdle      = 15 * time.Second // a heartbeat is sent this often
	writeTimeout = 10 * time.Second
	maxFrameSize = 524288
	queueLength  = 8192 // frames to a client; one that does not read is cut
)

// connection outlives its transport, so that it can be resumed. It is guarded
// by the server's mu.
type connection struct {
	server   *Server
	id, key  string
	format   format
	echo     bool
	who      identity
	attached map[string]bool // channels
	last     int64           // highest msgSerial that was handled; -1: none
	refused  map[int64]error // msgSerials that were refused
	out      *transport      // nil: cut
	leaving  *time.Timer     // members leave
	ending   *time.Timer     // cannot be resumed any more
	expiry   *time.Timer     // of the token
}

// transport is one WebSocket connection.
type transport struct {
	conn  *websocket.Conn
	queue chan frame
	done  chan struct{} // closed when nothing more is to be queued
}

// serveWebSocket is GET /.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer func() { _ = conn.Close() }()
	q := r.URL.Query()
	f := formatJSON
	if q.Get("format") == "msgpack" {
		f = formatMsgpack
	}
	t := &transport{conn: conn, queue: make(chan frame, queueLength), done: make(chan struct{})}
	who, err := s.authorise(r)
	if err != nil {
		t.write(f, frame{Action: actionError, Error: asError(err)})
		return
	}
	c := s.enter(t, f, who, q.Get("resume"), q.Get("echo") != "false")
	if c == nil {
		return
	}
	defer s.wg.Done()
	written := make(chan struct{})
	go func() {
		defer close(written)
		t.writeAll(f)
	}()
	c.read(t)
	s.leave(c, t)
	<-written
}

func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return errorf(50000, 500, "%v", err)
}

// enter makes or resumes a connection. It returns nil when the server closes.
func (s *Server) enter(t *transport, f format, who identity, resume string, echo bool) *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.wg.Add(1)
	var c *connection
	var failed *Error
	if resume != "" {
		failed = errorf(80008, 400, "unable to recover connection: not found, expired, or by decree")
		for _, old := range s.connections {
			if old.key == resume && !s.failResume {
				c, failed = old, nil
			}
		}
	}
	if c == nil {
		c = &connection{server: s, id: randomID(5), attached: map[string]bool{}, last: -1, refused: map[int64]error{}}
		s.connections[c.id] = c
	}
	if c.out != nil {
		c.cut()
	}
	stopTimer(c.leaving)
	stopTimer(c.ending)
	c.key, c.format, c.echo, c.who, c.out = c.id+"!"+randomID(8), f, echo, who, t
	c.watchExpiry()
	c.send(c.connected(failed))
	return c
}

func stopTimer(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

func (c *connection) connected(failed *Error) frame {
	o := c.server.options
	return frame{Action: actionConnected, ConnectionID: c.id, Error: failed, ConnectionDetails: &details{
		ClientID: c.who.clientID, ConnectionKey: c.key, MaxMessageSize: o.MaxMessageSize, MaxFrameSize: maxFrameSize,
		MaxInboundRate: 1000, ConnectionStateTTL: o.StateTTL.Milliseconds(), MaxIdleInterval: maxIdle.Milliseconds(), ServerID: "ablytest",
	}}
}

// watchExpiry disconnects the client when its token expires.
func (c *connection) watchExpiry() {
	stopTimer(c.expiry)
	if c.who.expires.IsZero() {
		return
	}
	t := c.out
	c.expiry = time.AfterFunc(time.Until(c.who.expires), func() {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		if c.out == t && t != nil && !time.Now().Before(c.who.expires) {
			c.send(frame{Action: actionDisconnected, Error: errorf(40142, 401, "token expired")})
			c.finish()
		}
	})
}

// leave is the end of a transport. The connection waits to be resumed.
func (s *Server) leave(c *connection, t *transport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.out == t {
		c.finish()
	}
	if c.out != nil || s.connections[c.id] != c || s.closed {
		return
	}
	c.leaving = time.AfterFunc(s.options.RemainPresentFor, func() { c.later(s.leaveAll) })
	c.ending = time.AfterFunc(s.options.StateTTL, func() { c.later(func(c *connection) { c.forget() }) })
}

// later does something to a connection that was not resumed meanwhile.
func (c *connection) later(do func(*connection)) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.out == nil && !c.server.closed {
		do(c)
	}
}

// forget ends a connection for good. Called with mu held.
func (c *connection) forget() {
	c.cut()
	for _, t := range []*time.Timer{c.leaving, c.ending, c.expiry} {
		stopTimer(t)
	}
	if !c.server.closed {
		c.server.leaveAll(c)
	}
	for name := range c.attached {
		delete(c.server.channelOf(name).attached, c)
	}
	delete(c.server.connections, c.id)
}

// cut ends the transport at once. Called with mu held.
func (c *connection) cut() {
	if c.out != nil {
		_ = c.out.conn.Close()
		c.finish()
	}
}

// finish ends the transport once what is queued has been written, and takes
// the connection off its channels: resuming attaches it anew. Called with mu
// held.
func (c *connection) finish() {
	if c.out == nil {
		return
	}
	close(c.out.done)
	c.out = nil
	for name := range c.attached {
		delete(c.server.channelOf(name).attached, c)
	}
	clear(c.attached)
}

// send queues a frame. A client that does not read is cut. Called with mu held.
func (c *connection) send(f frame) {
	if c.out == nil {
		return
	}
	f.Messages, f.Presence = allIn(c.format, f.Messages), allIn(c.format, f.Presence)
	select {
	case c.out.queue <- f:
	default:
		c.cut()
	}
}

func (c *connection) sendPublish(ch *channel, p publish) {
	if p.connectionID == c.id && !c.echo {
		return
	}
	c.send(frame{
		Action: actionMessage, Channel: ch.name, ChannelSerial: ch.serialText(p.serial), ID: p.id, ConnectionID: p.connectionID,
		Timestamp: p.at.UnixMilli(), Messages: p.messages,
	})
}

func (t *transport) write(f format, m frame) bool {
	raw, err := f.marshal(m)
	if err != nil {
		return false
	}
	kind := websocket.TextMessage
	if f == formatMsgpack {
		kind = websocket.BinaryMessage
	}
	_ = t.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // a write tells
	return t.conn.WriteMessage(kind, raw) == nil
}

// writeAll writes what is queued, and heartbeats, until the transport ends.
func (t *transport) writeAll(f format) {
	defer func() { _ = t.conn.Close() }()
	ticker := time.NewTicker(maxIdle * 2 / 3)
	defer ticker.Stop()
	for {
		ok := true
		select {
		case m := <-t.queue:
			ok = t.write(f, m)
		case <-ticker.C:
			ok = t.write(f, frame{Action: actionHeartbeat})
		case <-t.done:
			for len(t.queue) > 0 && t.write(f, <-t.queue) {
				continue
			}
			return
		}
		if !ok {
			return
		}
	}
}

func (c *connection) read(t *transport) {
	t.conn.SetReadLimit(maxFrameSize)
	for {
		kind, raw, err := t.conn.ReadMessage()
		if err != nil {
			return
		}
		var f frame
		decode := formatJSON
		if kind == websocket.BinaryMessage {
			decode = formatMsgpack
		}
		if err := decode.unmarshal(raw, &f); err != nil {
			f = frame{Action: -1}
		}
		if !c.handle(t, f) {
			return
		}
	}
}

// handle handles a client's frame. It returns false at the end.
func (c *connection) handle(t *transport, f frame) bool {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.out != t {
		return false
	}
	switch f.Action {
	case actionHeartbeat:
		c.send(frame{Action: actionHeartbeat, ID: f.ID})
	case actionAttach:
		c.attach(f)
	case actionDetach:
		delete(c.attached, f.Channel)
		delete(s.channelOf(f.Channel).attached, c)
		c.send(frame{Action: actionDetached, Channel: f.Channel})
	case actionMessage:
		c.answer(f, func() error {
			return s.accept(f.Channel, c.who, c, fmt.Sprintf("%s:%d", c.id, f.MsgSerial), f.Messages)
		})
	case actionPresence:
		c.answer(f, func() error { return s.acceptPresence(c, f) })
	case actionAuth:
		c.reauthorise(f)
	case actionClose:
		c.send(frame{Action: actionClosed})
		c.finish()
		c.forget()
		return false
	default:
		c.send(frame{Action: actionError, Error: errorf(40000, 400, "unknown or malformed protocol message")})
		c.finish()
		return false
	}
	return true
}

// maxRefused bounds the memory of refused frames.
const maxRefused = 1000

// answer acknowledges a frame or refuses it. One that was handled before the
// connection was resumed gets the answer that it got then. Called with mu held.
func (c *connection) answer(f frame, handle func() error) {
	err := c.refused[f.MsgSerial]
	if f.MsgSerial > c.last {
		err = handle()
		c.last = f.MsgSerial
	}
	if err != nil {
		if len(c.refused) >= maxRefused {
			clear(c.refused)
		}
		c.refused[f.MsgSerial] = err
	}
	reply := frame{Action: actionAck, MsgSerial: f.MsgSerial, Count: 1}
	if err != nil {
		reply.Action, reply.Error = actionNack, asError(err)
	}
	c.send(reply)
}

// attach is ATTACH. Called with mu held.
func (c *connection) attach(f frame) {
	s := c.server
	err := validName(f.Channel)
	if err == nil {
		err = s.may(c.who, f.Channel, "subscribe")
	}
	if err == nil && !c.attached[f.Channel] && len(c.attached) >= s.options.ChannelsPerConnection {
		err = errorf(90010, 400, "maximum number of channels per connection exceeded")
	}
	if err != nil {
		c.send(frame{Action: actionError, Channel: f.Channel, Error: asError(err)})
		return
	}
	ch := s.channelOf(f.Channel)
	modes := f.Flags & flagAllModes
	if modes == 0 {
		modes = flagAllModes
	}
	c.attached[f.Channel], ch.attached[c] = true, modes
	reply := frame{
		Action: actionAttached, Channel: f.Channel, ChannelSerial: ch.serialText(ch.next - 1), Flags: modes, Params: f.Params,
	}
	var missed []publish
	if f.ChannelSerial != "" && !s.failResume {
		var ok bool
		if missed, ok = ch.since(f.ChannelSerial); ok {
			reply.Flags |= flagResumed
			reply.ChannelSerial = f.ChannelSerial
		}
	}
	if len(ch.members) > 0 {
		reply.Flags |= flagHasPresence
	}
	c.send(reply)
	for _, p := range missed {
		c.sendPublish(ch, p)
	}
	if len(ch.members) > 0 {
		c.send(frame{Action: actionSync, Channel: f.Channel, ChannelSerial: randomID(4) + ":", Presence: ch.presentNow()})
	}
}

// reauthorise is AUTH: a new token for a living connection. Called with mu
// held, which unsealing needs.
func (c *connection) reauthorise(f frame) {
	if f.Auth == nil {
		return
	}
	t := c.out
	c.server.mu.Unlock()
	who, err := c.server.unseal(f.Auth.AccessToken)
	c.server.mu.Lock()
	if c.out != t {
		return
	}
	if err != nil {
		c.send(frame{Action: actionError, Error: asError(err)})
		c.finish()
		return
	}
	c.who = who
	c.watchExpiry()
	c.send(c.connected(nil))
}
