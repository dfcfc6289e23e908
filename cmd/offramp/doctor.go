package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
)

// finding is what one check of the doctor found.
type finding struct {
	Check  string `json:"check"`  // what was looked at: "names", "clock", a client's file
	Health health `json:"health"` // how it is
	What   string `json:"what"`   // the fact, as a sentence without its full stop
	Fix    string `json:"fix,omitempty"`
}

// health grades a finding.
type health string

const (
	healthy health = "ok"
	watch   health = "warn" // works now, may not later
	broken  health = "fail"
)

func newDoctorCommand(env configs.Environment) *cobra.Command {
	var at target
	var file string
	var asJSON bool
	var idle time.Duration
	cmd := &cobra.Command{
		Use:   "doctor [CLIENT…]",
		Short: "Check what usually breaks an exit: names, certificates, clocks, limits, proxies, client configurations",
		Long: `Looks at a server the way its clients do: name, certificate, clock, WebSocket
upgrade, signed request, HTTP fallback; and at this machine's limits.

A CLIENT is a file with a client's configuration or source (pusher-js, Laravel
Echo, Java, Swift, .NET, React Native, Flutter), "-" for standard input, a
ws:// URL, or the URL of a page; the doctor says which hosts that client can
reach. With CLIENTs alone, no server is looked at unless --host or --config is
given.

  offramp doctor --host ws.example.com --tls
  offramp doctor --host ws.example.com resources/js/bootstrap.js

Exit status: 0 nothing is broken, 1 otherwise.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, clients []string) error {
			ctx := cmd.Context()
			var found []finding
			if file != "" {
				config, err := configs.Load(file, env, builtinPlugins()...)
				if err != nil {
					return withCode(exitConfig, err)
				}
				at.use(config)
				found = append(found, examineConfig(ctx, config)...)
			}
			_, hosted := env("PUSHER_HOST")
			judged := hosted || file != "" || cmd.Flags().Changed("host")
			if judged || len(clients) == 0 {
				found = append(found, examineServer(ctx, &at, idle)...)
				found = append(found, examineMachine()...)
			}
			for _, c := range clients {
				gateway := ""
				if judged {
					gateway = at.host
				}
				found = append(found, examineClient(ctx, c, cmd.InOrStdin(), gateway)...)
			}
			return conclude(cmd.OutOrStdout(), found, asJSON)
		},
	}
	at.addFlags(cmd, env)
	cmd.Flags().StringVar(&file, "config", "", "look at the gateway that this configuration file describes")
	cmd.Flags().DurationVar(&idle, "idle", 0, "keep a silent connection open for this long, to see whether a proxy cuts it; try 130s")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as a JSON list")
	return cmd
}

// use makes the target the gateway that a configuration describes, with its
// first app.
func (t *target) use(c *configs.Config) {
	t.host, t.port = hostPort(c.Listen)
	t.tls, t.prefix = c.TLS != nil, c.PathPrefix
	if c.TLS != nil && c.TLS.ACME != nil && len(c.TLS.ACME.Domains) > 0 {
		t.host = c.TLS.ACME.Domains[0]
	}
	app := c.Apps[0]
	t.appID, t.key, t.secret = app.ID, app.Credentials[0].Key, app.Credentials[0].Secret.Reveal()
}

// conclude prints the findings and decides the exit code.
func conclude(w io.Writer, found []finding, asJSON bool) error {
	counts := map[health]int{}
	for _, f := range found {
		counts[f.Health]++
	}
	if asJSON {
		if err := json.NewEncoder(w).Encode(found); err != nil {
			return err
		}
	} else if err := printFindings(w, found, counts); err != nil {
		return err
	}
	if counts[broken] > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

func printFindings(w io.Writer, found []finding, counts map[health]int) error {
	for _, f := range found {
		if _, err := fmt.Fprintf(w, "%-4s  %s: %s\n", f.Health, f.Check, f.What); err != nil {
			return err
		}
		if f.Fix != "" {
			if _, err := fmt.Fprintf(w, "      → %s\n", f.Fix); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "\n%d ok, %d to watch, %d broken\n", counts[healthy], counts[watch], counts[broken])
	return err
}

// examineConfig looks at what a configuration needs from the world.
func examineConfig(ctx context.Context, c *configs.Config) []finding {
	var found []finding
	if c.TLS != nil && c.TLS.ACME != nil {
		for _, name := range c.TLS.ACME.Domains {
			found = append(found, examineName(ctx, "certificate name "+name, name)...)
		}
	}
	for _, app := range c.Apps {
		if app.Upstream != nil {
			for _, base := range []string{app.Upstream.WebSocket, app.Upstream.API} {
				found = append(found, examineUpstream(ctx, "upstream of "+app.ID, base)...)
			}
		}
		for _, hook := range app.Webhooks {
			found = append(found, examineUpstream(ctx, "webhook receiver of "+app.ID, hook.URL)...)
		}
	}
	return found
}
