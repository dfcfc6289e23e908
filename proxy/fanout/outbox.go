package fanout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy/protocol"
)

// Bounds of an Outbox. What is queued is shared with other connections; the
// bounds are on what one connection may keep alive.
const (
	MaxQueuedBytes  = 1 << 20
	MaxQueuedWrites = 1000 // batches and control frames
	// WriteTimeout is the patience with a peer that takes nothing at all.
	WriteTimeout = 10 * time.Second
	// CloseTimeout is the patience with a peer that was sent a close frame.
	CloseTimeout = 5 * time.Second

	lingerTimeout   = time.Second
	maxWriteBytes   = 64 << 10 // what the writer sends under one deadline
	maxControlBytes = 125      // RFC 6455, section 5.5
)

// Frame headers of the control frames.
const (
	finalClose = 0x88
	finalPing  = 0x89
	finalPong  = 0x8a
)

// Traffic counts what the outboxes of a server do.
type Traffic struct {
	Bytes atomic.Uint64 // handed to the kernel
	Slow  atomic.Uint64 // connections that were closed because they read too slowly
}

// Outbox is the outgoing side of one WebSocket connection: every byte the
// connection sends goes through it, and it alone closes the connection. It
// implements Outlet. It is safe for concurrent use and no method blocks.
//
// On a plain socket a write goes straight to the kernel, in the goroutine of the
// caller. Only what the kernel refuses is queued, by reference, and a writer
// goroutine exists until the queue is empty. On any other connection the
// writer does it all.
//
// Invariants:
//
//   - mu is held from the decision to write to the end of a direct write, so
//     writes have one order, and a frame is never put inside another.
//   - While a writer exists only the writer writes; all others queue.
//   - The descriptor is used only under mu and never once state is shut. The
//     connection is closed only under mu with state shut, so the number cannot
//     have been given to another file.
//   - After a close frame nothing is sent. After a failed write neither.
//   - What a peer sees is a prefix of the frames that were accepted, whole and
//     in order, but for those an overflow dropped just before its close frame.
type Outbox struct {
	// Set at construction.
	conn    net.Conn
	traffic *Traffic
	ended   func()
	fd      int // for direct writes; negative: there are none

	mu      sync.Mutex
	state   state
	writing bool   // a writer goroutine exists
	corked  bool   // nothing is written until Uncork
	code    uint16 // of the close frame that was sent; 0: none
	queue   *queue // nil: nothing waits
}

// state of an outbox. It only ever grows.
type state uint8

const (
	open    state = iota
	closing       // a close frame was the last thing accepted
	shut          // the connection is closed
)

// queue is what waits for the writer.
type queue struct {
	writes [][]byte // shared, immutable
	bytes  int      // of writes, and of what the writer is busy with
}

var _ Outlet = (*Outbox)(nil)

// NewOutbox returns the outgoing side of conn. It starts corked: what is
// written before the first Uncork, such as the handshake and the greeting,
// goes out as one write. traffic is shared by all outboxes of a server. ended
// is called when the outbox begins to close and when it has shut, whatever the
// cause; it must neither block nor call back.
func NewOutbox(conn net.Conn, traffic *Traffic, ended func()) *Outbox {
	return &Outbox{conn: conn, traffic: traffic, ended: ended, fd: descriptor(conn), corked: true}
}

// Descriptor returns the number of the connection's descriptor where writes
// are direct, and a negative one elsewhere. It may be closed at any time, and
// another connection's then: to use it, see Control.
func (o *Outbox) Descriptor() int { return o.fd }

// Control calls f with the descriptor, which is this connection's and open
// while f runs, and returns f's error. f must not block nor call the Outbox.
// It is not called on a connection that is shut (net.ErrClosed) or has no
// direct writes (errors.ErrUnsupported).
func (o *Outbox) Control(f func(fd int) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.fd < 0:
		return errors.ErrUnsupported
	case o.state == shut:
		return net.ErrClosed
	}
	return f(o.fd)
}

// Uncork writes what was held back since the outbox was made.
func (o *Outbox) Uncork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.corked {
		return
	}
	o.corked = false
	if q := o.queue; q != nil && o.state != shut {
		o.queue = nil
		o.push(bytes.Join(q.writes, nil))
	}
}

// Send implements Outlet.
func (o *Outbox) Send(b *Batch, from int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == open && o.push(b.Wire(from))
}

// Write sends bytes that are not a frame: the handshake's answer. It
// implements io.Writer; p may be reused when it returns.
func (o *Outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != open || !o.push(bytes.Clone(p)) {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// Ping sends a ping control frame without payload.
func (o *Outbox) Ping() { o.control(finalPing, nil) }

// Pong sends a pong control frame. payload has at most 125 bytes.
func (o *Outbox) Pong(payload []byte) { o.control(finalPong, payload) }

func (o *Outbox) control(header byte, payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == open {
		o.push(controlFrame(header, payload))
	}
}

// Close sends a close frame after all that was accepted before, and gives the
// peer CloseTimeout to answer it: then reading from the connection fails. The
// connection's reader calls Shut when it has seen the answer or the failure.
// Only the first call has an effect. Code 0 sends a frame without a code.
func (o *Outbox) Close(code int, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == open {
		o.beginClose(code, reason)
	}
}

// EndOutput lets the peer see the end of the output behind the close frame,
// where that can be done without waiting. Input can still be read, for a
// second: a peer that broke the protocol is not waited for longer.
func (o *Outbox) EndOutput() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != closing {
		return
	}
	o.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	if socket, ok := o.conn.(stream); ok && o.queue == nil {
		_ = socket.CloseWrite() // if it fails the connection is gone anyway
	}
}

// Shut closes the connection at once. Bytes that the kernel has taken are
// still delivered.
func (o *Outbox) Shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut()
}

