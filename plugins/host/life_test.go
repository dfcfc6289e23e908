package host_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
)

func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(raw), ") Z ")
}

func TestPluginEndsWithItsHost(t *testing.T) {
	// This test binary, run as "BINARY host", is a host that prints its
	// plugin's process id and is then killed.
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "host")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var pid int
	if _, err := fmt.Fscan(stdout, &pid); err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatalf("the plugin %d does not run", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	deadline := time.Now().Add(plugins.LeaseExpiry + 2*time.Second)
	for alive(pid) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("the plugin %d outlived its host", pid)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// runHost is the host of TestPluginEndsWithItsHost.
func runHost() error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	h, err := host.New(host.Settings{
		Bindings: []host.Binding{{App: "app", Backend: backend("echo", nil)}}, Executable: executable, Builtins: []string{"echo"},
		Out: &records{}, Log: zerolog.Nop(),
	})
	if err != nil {
		return err
	}
	go func() {
		for h.Status()[0].PID == 0 {
			time.Sleep(time.Millisecond)
		}
		fmt.Println(h.Status()[0].PID)
	}()
	return h.Run(context.Background())
}

func TestLaunch(t *testing.T) {
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	launch := func(t *testing.T, ctx context.Context, environment ...string) *host.Process {
		t.Helper()
		p, err := host.Launch(ctx, host.Command{
			Path: executable, Args: []string{"plugin", "serve", "echo"}, Environment: environment, Log: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Stop)
		return p
	}

	t.Run("nothing of the environment passes but what is named", func(t *testing.T) {
		t.Setenv("OFFRAMP_TEST_HIDDEN", "1")
		t.Setenv("OFFRAMP_TEST_NAMED", "2")
		p := launch(t, context.Background(), "OFFRAMP_TEST_NAMED")
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID()))
		if err != nil {
			t.Fatal(err)
		}
		env := string(raw)
		if strings.Contains(env, "OFFRAMP_TEST_HIDDEN") || !strings.Contains(env, "OFFRAMP_TEST_NAMED=2") {
			t.Errorf("environment of the plugin: %q", strings.Split(env, "\x00"))
		}
	})

	t.Run("a plugin whose lease ends goes, though nobody kills it", func(t *testing.T) {
		p := launch(t, context.Background())
		ctx, cancel := context.WithCancel(context.Background())
		lease, err := p.Client.Lease(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lease.Beat(); err != nil {
			t.Fatal(err)
		}
		cancel()
		select {
		case <-p.Done():
		case <-time.After(plugins.LeaseExpiry + 5*time.Second):
			t.Error("the plugin is still there")
		}
	})

	t.Run("a plugin told to end by a signal does", func(t *testing.T) {
		p := launch(t, context.Background())
		if err := syscall.Kill(p.PID(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Done():
		case <-time.After(8 * time.Second):
			t.Error("the plugin is still there")
		}
	})

	t.Run("an executable that is no plugin is told as such", func(t *testing.T) {
		_, err := host.Launch(context.Background(), host.Command{Path: "/bin/echo", Args: []string{"hello"}, Log: zerolog.Nop()})
		if err == nil || !strings.Contains(err.Error(), "start plugin: it said: hello") {
			t.Errorf("Launch: %v", err)
		}
	})

	t.Run("a start that is called off ends the process", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := host.Launch(ctx, host.Command{Path: "/bin/sleep", Args: []string{"60"}, Log: zerolog.Nop()})
		if err == nil || time.Since(begin) > 10*time.Second {
			t.Errorf("Launch: %v after %s", err, time.Since(begin))
		}
	})
}

func TestFrozenPluginIsReplaced(t *testing.T) {
	found := &records{}
	h, _ := start(t, settingsFor(t, found, backend("echo", nil)))
	waitFor(t, "the plugin", func() bool { return h.Status()[0].State == host.StateRunning })
	first := h.Status()[0].PID
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var p publisher
	r := p.publish("room", "message", "")
	began := time.Now()
	if !h.Offer(r) {
		t.Error("the event was dropped")
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("Offer took %s while the plugin was frozen", took)
	}
	waitFor(t, "another process", func() bool {
		s := h.Status()[0]
		return s.State == host.StateRunning && s.PID != first
	})
	waitFor(t, "the event's answer", func() bool { return answered(found)[r.Event.ID] })
	if alive(first) {
		t.Errorf("the frozen process %s is still there", strconv.Itoa(first))
	}
	if !covered(found.of(proxy.KindGap), r.Event) {
		t.Error("the event lies in no gap")
	}
}
