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

// yielding is the nice value of plugins: where processors are short, clients are
// served first, and a plugin that takes all it can get is given a quarter of
// one.
const yielding = 5

// yield gives a plugin that has just been started, with all its threads, the
// priority of plugins. Where that is not allowed, it has the gateway's.
func yield(p *os.Process) { _ = syscall.Setpriority(syscall.PRIO_PGRP, p.Pid, yielding) }

// killProcess kills a plugin and whatever it has started.
func killProcess(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}
