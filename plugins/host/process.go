package host

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/plugins"
)

const (
	startPatience = 30 * time.Second
	// stopGrace is how long a process may take to end after it was asked to.
	stopGrace = 3 * time.Second
)

// Command is an executable to run as a plugin.
type Command struct {
	Path string
	Args []string
	// Checksum is the SHA-256 that the executable must have; nil: any.
	Checksum []byte
	// Environment names variables to pass on, beside the usual few.
	Environment []string
	SocketDir   string   // parent of the private socket directory; empty: the system's
	Secrets     []string // texts to keep out of the log
	Log         zerolog.Logger
	// Contracts are the majors of the plugin contract to serve; nil: those of
	// this release.
	Contracts plugins.Contracts
}

// builtin reports whether the command is a part of this program.
func (c Command) builtin() bool { return len(c.Args) > 0 }

// Find returns the command of a plugin: executable itself for one that is
// built in, or else the path of an executable.
func Find(plugin, executable string, builtins []string) (Command, error) {
	if slices.Contains(builtins, plugin) {
		return Command{Path: executable, Args: []string{"plugin", "serve", plugin}}, nil
	}
	if !strings.ContainsAny(plugin, `/\`) {
		return Command{}, fmt.Errorf("there is no plugin %q: use one of %s, or the path of an executable (./name for one in the "+
			"current directory)", plugin, strings.Join(builtins, ", "))
	}
	path, err := exec.LookPath(plugin)
	if err != nil {
		return Command{}, fmt.Errorf("plugin %s cannot be run: %w", plugin, errors.Unwrap(err))
	}
	return Command{Path: path}, nil
}

// Process is a running plugin.
type Process struct {
	Client *plugins.Client

	command   Command // that it was started with
	plugin    *goplugin.Client
	runner    *processRunner
	tail      *tail
	sum       string // checksum of the executable
	socketDir string // set before the process starts
}

// Launch starts a plugin and connects to it with mutual TLS. The error is
// ErrNotLocked, or a *LaunchError.
func Launch(ctx context.Context, c Command) (*Process, error) {
	if c.Contracts == nil {
		c.Contracts = plugins.Served()
	}
	p := &Process{command: c, tail: newTail(c.Secrets)}
	var err error
	if p.sum, err = verify(c.Path, c.Checksum); err != nil {
		return nil, err
	}
	cmd := exec.Command(c.Path, c.Args...) //nolint:gosec // the operator names it
	cmd.SysProcAttr = processAttributes()
	if p.runner, err = newProcessRunner(cmd, p.tail); err != nil {
		return nil, err
	}
	config := &goplugin.ClientConfig{
		HandshakeConfig:  plugins.Handshake(),
		VersionedPlugins: c.Contracts,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     startPatience,
		Logger:           newLogger(c.Log, c.Secrets),
		Stderr:           p.tail,
		SyncStdout:       p.tail,
		SyncStderr:       p.tail,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: c.SocketDir},
		RunnerFunc: func(_ hclog.Logger, prepared *exec.Cmd, socketDir string) (runner.Runner, error) {
			p.socketDir = socketDir
			cmd.Env = append(inherited(c.Environment), prepared.Env...)
			return p.runner, nil
		},
	}
	p.plugin = goplugin.NewClient(config)
	if err := p.connect(ctx); err != nil {
		p.Stop()
		return nil, &LaunchError{Err: p.explain(err, c.Contracts), Tail: p.Tail()}
	}
	return p, nil
}

func (p *Process) connect(ctx context.Context) error {
	var err error
	started := make(chan struct{})
	go func() {
		defer close(started)
		err = p.dial()
	}()
	select {
	case <-started:
		return err
	case <-ctx.Done():
		// Starting cannot be cancelled, but it ends when the process does.
		select {
		case <-p.runner.launched:
			p.runner.kill()
			<-started
		case <-started:
		}
		return ctx.Err()
	}
}

// dial starts the process and waits for its handshake.
func (p *Process) dial() error {
	protocol, err := p.plugin.Client()
	if err != nil {
		return err
	}
	p.Client, err = plugins.Dispense(protocol)
	return err
}

// explain names the cause when what the plugin said in its handshake shows that
// it speaks a contract that is not served.
func (p *Process) explain(err error, served plugins.Contracts) error {
	if spoken := p.runner.contract.Load(); spoken != nil && !served.Serve(*spoken) {
		return &plugins.ContractError{Plugin: *spoken, Gateway: served.Majors()}
	}
	return err
}

// LaunchError is why a plugin did not start, with the last it said.
type LaunchError struct {
	Err  error
	Tail []string // last lines of its output, oldest first
}

// Error implements error: in one line, and with the plugin's own words where
// it had any.
func (e *LaunchError) Error() string {
	if _, mismatch := errors.AsType[*plugins.ContractError](e.Err); !mismatch && len(e.Tail) > 0 {
		return "start plugin: it said: " + cause(e.Tail)
	}
	return "start plugin: " + e.Err.Error()
}

// Unwrap implements errors' convention.
func (e *LaunchError) Unwrap() error { return e.Err }

// cause returns the line that most likely says why a process ended.
func cause(lines []string) string {
	for _, line := range lines {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
	}
	for _, line := range slices.Backward(lines) {
		var said struct {
			Level   string `json:"@level"`
			Message string `json:"@message"`
			Error   string `json:"error"`
		}
		if json.Unmarshal([]byte(line), &said) == nil && said.Level == "error" {
			return strings.TrimSuffix(said.Message+": "+said.Error, ": ")
		}
	}
	return lines[len(lines)-1]
}

// verify compares an executable with its pinned checksum, if it is pinned, and
// returns its own.
func verify(path string, checksum []byte) (string, error) {
	sum, err := Checksum(path)
	if err != nil {
		return "", fmt.Errorf("verify plugin: %w", err)
	}
	if checksum != nil && sum != hex.EncodeToString(checksum) {
		return "", fmt.Errorf("%w: %s has changed since it was locked; if that is right, run: offramp plugin lock", ErrNotLocked, path)
	}
	return sum, nil
}

// inherited returns the variables of this process that plugins may see.
func inherited(more []string) []string {
	var env []string
	for _, name := range append([]string{
		"PATH", "HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "NO_PROXY", "GODEBUG", "GOMAXPROCS",
	}, more...) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// PID returns the process id.
func (p *Process) PID() int { return p.runner.cmd.Process.Pid }

// Contract returns the major version of the plugin contract that was agreed on.
func (p *Process) Contract() int { return p.plugin.NegotiatedVersion() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.runner.exited }

// Tail returns the process's last lines of output, oldest first.
func (p *Process) Tail() []string { return p.tail.lines() }

// Stop ends the process: it is asked to, and killed when it does not within a
// few seconds. It returns when the process is gone.
func (p *Process) Stop() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.plugin.Kill()
	}()
	select {
	case <-done:
	case <-time.After(stopGrace):
		p.runner.kill()
		<-done
	}
	// go-plugin leaves the directory when the process never came to life.
	if p.socketDir != "" {
		_ = os.RemoveAll(p.socketDir)
	}
}
