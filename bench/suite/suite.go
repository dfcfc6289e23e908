package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"time"

	"github.com/offramp/offramp/bench"
)

const (
	// quietBelow is how much of a CPU the rest of the machine may use during
	// a run. A run with more is disturbed and repeated.
	quietBelow = 0.15
	oneRun     = 5 * time.Minute
)

type suite struct {
	runs     int
	attempts int // of a run, until it is undisturbed
	short    bool
	cases    []benchCase
	only     *regexp.Regexp
	servers  []string // empty: all of each case
	programs programs
	results  io.Writer // nil: not kept
	log      io.Writer
}

// line is one result with what the suite knows about it.
type line struct {
	Case      string       `json:"case"`
	Run       int          `json:"run"`
	OtherCPU  float64      `json:"other_cpu"` // used by the rest of the machine, of one CPU
	Disturbed bool         `json:"disturbed,omitempty"`
	Result    bench.Result `json:"result"`
}

// runAll runs every wanted case. Results come back even when some runs failed.
func (s *suite) runAll(ctx context.Context) ([]line, error) {
	var lines []line
	var failed error
	for _, c := range s.cases {
		if !s.only.MatchString(c.name) {
			continue
		}
		servers := slices.DeleteFunc(slices.Clone(c.servers), func(name string) bool { return !s.wants(name) })
		for run := range s.runs {
			for i := range servers {
				name := servers[(i+run)%len(servers)]
				l, err := s.runQuietly(ctx, c, name, run)
				if ctx.Err() != nil {
					return lines, ctx.Err()
				}
				if err != nil {
					err = fmt.Errorf("%s, %s: %w", c.name, name, err)
					fmt.Fprintln(s.log, err)
					failed = errors.Join(failed, err)
					continue
				}
				lines = append(lines, l)
				if err := s.keep(l); err != nil {
					return lines, err
				}
			}
		}
	}
	return lines, failed
}

func (s *suite) wants(name string) bool {
	if len(s.servers) > 0 && !slices.Contains(s.servers, name) {
		return false
	}
	switch name {
	case offramp:
		return s.programs.offramp != ""
	case soketi, uws:
		return s.programs.node != ""
	case centrifugo:
		return s.programs.centrifugo != ""
	case floorJoined, floorWrite:
		return s.programs.floor != ""
	default:
		return s.programs.sink != ""
	}
}

func (s *suite) keep(l line) error {
	fmt.Fprintf(s.log, "%s: %s run %d: %s\n", l.Case, l.Result.Server, l.Run+1, brief(l))
	if s.results == nil {
		return nil
	}
	if err := json.NewEncoder(s.results).Encode(l); err != nil {
		return fmt.Errorf("keep result: %w", err)
	}
	return nil
}

// runQuietly repeats a run that other work on the machine disturbed, and
// marks the last one when none was quiet.
func (s *suite) runQuietly(ctx context.Context, c benchCase, name string, run int) (line, error) {
	for attempt := 1; ; attempt++ {
		l, err := s.runOnce(ctx, c, name)
		if err != nil {
			return l, err
		}
		l.Run = run
		l.Disturbed = l.OtherCPU > quietBelow
		if !l.Disturbed || attempt >= s.attempts {
			return l, nil
		}
		fmt.Fprintf(s.log, "%s: %s disturbed (%.2f CPU elsewhere), again\n", c.name, name, l.OtherCPU)
	}
}

func (s *suite) runOnce(ctx context.Context, c benchCase, name string) (line, error) {
	ctx, cancel := context.WithTimeout(ctx, oneRun)
	defer cancel()
	srv, err := s.programs.start(ctx, name, !c.unpinned, s.log)
	if err != nil {
		return line{}, err
	}
	l, err := s.drive(ctx, c, srv.target)
	return l, errors.Join(err, srv.stop())
}

// drive runs the generator against a running server.
func (s *suite) drive(ctx context.Context, c benchCase, t bench.Target) (line, error) {
	load := c.load
	if s.short && load.Test != "slow" { // which has to fill the kernel's buffers first
		load.Warmup, load.Duration = time.Second/2, time.Second
	}
	input, err := json.Marshal(job{Target: t, Load: load})
	if err != nil {
		return line{}, fmt.Errorf("encode job: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return line{}, fmt.Errorf("find myself: %w", err)
	}
	args := []string{self, "-generate"}
	if !c.unpinned {
		args = append([]string{"taskset", "-c", generatorCPU}, args...)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, s.log

	before, err := machineUsage(t.PID)
	if err != nil {
		return line{}, err
	}
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return line{}, fmt.Errorf("generator: %w", err)
	}
	after, err := machineUsage(t.PID)
	if err != nil {
		return line{}, err
	}
	l := line{Case: c.name}
	if err := json.Unmarshal(out.Bytes(), &l.Result); err != nil {
		return line{}, fmt.Errorf("read result: %w", err)
	}
	generator := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	others := after.busy - before.busy - (after.server - before.server) - generator
	l.OtherCPU = max(others.Seconds()/time.Since(start).Seconds(), 0)
	return l, nil
}

// readResults reads a file that an earlier run wrote.
func readResults(file string) ([]line, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	defer f.Close()
	var lines []line
	in := bufio.NewScanner(f)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("read results: %w", err)
		}
		lines = append(lines, l)
	}
	return lines, in.Err()
}
