//go:build linux && (amd64 || arm64)

package fanout

import (
	"syscall"
	"unsafe"
)

const canWriteDirect = true

// writeDirect makes one attempt to send p and returns how much the kernel
// took; what it has no room for is not an error.
//
// It is a raw system call: with MSG_DONTWAIT it never sleeps, so the scheduler
// need not be told, and the poller's locks and deadline checks in net.Conn,
// which cost as much as the rest of user space together, are not needed under
// Outbox.mu. MSG_NOSIGNAL spares a signal where the peer is gone.
func writeDirect(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	switch {
	case errno == 0:
		return int(n), nil
	case refused(errno):
		return 0, nil
	default:
		return 0, errno
	}
}
