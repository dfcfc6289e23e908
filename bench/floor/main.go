// Command floor is the least a program must do to fan events out: one
// thread on epoll, no signatures, no JSON, no limits. The side-by-side table
// holds every server against it. It answers the generator's own requests and
// nothing else; never run it for any other purpose.
//
//	floor -listen 127.0.0.1:7301 -mode write   one write per event and subscriber
//	floor -listen 127.0.0.1:7301 -mode joined  the events of one turn joined, one write per subscriber
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7301", "address to listen on")
	mode := flag.String("mode", "joined", "write or joined")
	flag.Parse()
	if err := serve(*listen, *mode); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func serve(listen, mode string) error {
	if mode != "write" && mode != "joined" {
		return fmt.Errorf("unknown mode %q", mode)
	}
	runtime.LockOSThread()
	debug.SetGCPercent(400)
	s := &server{joined: mode == "joined", channels: map[string]*channel{}, buf: make([]byte, 256<<10)}
	if err := s.listen(listen); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(s.epfd, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait on epoll: %w", err)
		}
		for _, ev := range events[:n] {
			s.event(int(ev.Fd), ev.Events)
		}
		s.flush()
	}
}

func (s *server) listen(addr string) error {
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return fmt.Errorf("resolve %s: %w", addr, err)
	}
	s.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if err := unix.SetsockoptInt(s.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(s.listener, &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}); err != nil {
		return fmt.Errorf("bind %s: %w", addr, err)
	}
	if err := unix.Listen(s.listener, 4096); err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	if s.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("create epoll: %w", err)
	}
	return s.watch(unix.EPOLL_CTL_ADD, s.listener, unix.EPOLLIN)
}
