package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/report"
	"github.com/offramp/offramp/translators/faulty"
)

// demoOptions are the demo's flags.
type demoOptions struct {
	length     time.Duration
	rate       int
	html, json string // files to write; empty: none
	faults     string
	verbose    bool
}

func newDemoCommand() *cobra.Command {
	o := demoOptions{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The whole road on this machine, ending in a shadow report",
		Long: `Runs the whole road on this machine, with nothing to set up: a stand-in for the
vendor, the gateway in front of it, a NATS server as the candidate to move to,
its translator in a process of its own, and customers with real WebSockets and
signed publishes. It ends by itself with the report that a team would decide on.

With --faults the candidate misbehaves by known amounts, so that you see what
the report makes of it:

  offramp demo --faults drop=0.01,dup=0.005,reorder=0.005,corrupt=0.002

The gates are scaled to the demo's length; in earnest they ask for days.

Exit status: 0 ready, 1 not ready, 2 too little data, 3 the demo itself failed.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.length < time.Second || o.length > time.Hour {
				return withCode(exitTool, fmt.Errorf("--for %v is out of range: use 1s to 1h", o.length))
			}
			if o.rate < 1 || o.rate > 5000 {
				return withCode(exitTool, fmt.Errorf("--rate %d is out of range: use 1 to 5000 publishes a second", o.rate))
			}
			if _, err := faulty.Parse(o.faults); err != nil {
				return withCode(exitTool, fmt.Errorf("--faults: %w", err))
			}
			r, err := runDemo(cmd.Context(), cmd.OutOrStdout(), o)
			if err != nil {
				return withCode(exitTool, err)
			}
			if code := r.ExitCode(); code != exitOK {
				return &exitError{code: code}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.length, "for", 20*time.Second, "how long there is traffic")
	f.IntVar(&o.rate, "rate", 200, "publishes a second")
	f.StringVar(&o.html, "report", "", "write the report as one HTML file")
	f.StringVar(&o.json, "json", "", "write the report as JSON")
	f.StringVar(&o.faults, "faults", "", "make the candidate misbehave, such as drop=0.01,dup=0.005,reorder=0.005,corrupt=0.002,delay=200ms")
	f.BoolVar(&o.verbose, "verbose", false, "show the gateway's log")
	return cmd
}

// demo is what runs during one.
type demo struct {
	out     io.Writer
	options demoOptions
	vendor  *gateway
	gateway *gateway
	nats    *server.Server
	traffic *demoTraffic
}

func runDemo(ctx context.Context, out io.Writer, o demoOptions) (r *report.Report, err error) {
	dir, err := os.MkdirTemp("", "offramp-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the demo's data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	d := &demo{out: out, options: o}
	if d.nats, err = startNATS(); err != nil {
		return nil, err
	}
	defer d.nats.Shutdown()
	if err := d.build(dir); err != nil {
		return nil, err
	}
	defer d.vendor.close()
	defer d.gateway.close()

	running, stop := context.WithCancel(ctx)
	vendor := runApart(running, d.vendor)
	gate := runApart(running, d.gateway)
	defer func() {
		stop()
		err = errors.Join(err, <-gate, <-vendor)
	}()
	d.say("vendor   a stand-in for Pusher Channels on %s", d.vendor.config.Listen)
	d.say("gateway  Offramp in front of it on %s: same keys, same clients", d.gateway.config.Listen)
	d.say("backend  NATS on %s, the candidate, through a plugin process", d.nats.ClientURL())

	defer d.traffic.leave()
	if err := d.warmUp(ctx); err != nil {
		return nil, err
	}
	if err := d.play(ctx); err != nil {
		return nil, err
	}
	return d.conclude(ctx)
}

// build makes the vendor and the gateway, on free ports, with the same app.
func (d *demo) build(dir string) error {
	log := zerolog.Nop()
	if d.options.verbose {
		var err error
		if log, err = newLogger(os.Stderr, "info"); err != nil {
			return err
		}
	}
	vendor, err := demoConfig(filepath.Join(dir, "vendor"))
	if err != nil {
		return err
	}
	gate, err := demoConfig(filepath.Join(dir, "gateway"))
	if err != nil {
		return err
	}
	app := *gate.Apps[0]
	app.Stage = proxy.StageShadow
	app.Upstream = &proxy.Upstream{WebSocket: "ws://" + vendor.Listen, API: "http://" + vendor.Listen}
	app.Backends = []proxy.Backend{{
		Name: "nats", Plugin: "nats", Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1,
		Settings: map[string]any{"url": d.nats.ClientURL(), "faults": d.options.faults},
	}}
	gate.Apps = []*proxy.App{&app}

	if d.vendor, err = newGateway(vendor, gatewayOptions{log: zerolog.Nop()}); err != nil {
		return err
	}
	d.gateway, err = newGateway(gate, gatewayOptions{log: log, shadow: shadow.Config{Window: 5 * time.Second, Cell: time.Second}})
	if err != nil {
		d.vendor.close()
		return err
	}
	d.traffic = newDemoTraffic(gate.Listen, app.ID, app.Credentials[0].Key, app.Credentials[0].Secret.Reveal(), d.options.rate)
	return nil
}

// demoConfig is development mode on a free port.
func demoConfig(data string) (*configs.Config, error) {
	config := configs.Development()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	config.Listen = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	config.Admin.Listen = "127.0.0.1:0"
	config.Admin.Listen = "127.0.0.1:0"
	config.Data = data
	config.Drain.Over = time.Second
	return config, nil
}

func startNATS() (*server.Server, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return nil, fmt.Errorf("make the NATS server: %w", err)
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, errors.New("the NATS server did not get ready within 10s")
	}
	return s, nil
}

// runApart runs a gateway and says on the channel how it ended.
func runApart(ctx context.Context, g *gateway) <-chan error {
	ended := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		defer close(ended)
		if err := g.run(ctx, func() { close(started) }); err != nil {
			ended <- err
		}
	}()
	select {
	case <-started:
	case <-ctx.Done():
	case <-time.After(10 * time.Second): // what went wrong is on ended
	}
	return ended
}

const warmUpPatience = 20 * time.Second

// warmUp waits for the plugin, seats the customers, and waits until the
// candidate listens on every channel, so that nothing of the run is unknown.
func (d *demo) warmUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, warmUpPatience)
	defer cancel()
	err := awaitPlugin(ctx, d.gateway, func(s host.Status) bool { return s.State == host.StateRunning })
	if err != nil {
		return err
	}
	status := d.gateway.host.Status()[0]
	d.say("plugin   %s %s runs as process %d", status.Plugin, status.Version, status.PID)
	if err := d.traffic.seat(ctx); err != nil {
		return err
	}
	channels := len(demoRooms())
	if err := awaitPlugin(ctx, d.gateway, func(s host.Status) bool { return s.Channels >= channels }); err != nil {
		return err
	}
	d.say("clients  %d WebSockets on %d channels", d.traffic.counts.Connected.Load(), channels)
	return nil
}

// awaitPlugin waits until a gateway's one plugin is as it should be.
func awaitPlugin(ctx context.Context, g *gateway, ok func(host.Status) bool) error {
	for {
		s := g.host.Status()[0]
		if ok(s) {
			return nil
		}
		if s.State == host.StateQuarantined {
			return fmt.Errorf("the plugin %s does not start: %s", s.Plugin, s.LastError)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the plugin %s did not get ready within %v (%s %s)", s.Plugin, warmUpPatience, s.State, s.LastError)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// play runs the traffic and shows how it goes.
func (d *demo) play(ctx context.Context) error {
	d.say("")
	done := make(chan error, 1)
	go func() { done <- d.traffic.run(ctx, d.options.length) }()
	began := time.Now()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			d.progress(time.Since(began))
			return err
		case <-tick.C:
			d.progress(time.Since(began))
		}
	}
}

func (d *demo) progress(elapsed time.Duration) {
	c := &d.traffic.counts
	s := d.gateway.host.Status()[0]
	d.say("%4.0fs  %6d published  %6d typed  %7d received by clients  %7d seen on NATS",
		elapsed.Seconds(), c.Published.Load(), c.ClientEvents.Load(), c.Received.Load(), s.Delivered)
}

// conclude closes the comparison, prints the report and writes the files.
func (d *demo) conclude(ctx context.Context) (*report.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.gateway.comparator.Settle(ctx); err != nil {
		return nil, err
	}
	app := d.gateway.config.Apps[0]
	r := report.Build(d.gateway.comparator.Snapshot(app.ID, time.Time{}), demoGates(d.options.length),
		report.Meta{GatewayVersion: version, Generated: time.Now()})
	d.say("")
	if err := report.WriteTerminal(d.out, r); err != nil {
		return nil, err
	}
	d.faultTable(r)
	d.say("\nThe gates were scaled to a demo of %v; in earnest they ask for %v and a loss below %g.",
		d.options.length, report.DefaultGates().Observe, report.DefaultGates().Loss)
	return r, d.write(r)
}

// demoGates are the gates of a migration scaled to what a demo can show.
func demoGates(length time.Duration) report.Gates {
	g := report.DefaultGates()
	const share = 2e-3
	g.Loss, g.Duplicate, g.Reorder, g.Extra, g.Rejected = share, share, share, share, share
	g.PairedP99 = 250 * time.Millisecond // one machine does everything at once
	g.Observe = min(length/2, 10*time.Second)
	return g
}

// faultTable shows what was injected beside what the report found.
func (d *demo) faultTable(r *report.Report) {
	if spec, err := faulty.Parse(d.options.faults); err != nil || spec.IsZero() {
		return
	}
	counters := d.gateway.host.Status()[0].Counters
	for _, p := range r.Pairs {
		if p.Candidate != "nats" {
			continue
		}
		d.say("\n%-16s %9s %9s", "fault on NATS", "injected", "found")
		for _, row := range []struct {
			name, counter string
			found         int64
		}{
			{"missing", "faults_drop", p.Total.Missing},
			{"duplicate", "faults_dup", p.Total.Duplicate},
			{"reordered", "faults_reorder", p.Total.Reordered},
			{"payload differs", "faults_corrupt", p.Total.PayloadDiffers},
		} {
			d.say("%-16s %9d %9d", row.name, counters[row.counter], row.found)
		}
	}
}

func (d *demo) write(r *report.Report) error {
	for _, f := range []struct {
		path  string
		write func(io.Writer, *report.Report) error
	}{{d.options.html, report.WriteHTML}, {d.options.json, report.WriteJSON}} {
		if f.path == "" {
			continue
		}
		if err := writeFile(f.path, func(w io.Writer) error { return f.write(w, r) }); err != nil {
			return err
		}
		d.say("written  %s", f.path)
	}
	return nil
}

// say prints a line; a closed output does not end the demo.
func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format+"\n", args...)
}

// writeFile writes a file whole, or leaves none behind.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	return write(f)
}
