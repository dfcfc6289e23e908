package bench

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// socket is a non-blocking TCP connection on a loop. What the kernel does
// not take at once waits in out, without a bound: a generator that dropped
// its own requests would measure nothing.
type socket struct {
	loop      *loop
	owner     source
	fd        int // -1: closed
	connected bool
	out       []byte
}

// resolve turns host:port into the address form that connect takes.
func resolve(addr string) (unix.Sockaddr, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", addr, err)
	}
	if ip := tcp.IP.To4(); ip != nil {
		return &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(ip)}, nil
	}
	return &unix.SockaddrInet6{Port: tcp.Port, Addr: [16]byte(tcp.IP.To16())}, nil
}

func (s *socket) dial(l *loop, owner source, to unix.Sockaddr) error {
	family := unix.AF_INET
	if _, six := to.(*unix.SockaddrInet6); six {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return fmt.Errorf("set TCP_NODELAY: %w", err)
	}
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return fmt.Errorf("connect: %w", err)
	}
	*s = socket{loop: l, owner: owner, fd: fd, out: s.out[:0]}
	if err := l.add(fd, owner, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
		unix.Close(fd)
		s.fd = -1
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

// flush is called when the kernel would take more; the first call means that
// the connection stands or has failed.
func (s *socket) flush() error {
	if !s.connected {
		code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return err
		}
		if code != 0 {
			return unix.Errno(code)
		}
		s.connected = true
	}
	for len(s.out) > 0 {
		n, err := unix.Write(s.fd, s.out)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return err
		}
		s.out = s.out[:copy(s.out, s.out[n:])]
	}
	return s.loop.modify(s.fd, unix.EPOLLIN)
}

// send writes b, or keeps a copy of what could not be written yet.
func (s *socket) send(b []byte) error {
	if s.connected && len(s.out) == 0 {
		n, err := unix.Write(s.fd, b)
		if err != nil && err != unix.EAGAIN {
			return err
		}
		b = b[max(n, 0):]
		if len(b) == 0 {
			return nil
		}
		if err := s.loop.modify(s.fd, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
			return err
		}
	}
	s.out = append(s.out, b...)
	return nil
}

// read returns what the socket holds, in the loop's buffer behind the bytes
// of rest, which the caller kept from before. Nothing new is not an error;
// the end of the stream is errClosed.
func (s *socket) read(rest []byte) ([]byte, error) {
	kept := copy(s.loop.buf, rest)
	n, err := unix.Read(s.fd, s.loop.buf[kept:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return s.loop.buf[:kept], nil
	case err != nil:
		return nil, err
	case n == 0:
		return nil, errClosed
	}
	s.loop.reads++
	return s.loop.buf[:kept+n], nil
}

// close ends the connection in the ordinary way.
func (s *socket) close() {
	if s.fd < 0 {
		return
	}
	s.loop.drop(s.fd)
	unix.Close(s.fd)
	s.fd = -1
}

// crash ends the connection as a dying client does: with a reset.
func (s *socket) crash() {
	if s.fd >= 0 {
		// Refused only by a socket that is no more, which close finds too.
		_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	s.close()
}

// pause stops reading: the peer's writes run into a full window.
func (s *socket) pause() error { return s.loop.modify(s.fd, 0) }

func (s *socket) resume() error { return s.loop.modify(s.fd, unix.EPOLLIN) }
