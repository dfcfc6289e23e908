package bench

import (
	"bytes"
	"fmt"
)

type clientState int

const (
	dialing clientState = iota
	upgrading
	greeting // the socket is a WebSocket; the server's greeting is due
	open     // greeted; subscriptions may be under way
	closed
)

// client is one subscriber: a WebSocket connection with its subscriptions.
type client struct {
	socket
	fleet    *fleet
	index    int // receiver number in the ledger
	state    clientState
	id       string // socket ID
	channels []string
	user     string // for presence channels
	awaited  int    // subscriptions not confirmed yet
	members  int    // of its presence channel, as far as it was told
	paused   bool   // stopped reading on purpose; the server may close it
	rest     []byte // of a frame that has not come in whole
}

func (c *client) connect() error {
	c.state, c.awaited, c.members, c.rest = dialing, 0, 0, nil
	if err := c.dial(c.fleet.loop, c, c.fleet.to); err != nil {
		c.state = closed
		return err
	}
	c.out = fmt.Appendf(c.out, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
		c.fleet.dialect.upgradePath(), c.fleet.host)
	return nil
}

func (c *client) writable() {
	if err := c.flush(); err != nil {
		c.lose(err)
		return
	}
	if c.state == dialing {
		c.state = upgrading
		c.out = nil // back to the heap: thousands of clients never write again
	}
}

func (c *client) readable() {
	b, err := c.read(c.rest)
	if err != nil {
		c.lose(err)
		return
	}
	if c.state == upgrading {
		if b = c.upgraded(b); b == nil {
			return
		}
	}
	for len(b) > 0 {
		opcode, payload, size, err := nextFrame(b)
		if err != nil {
			c.lose(err)
			return
		}
		if size == 0 {
			break
		}
		b = b[size:]
		c.frame(opcode, payload)
		if c.state == closed {
			return
		}
	}
	c.keep(b)
}

// keep remembers the start of a frame until the rest of it arrives.
func (c *client) keep(b []byte) {
	if len(b) == 0 && cap(c.rest) <= 1<<10 {
		c.rest = c.rest[:0]
		return
	}
	c.rest = append(c.rest[:0:0], b...)
}

// upgraded takes the answer to the handshake off b. It returns nil while
// that is not whole, and when it is a refusal.
func (c *client) upgraded(b []byte) []byte {
	head, rest, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		c.keep(b)
		return nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101")) {
		c.lose(fmt.Errorf("%w: handshake: %.100q", ErrRefused, head))
		return nil
	}
	c.rest = nil
	c.state = greeting
	c.fleet.upgraded++
	if text := c.fleet.dialect.hello(c.fleet.scratch[:0]); len(text) > 0 {
		c.write(opText, text)
	}
	return rest
}

func (c *client) frame(opcode byte, payload []byte) {
	f := c.fleet
	switch opcode {
	case opText:
		f.frames++
		if c.paused {
			return // what it missed is not asked of the server
		}
		if f.ledger != nil && f.ledger.observe(c.index, payload, f.loop.now) > 0 {
			return
		}
		for line := range bytes.SplitSeq(payload, []byte{'\n'}) { // Centrifugo joins replies
			c.control(line)
		}
	case opPing:
		c.write(opPong, payload)
	case opClose:
		code := 0
		if len(payload) >= 2 {
			code = int(payload[0])<<8 | int(payload[1])
		}
		c.lose(fmt.Errorf("%w with code %d", errClosed, code))
	}
}

// control handles the protocol's own messages.
func (c *client) control(text []byte) {
	f := c.fleet
	switch f.dialect.classify(text) {
	case greeted:
		c.id = f.dialect.socketID(text)
		c.state = open
		for _, channel := range c.channels {
			c.subscribe(channel)
		}
		f.settled(c)
	case subscribed:
		c.awaited--
		c.members += f.dialect.members(text)
		f.settled(c)
	case pinged:
		c.write(opText, f.dialect.pong(f.scratch[:0]))
	case joined:
		c.members++
		f.member(c)
	case left:
		c.members--
		f.member(c)
	case refused:
		f.note(fmt.Errorf("%w: %.200s", ErrRefused, text))
	}
}

func (c *client) subscribe(channel string) {
	c.awaited++
	c.write(opText, c.fleet.dialect.subscribe(c.fleet.scratch[:0], channel, c.id, c.user))
}

// write frames text and sends it.
func (c *client) write(opcode byte, text []byte) {
	f := c.fleet
	f.frame = appendFrame(f.frame[:0], opcode, text)
	if err := c.send(f.frame); err != nil {
		c.lose(err)
	}
}

// lose ends a connection that the server or the network broke.
func (c *client) lose(err error) {
	if c.state == closed {
		return
	}
	early := c.state != open || c.awaited > 0
	c.state = closed
	c.close()
	c.fleet.lost(c, early, err)
}

// leave ends the connection in good order: a close frame, then the socket.
func (c *client) leave() {
	c.write(opClose, []byte{0x03, 0xe8})
	if c.state != closed {
		c.state = closed
		c.close()
	}
}

// drop ends the connection as a crash would.
func (c *client) drop() {
	c.state = closed
	c.crash()
}

func (c *client) ready() bool { return c.state == open && c.awaited == 0 }
