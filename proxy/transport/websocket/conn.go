package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
)

// conn is one WebSocket connection: the session's Link, and its reader.
type conn struct {
	// Set before there is a session.
	server  *Server
	raw     net.Conn
	out     *fanout.Outbox
	ws      *websocket.Conn
	reader  *bufio.Reader // gorilla's
	session *session.Session

	resting atomic.Bool

	// Owned by the goroutine that the connection has.
	poller *poller // that it was listed with
	early  []byte  // came right behind the handshake's request
	linger int     // bytes that may still be read past; 0: no bound yet
	code   int     // how the peer says that it ends the connection; 0: it has not
	reason string
}

var (
	_ session.Link   = (*conn)(nil)
	_ fanout.Wrapper = (*conn)(nil)
)

func newConn(s *Server, raw net.Conn) *conn {
	c := &conn{server: s, raw: raw}
	c.out = fanout.NewOutbox(raw, &s.traffic, c.wake)
	return c
}

// attach takes what gorilla made of c.
func (c *conn) attach(ws *websocket.Conn) {
	c.ws = ws
	ws.SetReadLimit(int64(c.server.settings.MaxMessageBytes))
	ws.SetPingHandler(c.onPing)
	ws.SetPongHandler(onPong)
	ws.SetCloseHandler(c.onClose)
}

// open makes a session of the connection and starts its reader.
func (c *conn) open(app *proxy.App, client proxy.Client) {
	ses, err := c.server.settings.Sessions.Open(app, client, c)
	c.session = ses
	c.out.Uncork()
	if err != nil {
		go c.finish()
		return
	}
	if len(c.early) > 0 || !c.rest() {
		c.server.give(c)
	}
}

// refuse tells the client why it is not served.
func (c *conn) refuse(client proxy.Client, err *protocol.Error) {
	session.Refuse(c, client, err)
	c.out.Uncork()
	go c.finish()
}

// Send implements fanout.Outlet.
func (c *conn) Send(b *fanout.Batch, from int) bool { return c.out.Send(b, from) }

// Unwrap implements fanout.Wrapper.
func (c *conn) Unwrap() fanout.Outlet { return c.out }

// Close implements session.Link.
func (c *conn) Close(code int, reason string) { c.out.Close(code, reason) }

// Ping implements session.Link.
func (c *conn) Ping() { c.out.Ping() }

// Abort implements session.Link.
func (c *conn) Abort() { c.out.Shut() }

// step reads one message, or one ping or pong, and passes messages to the
// session. It reports false when the connection is to be finished: either side
// has sent a close frame, the peer has broken the protocol, or it is gone.
func (c *conn) step() bool {
	if _, closing := c.out.Sent(); closing {
		return false
	}
	if c.control() {
		return true
	}
	kind, r, err := c.ws.NextReader()
	if err == nil {
		err = c.message(kind, r)
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		c.out.Close(protocol.CloseTooBig, "") // gorilla says it itself but for absurd lengths
	}
	return err == nil
}

// control handles a ping or a pong between two messages, and reports whether
// one was next. gorilla would do it too, but then wait for a message.
func (c *conn) control() bool {
	head, err := c.reader.Peek(2)
	if err != nil || (head[0] != pingOpcode && head[0] != pongOpcode) {
		return false
	}
	const masked, maskSize = 0x80, 4
	size := int(head[1] &^ masked)
	if head[1]&masked == 0 || size > maxControl {
		return false // gorilla knows what to say to that
	}
	whole, err := c.reader.Peek(2 + maskSize + size)
	if err != nil {
		return false
	}
	if head[0] == pingOpcode {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = whole[2+maskSize+i] ^ whole[2+i%maskSize]
		}
		c.out.Pong(payload)
	}
	_, _ = c.reader.Discard(len(whole))
	return true
}

// message handles one message. Binary ones mean nothing in this protocol.
func (c *conn) message(kind int, r io.Reader) error {
	if kind != websocket.TextMessage {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	buf := c.server.scratch.buffer()
	defer c.server.scratch.release(buf)
	if _, err := buf.ReadFrom(r); err != nil {
		return err
	}
	if !utf8.Valid(buf.Bytes()) {
		c.out.Close(protocol.CloseBadData, errNotUTF8.Error())
		return errNotUTF8
	}
	c.session.Handle(buf.Bytes())
	return nil
}

var errNotUTF8 = errors.New("text is not UTF-8")

// end tells the session how the connection ended.
func (c *conn) end() {
	code, reason := c.code, c.reason
	if sent, ok := c.out.Sent(); ok && code == 0 {
		code, reason = sent, ""
	}
	c.session.End(code, reason)
}

// finish closes the connection. A peer that was sent a close frame and has not
// answered yet is read past first: closing with unread input would make the
// kernel throw away the frame on its way.
func (c *conn) finish() {
	if _, closing := c.out.Sent(); closing && c.code == 0 {
		c.await()
	}
	if c.poller != nil {
		c.poller.forget(c, c.out.Descriptor())
	}
	c.out.Shut()
}

// maxLinger bounds what is read past.
const maxLinger = 1 << 20

// await reads until the peer answers the close frame or closes, or until the
// deadline that the Outbox set. After a violation of the protocol frames can
// no longer be told apart: the peer sees the end of the output at once, and
// any input is read past.
func (c *conn) await() {
	c.linger = maxLinger
	for {
		_, _, err := c.ws.NextReader()
		var closed *websocket.CloseError
		switch {
		case err == nil:
		case errors.As(err, &closed) || errors.Is(err, io.EOF):
			return
		default:
			c.out.EndOutput()
			_, _ = io.Copy(io.Discard, (*wire)(c))
			return
		}
	}
}

func (c *conn) onPing(payload string) error {
	c.out.Pong([]byte(payload))
	return nil
}

func onPong(string) error { return nil } // having read it is enough

func (c *conn) onClose(code int, reason string) error {
	c.code, c.reason = code, reason
	if code == websocket.CloseNoStatusReceived {
		code = 0
	}
	c.out.Close(code, "")
	return nil
}

func (s scratch) buffer() *bytes.Buffer { return s.buffers.Get().(*bytes.Buffer) }

func (s scratch) release(b *bytes.Buffer) {
	const keep = 16 << 10
	if b.Cap() <= keep {
		b.Reset()
		s.buffers.Put(b)
	}
}
