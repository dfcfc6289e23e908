// Package harness runs the built gateway as a process of its own, for tests
// that look at it as a user does: from outside.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Binary builds cmd/offramp once per test process, with the race detector
// when the tests have it, and returns the executable's path.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatalf("build cmd/offramp: %v", err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "offramp-bin-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "offramp")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/offramp/offramp/cmd/offramp")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// Gateway is a running `offramp serve`.
type Gateway struct {
	Addr  string // clients and HTTP API, host:port
	Admin string // admin listener, host:port
	Dir   string // its data and configuration
	Cmd   *exec.Cmd

	binary string
	log    Output
	exited chan struct{}
	err    error // guarded by exited
}

// Credentials of the app in DefaultApps.
const (
	AppID  = "4242"
	Key    = "278d425bdf160c739803"
	Secret = "7ad3773142a6692b25b8"
)

// DefaultApps is an apps section with one app that has everything on, and
// limits that tests do not run into.
const DefaultApps = `
  - id: "4242"
    key: 278d425bdf160c739803
    secret: 7ad3773142a6692b25b8
    client_events: true
    subscription_counting: true
    watchlist: true
`

// Start runs a gateway with that apps section (indented as in a config file)
// on free loopback ports, and stops it when the test ends. more is added to
// the configuration's top level.
func Start(t testing.TB, apps string, more ...string) *Gateway {
	t.Helper()
	g := &Gateway{Addr: FreeAddr(t), Admin: FreeAddr(t), Dir: t.TempDir(), binary: Binary(t)}
	config := fmt.Sprintf("listen: %s\nadmin: {listen: %q}\ndata: %s\ndrain: {over: 1s}\n%s\napps:%s",
		g.Addr, g.Admin, filepath.Join(g.Dir, "data"), strings.Join(more, "\n"), apps)
	if err := os.WriteFile(g.ConfigPath(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Stop(t)
		if t.Failed() {
			t.Logf("gateway log:\n%s", g.Log())
		}
	})
	g.Run(t)
	return g
}

// ConfigPath is the gateway's configuration file; a test may rewrite it.
func (g *Gateway) ConfigPath() string { return filepath.Join(g.Dir, "offramp.yaml") }

// Run starts the process (again) and waits until it is ready.
func (g *Gateway) Run(t testing.TB) {
	t.Helper()
	g.Cmd = exec.Command(g.binary, "serve", "--config", g.ConfigPath())
	g.Cmd.Stdout, g.Cmd.Stderr = &g.log, &g.log
	g.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.Cmd.Start(); err != nil {
		t.Fatalf("start the gateway: %v", err)
	}
	g.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		g.err = cmd.Wait()
		close(exited)
	}(g.Cmd, g.exited)
	if err := g.await(30 * time.Second); err != nil {
		t.Fatalf("%v\n%s", err, g.Log())
	}
}

func (g *Gateway) await(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Admin+"/ready", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-g.exited:
			return fmt.Errorf("the gateway ended at start: %w", g.err)
		case <-ctx.Done():
			return errors.New("the gateway did not get ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Use has the next Run start another executable, such as that of an earlier
// release.
func (g *Gateway) Use(binary string) { g.binary = binary }

// Signal sends a signal to the gateway.
func (g *Gateway) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := g.Cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal the gateway: %v", err)
	}
}

// Wait waits for the process to end and returns its exit status.
func (g *Gateway) Wait(t testing.TB, patience time.Duration) int {
	t.Helper()
	select {
	case <-g.exited:
		return g.Cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("the gateway did not end within %v\n%s", patience, g.Log())
		return -1
	}
}

// Kill ends the process at once and waits until it is gone.
func (g *Gateway) Kill(t testing.TB) {
	t.Helper()
	_ = g.Cmd.Process.Kill()
	g.Wait(t, 10*time.Second)
}

// Stop ends the process in the usual way, or the hard way when that takes
// too long.
func (g *Gateway) Stop(t testing.TB) {
	t.Helper()
	if g.exited == nil {
		return
	}
	_ = g.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exited:
	case <-time.After(20 * time.Second):
		t.Errorf("the gateway did not end after SIGTERM")
		g.Kill(t)
	}
}

// Log returns what the process has printed.
func (g *Gateway) Log() string { return g.log.String() }

// FreeAddr returns a loopback address on which nothing listened just now. Its
// port is none of those that systems give to clients (from 32768 on, as a
// rule): one of them would have it before whoever is to listen there.
func FreeAddr(t testing.TB) string {
	t.Helper()
	const first, end = 10_000, 32_000
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(end-first)))
		l, err := net.Listen("tcp", addr)
		switch {
		case err == nil:
			_ = l.Close()
			return addr
		case !errors.Is(err, syscall.EADDRINUSE):
			t.Fatal(err)
		}
	}
}

// Output collects what a process prints, while others read it. The zero value
// is empty.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *Output) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what has been printed until now.
func (b *Output) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
