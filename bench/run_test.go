package bench

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/offramp/offramp/integration/harness"
)

// startFloor builds and runs the floor program and returns it as a target.
func startFloor(t *testing.T, mode string) Target {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "floor")
	if out, err := exec.Command("go", "build", "-o", binary, "./floor").CombinedOutput(); err != nil {
		t.Fatalf("build the floor program: %v\n%s", err, out)
	}
	addr := harness.FreeAddr(t)
	cmd := exec.Command(binary, "-listen", addr, "-mode", mode)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the floor program: %v", err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("end the floor program: %v", err)
		}
		_ = cmd.Wait() // says that it was killed
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the floor program does not listen: %v", err)
		}
	}
	return Target{Name: "floor-" + mode, Dialect: Plain, Addr: addr, AppID: "a", Key: "k", PID: cmd.Process.Pid}
}

// TestRun runs every test that the floor can answer, small, and finds
// everything delivered.
func TestRun(t *testing.T) {
	for _, mode := range []string{"write", "joined"} {
		target := startFloor(t, mode)
		for name, tc := range map[string]struct {
			change func(*Load)
			figure func(Result) bool
		}{
			"fanout":        {nil, func(r Result) bool { return r.DeliveriesPerSecond > 0 && r.Latency != nil && r.FramesPerRead >= 1 }},
			"rate":          {nil, func(r Result) bool { return r.EventsPerSecond > 40 && r.EventsPerSecond < 60 }},
			"client-events": {func(l *Load) { l.Senders = 4 }, func(r Result) bool { return r.DeliveriesPerSecond > 0 }},
			"channels":      {func(l *Load) { l.Channels = 45 }, func(r Result) bool { return r.DeliveriesPerSecond > 0 }},
			"publish":       {func(l *Load) { l.Batch = 10 }, func(r Result) bool { return r.EventsPerSecond > 0 && r.Latency != nil }},
			"idle":          {func(l *Load) { l.Extra = 3 }, func(r Result) bool { return r.ClientsPerSecond > 0 && r.RSS > 0 }},
			"storm":         {nil, func(r Result) bool { return r.BackSeconds > 0 && r.Back != nil }},
			"churn":         {nil, func(r Result) bool { return r.ClientsPerSecond > 0 && r.DescriptorsAfter <= r.DescriptorsBefore }},
		} {
			t.Run(mode+"/"+name, func(t *testing.T) {
				load, err := DefaultLoad(name)
				if err != nil {
					t.Fatal(err)
				}
				load.Subscribers, load.Warmup, load.Duration = 20, 50*time.Millisecond, 300*time.Millisecond
				load.Still = 50 * time.Millisecond
				if tc.change != nil {
					tc.change(&load)
				}
				result, err := Run(t.Context(), target, load)
				if err != nil {
					t.Fatalf("Run: %v (%+v)", err, result)
				}
				if !tc.figure(result) {
					t.Errorf("implausible result: %+v", result)
				}
			})
		}
	}
}

func TestRunRefuses(t *testing.T) {
	good, err := DefaultLoad("fanout")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Target, *Load){
		"a test that does not exist":        func(_ *Target, l *Load) { l.Test = "flood" },
		"a payload without room":            func(_ *Target, l *Load) { l.Payload = MinPayload - 1 },
		"a window that numbers cannot span": func(_ *Target, l *Load) { l.Window = ringSize },
		"no subscribers":                    func(_ *Target, l *Load) { l.Subscribers = 0 },
		"a rate of nothing":                 func(_ *Target, l *Load) { l.Test, l.Rate = "rate", 0 },
		"more senders than subscribers":     func(_ *Target, l *Load) { l.Test, l.Senders = "client-events", 1001 },
		"a dialect that does not exist":     func(t *Target, _ *Load) { t.Dialect = "smoke-signals" },
		"an address that is none":           func(t *Target, _ *Load) { t.Addr = "nowhere" },
	} {
		t.Run(name, func(t *testing.T) {
			target, load := Target{Dialect: Plain, Addr: "127.0.0.1:1"}, good
			change(&target, &load)
			if result, err := Run(t.Context(), target, load); err == nil {
				t.Errorf("Run = %+v, want an error", result)
			}
		})
	}
}

func TestRunGivesUpOnAServerThatIsNotThere(t *testing.T) {
	load, err := DefaultLoad("fanout")
	if err != nil {
		t.Fatal(err)
	}
	load.Subscribers, load.Patience = 10, time.Minute
	start := time.Now()
	result, err := Run(t.Context(), Target{Dialect: Plain, Addr: "127.0.0.1:1"}, load)
	if !errors.Is(err, ErrRefused) || time.Since(start) > load.Patience/2 {
		t.Errorf("Run = %+v, %v after %v, want ErrRefused soon", result, err, time.Since(start))
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	target := startFloor(t, "joined")
	load, err := DefaultLoad("fanout")
	if err != nil {
		t.Fatal(err)
	}
	load.Subscribers, load.Duration = 10, time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, target, load); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestReadUsage(t *testing.T) {
	u, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.rssBytes < 1<<20 || u.descriptors < 3 {
		t.Errorf("readUsage(self) = %+v, want some memory and descriptors", u)
	}
	if _, err := readUsage(1 << 30); err == nil {
		t.Error("readUsage of a process that is not there succeeds")
	}
}
