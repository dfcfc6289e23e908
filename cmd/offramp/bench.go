package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/bench"
	"github.com/offramp/offramp/configs"
)

// unlimited are the tests that a server refuses unless its limits on client
// events and presence members are raised, so they run by name only.
var unlimited = map[string]bool{"client-events": true, "presence": true}

// benchFlags holds what the user set; zero leaves a test's own default.
type benchFlags struct {
	at                                         target
	dialect                                    string
	pid                                        int
	subscribers, publishers, senders, channels int
	window, payload, batch, extra              int
	rate                                       float64
	warmup, duration, patience                 time.Duration
	spin                                       bool
}

func newBenchCommand(env configs.Environment) *cobra.Command {
	var flags benchFlags
	cmd := &cobra.Command{
		Use:   "bench [TEST ...]",
		Short: "Load any Pusher-compatible server and check every delivery",
		Long: `Runs the load generator against a server and prints one line of JSON for each
test. Every delivery is checked: one that is lost, doubled or out of order
makes the command fail. Tests: ` + strings.Join(bench.Tests(), ", ") + `.
Without a name all run, but for client-events and presence, which need a
server whose limits on those are raised.

The generator uses one thread. Give it a CPU of its own for figures that are
worth comparing: --spin, with taskset on both processes. With --pid the
server's CPU and memory are measured too. It speaks plain TCP only, and
loads what it is pointed at: never point it at a service that is not yours.

Exit status: 0 all correct, 1 otherwise.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, tests []string) error { return flags.run(cmd, tests) },
	}
	flags.add(cmd, env)
	return cmd
}

func (b *benchFlags) add(cmd *cobra.Command, env configs.Environment) {
	b.at.addFlags(cmd, env)
	f := cmd.Flags()
	f.StringVar(&b.dialect, "dialect", string(bench.Pusher), "pusher, plain (Pusher without signatures) or centrifugo")
	f.IntVar(&b.pid, "pid", 0, "the server's process on this machine, to measure its CPU and memory")
	f.IntVar(&b.subscribers, "subscribers", 0, "clients (default: the test's)")
	f.IntVar(&b.publishers, "publishers", 0, "HTTP connections that publish (default: the test's)")
	f.IntVar(&b.senders, "senders", 0, "clients that send client events (default: the test's)")
	f.IntVar(&b.channels, "channels", 0, "channels of the channels test (default: the test's)")
	f.IntVar(&b.window, "window", 0, "events that may be on their way at once (default: the test's)")
	f.IntVar(&b.payload, "payload", 0, "bytes of an event's data (default: the test's)")
	f.IntVar(&b.batch, "batch", 0, "events a request (default: the test's)")
	f.IntVar(&b.extra, "extra", 0, "further subscriptions of each idle client (default: the test's)")
	f.Float64Var(&b.rate, "rate", 0, "events a second of the rate and slow tests (default: the test's)")
	f.DurationVar(&b.warmup, "warmup", 0, "time before measuring (default: the test's)")
	f.DurationVar(&b.duration, "duration", 0, "time of measuring (default: the test's)")
	f.DurationVar(&b.patience, "patience", 0, "how long to wait for what is expected (default: the test's)")
	f.BoolVar(&b.spin, "spin", false, "never sleep: for a generator that has a CPU of its own")
}

func (b *benchFlags) run(cmd *cobra.Command, tests []string) error {
	if b.at.tls {
		return usage(cmd, errors.New("bench speaks plain TCP: point it behind whatever ends TLS"))
	}
	if len(tests) == 0 {
		for _, name := range bench.Tests() {
			if !unlimited[name] {
				tests = append(tests, name)
			}
		}
	}
	loads := make([]bench.Load, len(tests))
	for i, name := range tests {
		load, err := bench.DefaultLoad(name)
		if err != nil {
			return usage(cmd, err)
		}
		loads[i] = b.change(load)
	}
	out := json.NewEncoder(cmd.OutOrStdout())
	var failed error
	for _, load := range loads {
		result, err := bench.Run(cmd.Context(), b.server(), load)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", load.Test, err))
		}
		if result.Test == "" {
			return failed
		}
		if err := out.Encode(result); err != nil {
			return fmt.Errorf("print result: %w", err)
		}
		if cmd.Context().Err() != nil {
			break
		}
	}
	return failed
}

func (b *benchFlags) server() bench.Target {
	addr := net.JoinHostPort(b.at.host, strconv.Itoa(b.at.port))
	return bench.Target{
		Name: addr, Addr: addr, Dialect: bench.Dialect(b.dialect), PathPrefix: b.at.prefix,
		AppID: b.at.appID, Key: b.at.key, Secret: b.at.secret, PID: b.pid,
	}
}

// change puts what the user set in place of the test's defaults.
func (b *benchFlags) change(l bench.Load) bench.Load {
	for _, field := range []struct {
		to   *int
		from int
	}{
		{&l.Subscribers, b.subscribers}, {&l.Publishers, b.publishers}, {&l.Senders, b.senders},
		{&l.Channels, b.channels}, {&l.Window, b.window}, {&l.Payload, b.payload},
		{&l.Batch, b.batch}, {&l.Extra, b.extra},
	} {
		if field.from != 0 {
			*field.to = field.from
		}
	}
	for _, field := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&l.Warmup, b.warmup}, {&l.Duration, b.duration}, {&l.Patience, b.patience}} {
		if field.from != 0 {
			*field.to = field.from
		}
	}
	if b.rate != 0 {
		l.Rate = b.rate
	}
	l.Spin = b.spin
	return l
}
