package websocket

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// poller watches the connections that rest. It is an epoll instance of its
// own, which the runtime's watches in turn, so that no thread blocks in it.
//
// Every watch is for one event. When that has come the connection has a
// goroutine, until it rests again.
type poller struct {
	epoll  int      // owned by file
	file   *os.File // closes epoll when the last connection has let go of the poller
	events [256]unix.EpollEvent

	mu    sync.Mutex
	conns []*conn // by descriptor
}

// watched are the events that end a rest.
const watched = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll instance: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else the runtime would not watch it
		return nil, errors.Join(fmt.Errorf("watch the epoll instance: %w", err), unix.Close(fd))
	}
	return &poller{epoll: fd, file: os.NewFile(uintptr(fd), "epoll")}, nil
}

// run wakes connections until ctx ends, and then all of them.
func (p *poller) run(ctx context.Context) error {
	defer p.wakeAll()
	defer context.AfterFunc(ctx, func() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) })()
	raw, err := p.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	for {
		n, failed := 0, error(nil)
		err := raw.Read(func(uintptr) bool {
			n, failed = unix.EpollWait(p.epoll, p.events[:], 0)
			return n != 0
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("watch connections: %w", err)
		case failed != nil && !errors.Is(failed, unix.EINTR):
			return fmt.Errorf("watch connections: %w", failed)
		}
		p.wake(n)
	}
}

// wake wakes the connections of the first n events. An event may have been
// meant for one that is closed and whose descriptor another now has: that one
// is woken for nothing, and waits in its goroutine this time.
func (p *poller) wake(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range n {
		if fd := int(p.events[i].Fd); fd < len(p.conns) && p.conns[fd] != nil {
			p.conns[fd].wake()
		}
	}
}

func (p *poller) wakeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if c != nil {
			c.wake()
		}
	}
}

// add lists a connection, for watch. fd must be open and c's, as in
// Outbox.Control: listing it for a number that another connection has by now
// would take that one's events away.
func (p *poller) add(c *conn, fd int) error {
	p.mu.Lock()
	if missing := fd + 1 - len(p.conns); missing > 0 {
		p.conns = append(p.conns, make([]*conn, missing)...)
	}
	p.conns[fd] = c
	p.mu.Unlock()
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: int32(fd)})
}

// watch waits for the next event of a listed connection, or one that is there
// already. fd must be open and that connection's.
func (p *poller) watch(fd int) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: watched, Fd: int32(fd)})
}

// forget takes a connection off the list.
func (p *poller) forget(c *conn, fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd < len(p.conns) && p.conns[fd] == c {
		p.conns[fd] = nil
	}
}
