package redis

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy"
)

// server is a Redis server of a test's own.
type server struct {
	t    *testing.T
	port int
	dir  string
	args []string
	cmd  *exec.Cmd
}

// startServer starts a server that keeps nothing on disk.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, port: freePort(t), dir: t.TempDir()}
	s.args = append([]string{"--port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	_, text, _ := strings.Cut(harness.FreeAddr(t), ":")
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *server) at() Server { return Server{URL: proxy.NewSecret("redis://" + s.address() + "/0")} }

// client returns a client of the test's own.
func (s *server) client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.address(), Protocol: 2, DisableIdentity: true})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out harness.Output
	s.cmd.Stdout = &out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start redis-server (Debian package redis-server): %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.address())
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("redis-server does not answer: %v\n%s", err, out.String())
		}
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// testNode is a running backend, and what it has told of.
type testNode struct {
	*Backend
	t    *testing.T
	stop func() // as the death of its process: it says nothing any more

	mu      sync.Mutex
	changes []proxy.Change
	fenced  int
	missed  int // apps, each time
}

// startNode runs a node's ledger. Its broker is run by whoever needs it.
func startNode(t *testing.T, s *server, id uint64, lease time.Duration) *testNode {
	t.Helper()
	return startNodeAt(t, s.at(), id, lease)
}

func startNodeAt(t *testing.T, s Server, id uint64, lease time.Duration) *testNode {
	t.Helper()
	n := &testNode{t: t}
	backend, err := New(Settings{
		Server: s, Prefix: "offramp:" + t.Name() + ":", Node: id, Lease: lease, Log: zerolog.New(zerolog.NewTestWriter(t)),
		Told: func(string) bool { return true },
		Changed: func(c proxy.Change) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.changes = append(n.changes, c)
		},
		Missed: func(apps []string) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.missed += len(apps)
		},
		Fenced: func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.fenced++
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Backend = backend
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Ledger.Run(ctx) // whether it could say goodbye does not matter
	}()
	n.stop = sync.OnceFunc(func() {
		_ = n.client.Close() // first, so that it cannot say goodbye
		cancel()
		<-done
	})
	t.Cleanup(n.stop)
	eventually(t, "the node has its lease", func() bool { return n.Ledger.Healthy() == nil })
	return n
}

func (n *testNode) told() []proxy.Change {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]proxy.Change(nil), n.changes...)
}

func (n *testNode) missedApps() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.missed
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, 30*time.Second, what, ok)
}

func within(t *testing.T, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
