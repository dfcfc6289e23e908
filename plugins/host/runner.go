package host

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
)

// processRunner is go-plugin's view of the process. It differs from
// go-plugin's own in what it does with prints on standard output, which would
// be taken for the handshake, and in how it ties the process to this one.
type processRunner struct {
	cmd    *exec.Cmd
	stdout *io.PipeReader
	stderr io.ReadCloser
	pipe   io.ReadCloser
	feed   *io.PipeWriter
	stray  io.Writer // gets what is not a handshake

	contract atomic.Pointer[int] // the contract's major, as the handshake says; nil: no handshake yet

	launched chan struct{} // closed when there is a process
	exited   chan struct{} // closed when there is none any more
}

func newProcessRunner(cmd *exec.Cmd, stray io.Writer) (*processRunner, error) {
	r := &processRunner{cmd: cmd, stray: stray, launched: make(chan struct{}), exited: make(chan struct{})}
	var err error
	if r.pipe, err = cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("prepare plugin: %w", err)
	}
	if r.stderr, err = cmd.StderrPipe(); err != nil {
		return nil, fmt.Errorf("prepare plugin: %w", err)
	}
	r.stdout, r.feed = io.Pipe()
	return r, nil
}

// Start implements runner.Runner. The thread that starts the process is kept as
// long as it lives: on Linux the death signal comes when that thread ends.
func (r *processRunner) Start(context.Context) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		// The thread must not end with this goroutine: others may have started
		// processes on it.
		defer runtime.UnlockOSThread()
		err := r.cmd.Start()
		if err == nil {
			yield(r.cmd.Process)
		}
		started <- err
		if err == nil {
			<-r.exited
		}
	}()
	if err := <-started; err != nil {
		close(r.exited)
		return fmt.Errorf("start plugin: %w", err)
	}
	close(r.launched)
	go r.filter()
	return nil
}

// filter passes the handshake on and diverts everything else.
func (r *processRunner) filter() {
	defer r.feed.Close() //nolint:errcheck // never fails
	lines := bufio.NewReader(r.pipe)
	for {
		line, err := lines.ReadSlice('\n')
		if contract, ok := handshake(string(line)); ok {
			r.contract.Store(&contract)
			_, _ = r.feed.Write(line)
		} else if len(line) > 0 {
			_, _ = r.stray.Write(line)
		}
		if err != nil && err != bufio.ErrBufferFull { //nolint:errorlint // returned as is
			return
		}
	}
}

// handshake recognises go-plugin's line: five fields or more, the first and
// second of them numbers. The second is the contract's major version.
func handshake(line string) (contract int, ok bool) {
	fields := strings.Split(line, "|")
	if len(fields) < 5 {
		return 0, false
	}
	if _, err := strconv.Atoi(fields[0]); err != nil {
		return 0, false
	}
	contract, err := strconv.Atoi(fields[1])
	return contract, err == nil
}

// Wait implements runner.Runner.
func (r *processRunner) Wait(context.Context) error {
	defer close(r.exited)
	return r.cmd.Wait()
}

// Kill implements runner.Runner.
func (r *processRunner) Kill(context.Context) error {
	r.kill()
	return nil
}

func (r *processRunner) kill() {
	select {
	case <-r.launched:
		killProcess(r.cmd.Process)
	default:
	}
}

// Stdout implements runner.Runner.
func (r *processRunner) Stdout() io.ReadCloser { return r.stdout }

// Stderr implements runner.Runner.
func (r *processRunner) Stderr() io.ReadCloser { return r.stderr }

// Name implements runner.Runner.
func (r *processRunner) Name() string { return r.cmd.Path }

// ID implements runner.Runner.
func (r *processRunner) ID() string {
	select {
	case <-r.launched:
		return strconv.Itoa(r.cmd.Process.Pid)
	default:
		return ""
	}
}

// Diagnose implements runner.Runner: the output says it better.
func (*processRunner) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner.
func (*processRunner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements runner.Runner.
func (*processRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
