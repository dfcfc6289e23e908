package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBuffer  = 256 << 10 // bytes; one read takes whatever a socket holds
	eventsAPoll = 512
	// spinBelow is how close the next appointment must be for a blocking loop
	// to poll without sleeping: epoll counts whole milliseconds.
	spinBelow = 2 * time.Millisecond
	// longestSleep bounds how late a blocking loop notices a cancelled context.
	longestSleep = 50 * time.Millisecond
)

// A source owns one descriptor that the loop watches.
type source interface {
	readable()
	writable()
}

// loop is a single-threaded epoll loop. Nothing of it may be touched by a
// second goroutine.
type loop struct {
	epfd    int
	spin    bool // never sleep; for a generator that has a CPU to itself
	sources []source
	events  []unix.EpollEvent
	buf     []byte // shared by all reads; valid until the next one
	began   time.Time
	now     int64 // nanoseconds since began, taken once a poll
	polls   uint64
	reads   uint64
}

func newLoop(spin bool) (*loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &loop{
		epfd:   epfd,
		spin:   spin,
		events: make([]unix.EpollEvent, eventsAPoll),
		buf:    make([]byte, readBuffer),
		began:  time.Now(),
	}, nil
}

func (l *loop) close() { unix.Close(l.epfd) }

// clock returns the nanoseconds since the loop began.
func (l *loop) clock() int64 { return int64(time.Since(l.began)) }

func (l *loop) add(fd int, s source, events uint32) error {
	for fd >= len(l.sources) {
		l.sources = append(l.sources, make([]source, 1+len(l.sources))...)
	}
	l.sources[fd] = s
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
}

func (l *loop) modify(fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return unix.EpollCtl(l.epfd, unix.EPOLL_CTL_MOD, fd, &ev)
}

// drop forgets a descriptor that is about to be closed.
func (l *loop) drop(fd int) { l.sources[fd] = nil }

// A step runs after every poll. It says whether the loop's purpose is
// reached and, if not, at which clock it wants to run again at the latest
// (0: whenever something arrives).
type step func() (done bool, wake int64)

var errDeadline = errors.New("bench: not finished in time")

// run polls until step is done, the context ends, or limit has passed, which
// is errDeadline.
func (l *loop) run(ctx context.Context, limit time.Duration, next step) error {
	deadline := l.clock() + int64(limit)
	for turn := 0; ; turn++ {
		l.now = l.clock()
		done, wake := next()
		if done {
			return nil
		}
		if l.now >= deadline {
			return errDeadline
		}
		if turn&63 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if wake == 0 || wake > deadline {
			wake = deadline
		}
		if err := l.poll(time.Duration(wake - l.now)); err != nil {
			return err
		}
	}
}

func (l *loop) poll(sleep time.Duration) error {
	timeout := 0
	if !l.spin && sleep >= spinBelow {
		timeout = int((min(sleep, longestSleep) - time.Millisecond) / time.Millisecond)
	}
	n, err := unix.EpollWait(l.epfd, l.events, timeout)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait on epoll: %w", err)
	}
	l.polls++
	if n > 0 {
		l.now = l.clock()
	}
	for _, ev := range l.events[:n] {
		s := l.sources[ev.Fd]
		if s != nil && ev.Events&unix.EPOLLOUT != 0 {
			s.writable()
		}
		// The source may have closed, and its number been given to a new
		// socket, which is then merely found to hold nothing.
		if s == l.sources[ev.Fd] && s != nil && ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			s.readable()
		}
	}
	return nil
}