// Sent returns the code of the close frame that was sent, and whether one was.
func (o *Outbox) Sent() (code int, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(o.code), o.state >= closing
}

// push sends wire, or queues what the kernel refuses, and reports whether it
// was accepted. mu is held. wire must not change any more.
func (o *Outbox) push(wire []byte) bool {
	if o.queue == nil && o.fd >= 0 && !o.corked {
		n, err := writeDirect(o.fd, wire)
		o.traffic.Bytes.Add(uint64(n))
		if err != nil {
			o.shut() // the peer is gone
			return false
		}
		if n == len(wire) {
			return true
		}
		wire = wire[n:]
	}
	return o.enqueue(wire)
}

func (o *Outbox) enqueue(wire []byte) bool {
	if o.queue == nil {
		o.queue = new(queue)
	}
	q := o.queue
	if o.state == open && (len(q.writes) >= MaxQueuedWrites || q.bytes+len(wire) > MaxQueuedBytes && q.bytes > 0) {
		o.overflow()
		return false
	}
	q.writes = append(q.writes, wire)
	q.bytes += len(wire)
	if !o.writing && !o.corked {
		o.writing = true
		go o.drain()
	}
	return true
}

// overflow ends a connection that does not keep up. What waits is dropped but
// for the rest of what was begun, so that the close frame stands on a frame's
// boundary.
func (o *Outbox) overflow() {
	o.traffic.Slow.Add(1)
	q := o.queue
	if len(q.writes) > 1 {
		for _, w := range q.writes[1:] {
			q.bytes -= len(w)
		}
		q.writes = append([][]byte(nil), q.writes[0])
	}
	o.beginClose(protocol.ErrSlow.Code, protocol.ErrSlow.Message)
}

func (o *Outbox) beginClose(code int, reason string) {
	o.state, o.code = closing, uint16(code)
	o.push(closeFrame(code, reason))
	if o.state == closing {
		o.conn.SetReadDeadline(time.Now().Add(CloseTimeout))
		o.ended()
	}
}

func (o *Outbox) shut() {
	if o.state == shut {
		return
	}
	o.state = shut
	o.queue = nil
	defer o.ended()
	if o.fd >= 0 {
		o.conn.Close()
		return
	}
	go o.conn.Close() // TLS says goodbye first, for which it may have to wait
}

// drain is the writer. It ends when the queue is empty or the connection is
// shut, which also ends a write under way.
func (o *Outbox) drain() {
	for {
		next, ok := o.take()
		if !ok {
			return
		}
		size := 0
		for _, w := range next {
			size += len(w)
		}
		o.conn.SetWriteDeadline(time.Now().Add(WriteTimeout))
		_, err := next.WriteTo(o.conn)
		o.written(size, err)
	}
}

// take returns what the writer writes next, or ends the writer.
func (o *Outbox) take() (net.Buffers, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queue
	if o.state == shut || q == nil || len(q.writes) == 0 {
		o.queue, o.writing = nil, false
		return nil, false
	}
	n, size := 0, 0
	for n < len(q.writes) && (n == 0 || size+len(q.writes[n]) <= maxWriteBytes) {
		size += len(q.writes[n])
		n++
	}
	next := append(net.Buffers(nil), q.writes[:n]...)
	q.writes = q.writes[n:]
	return next, true
}

// written accounts for a write of the writer.
func (o *Outbox) written(size int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == shut {
		return
	}
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && o.state == open {
			o.traffic.Slow.Add(1)
			o.code = uint16(protocol.ErrSlow.Code)
		}
		o.shut()
		return
	}
	o.traffic.Bytes.Add(uint64(size))
	o.queue.bytes -= size
}

func controlFrame(header byte, payload []byte) []byte {
	frame := make([]byte, 0, 2+len(payload))
	return append(append(frame, header, byte(len(payload))), payload...)
}

// closeFrame encodes a close frame. A reason that is too long is cut between
// two characters.
func closeFrame(code int, reason string) []byte {
	if code == 0 {
		return []byte{finalClose, 0}
	}
	const maxReason = maxControlBytes - 2
	if len(reason) > maxReason {
		end := maxReason
		for end > 0 && !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	frame := make([]byte, 0, 4+len(reason))
	frame = append(frame, finalClose, byte(2+len(reason)))
	frame = binary.BigEndian.AppendUint16(frame, uint16(code))
	return append(frame, reason...)
}

// descriptor returns the number of a plain stream socket's descriptor, or a
// negative number where direct writes are not possible.
func descriptor(conn net.Conn) int {
	socket, ok := conn.(stream)
	if !ok || !canWriteDirect {
		return -1
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	if err := raw.Control(func(n uintptr) { fd = int(n) }); err != nil {
		return -1
	}
	return fd
}

// stream is what *net.TCPConn and *net.UnixConn have, and TLS has not.
type stream interface {
	syscall.Conn
	CloseWrite() error
}

// refused reports whether the kernel had no room for the bytes.
func refused(errno syscall.Errno) bool { return errno == syscall.EAGAIN || errno == syscall.EINTR }
