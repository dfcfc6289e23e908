package host

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestPluginsYieldToClients: what a plugin can take of a processor that others
// want, too, is bounded by its priority.
func TestPluginsYieldToClients(t *testing.T) {
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = processAttributes()
	r, err := newProcessRunner(cmd, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := syscall.Getpriority(syscall.PRIO_PROCESS, cmd.Process.Pid)
	if err != nil {
		t.Error(err)
	}
	r.kill()
	_ = r.Wait(t.Context()) // it was killed
	if got >= own && own > 20-yielding {
		t.Errorf("the plugin has priority %d, and the gateway %d", got, own) // the system call's scale: 20 less the nice value
	}
	if after, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err != nil || after != own {
		t.Errorf("the gateway's own priority was %d and is %d (%v)", own, after, err)
	}
}

// TestPluginsTakeNobodyAlong: the kernel ends a process with the thread that
// has started it, so that thread must not end with a plugin.
func TestPluginsTakeNobodyAlong(t *testing.T) {
	ended := make(chan error, 16)
	for range cap(ended) {
		other := exec.Command("sleep", "60")
		other.SysProcAttr = processAttributes()
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- other.Wait() }()
		defer killProcess(other.Process)
	}
	for range 32 {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = processAttributes()
		r, err := newProcessRunner(cmd, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.kill()
		_ = r.Wait(t.Context()) // it was killed
	}
	select {
	case err := <-ended:
		t.Errorf("another process ended with a plugin: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
}
