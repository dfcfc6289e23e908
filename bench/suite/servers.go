package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/offramp/offramp/bench"
)

// programs says where the servers' binaries are. An empty one is left out.
type programs struct {
	offramp, floor, centrifugo, node, sink string
}

const (
	offramp     = "offramp"
	soketi      = "soketi"
	centrifugo  = "centrifugo"
	uws         = "uws"
	floorJoined = "floor-joined"
	floorWrite  = "floor-write"

	serverCPU    = "0"
	generatorCPU = "1"

	port         = "7600"
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

var allServers = []string{offramp, soketi, centrifugo, uws, floorJoined, floorWrite}

const offrampConfig = `listen: 127.0.0.1:7600
admin: {listen: 127.0.0.1:7601}
data: %s
apps:
  - id: bench-id
    key: bench-key
    secret: bench-secret
    client_events: true
    subscription_counting: false
    watchlist: false
    limits:
      client_events_per_second: 1000000
      presence_members: 10000
`

const centrifugoConfig = `{
  "http_server": {"address": "127.0.0.1", "port": "7600"},
  "http_api": {"key": "bench-key"},
  "client": {"insecure": true, "allowed_origins": ["*"]},
  "log": {"level": "error"}
}
`

// command returns how to start a server and how to speak to it. dir is an
// empty folder for its files.
func (p programs) command(name, dir string) (*exec.Cmd, bench.Target, error) {
	t := bench.Target{
		Name: name, Dialect: bench.Pusher, Addr: "127.0.0.1:" + port,
		AppID: "bench-id", Key: "bench-key", Secret: "bench-secret",
	}
	file := filepath.Join(dir, "config")
	write := func(text string) error { return os.WriteFile(file, []byte(text), 0o600) }
	switch name {
	case offramp:
		err := write(fmt.Sprintf(offrampConfig, filepath.Join(dir, "data")))
		return exec.Command(p.offramp, "serve", "--config", file), t, err
	case mirrored, shadowed, mirrorSlow, mirrorHung, mirrorFroze, mirrorKill, mirrorGreed:
		text, err := p.withBackend(name, dir)
		return exec.Command(p.offramp, "serve", "--config", file), t, errors.Join(err, write(text))
	case soketi:
		cmd := exec.Command("node", filepath.Join(p.node, "node_modules/.bin/soketi"), "start")
		// It looks for its like by UDP broadcast, whatever the adapter:
		// keep that on the loopback interface.
		cmd.Env = append(os.Environ(),
			"SOKETI_HOST=127.0.0.1", "SOKETI_PORT="+port, "SOKETI_ADAPTER_DRIVER=local",
			"SOKETI_CLUSTER_HOST=127.0.0.1", "SOKETI_CLUSTER_BROADCAST_ADDRESS=127.255.255.255",
			"SOKETI_METRICS_ENABLED=0", "SOKETI_DEFAULT_APP_ID="+t.AppID, "SOKETI_DEFAULT_APP_KEY="+t.Key,
			"SOKETI_DEFAULT_APP_SECRET="+t.Secret, "SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES=1",
			"SOKETI_PRESENCE_MAX_MEMBERS=10000",
			"AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE=1", "NODE_NO_WARNINGS=1")
		return cmd, t, nil
	case centrifugo:
		t.Dialect = bench.Centrifugo
		file += ".json"
		return exec.Command(p.centrifugo, "-c", file), t, write(centrifugoConfig)
	case uws:
		t.Dialect = bench.Plain
		return exec.Command("node", filepath.Join(p.node, "uws.js"), port), t, nil
	case floorJoined, floorWrite:
		t.Dialect = bench.Plain
		return exec.Command(p.floor, "-listen", t.Addr, "-mode", name[len("floor-"):]), t, nil
	}
	return nil, t, fmt.Errorf("unknown server %q", name)
}

// server is a running server process.
type server struct {
	cmd    *exec.Cmd
	target bench.Target
	exited chan error
	dir    string
}

// start starts a server, pinned to its CPU or not, and waits until it listens.
func (p programs) start(ctx context.Context, name string, pinned bool, log io.Writer) (*server, error) {
	dir, err := os.MkdirTemp("", "offramp-bench-")
	if err != nil {
		return nil, fmt.Errorf("make folder for %s: %w", name, err)
	}
	cmd, target, err := p.command(name, dir)
	if err == nil && pinned {
		// taskset replaces itself by the server: the process ID is the server's.
		pin := exec.Command("taskset", append([]string{"-c", serverCPU}, cmd.Args...)...)
		pin.Env = cmd.Env
		cmd = pin
	}
	if err == nil {
		cmd.Stderr = log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), os.RemoveAll(dir))
	}
	target.PID = cmd.Process.Pid
	s := &server{cmd: cmd, target: target, exited: make(chan error, 1), dir: dir}
	go func() { s.exited <- cmd.Wait() }()
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), s.stop())
	}
	return s, nil
}

func (s *server) await(ctx context.Context) error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	for {
		conn, err := net.Dial("tcp", s.target.Addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("exited before it listened: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return errors.New("does not listen on port " + port)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the process and waits for it.
func (s *server) stop() error {
	// An error means that it has ended already, which exited tells.
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		return errors.New("process " + strconv.Itoa(s.cmd.Process.Pid) + " does not end")
	}
	return os.RemoveAll(s.dir)
}
