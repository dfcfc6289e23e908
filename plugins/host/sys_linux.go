package host

import (
	"os"
	"syscall"
)

// processAttributes puts a plugin into a process group of its own, so that a
// terminal's interrupt reaches only the gateway, and makes the kernel end it
// when the gateway dies.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// killProcess kills a plugin and whatever it has started.
func killProcess(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}
