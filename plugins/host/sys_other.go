//go:build !linux

package host

import (
	"os"
	"syscall"
)

// processAttributes asks for nothing: the lease ends a plugin whose gateway
// has died.
func processAttributes() *syscall.SysProcAttr { return nil }

// yield does nothing: elsewhere priorities are those of whole processes.
func yield(*os.Process) {}

func killProcess(p *os.Process) { _ = p.Kill() }
