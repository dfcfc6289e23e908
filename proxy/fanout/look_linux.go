package fanout

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// look makes the runtime look for network input.
//
// A goroutine that merely yields runs again before that: with one processor
// the scheduler looks at the network only when nothing is ready. A flusher
// would so always miss the requests that arrived while it was writing, and
// send them a turn later. Waiting for a descriptor of its own leaves nothing
// ready, so the scheduler looks, and finds all who have input with it. That
// costs about a microsecond, and no time: the descriptor is readable already.
type look struct {
	file    *os.File
	raw     syscall.RawConn
	one     [8]byte // what is written: the number 1
	written bool
	attempt func(fd uintptr) bool // l.signal, made once
}

// newLook returns nil where it cannot be done; a nil look does nothing.
func newLook() *look {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), "eventfd")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil
	}
	l := &look{file: file, raw: raw, one: [8]byte{1}}
	l.attempt = l.signal
	return l
}

// around returns when the runtime has looked.
func (l *look) around() {
	if l == nil {
		return
	}
	l.written = false
	// A look that failed is no failure: what was missed comes a turn later.
	_ = l.raw.Read(l.attempt)
}

// signal is asked whether the descriptor has been read. It makes it readable
// and says no, so that the runtime looks; then it is asked again. Every write
// is an event of its own to the runtime, so nothing is ever read: the counter
// has 64 bits.
func (l *look) signal(fd uintptr) bool {
	if l.written {
		return true
	}
	l.written = true
	_, err := unix.Write(int(fd), l.one[:])
	return err != nil
}

func (l *look) close() {
	if l != nil {
		_ = l.file.Close()
	}
}
