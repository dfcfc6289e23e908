package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow/inventory"
	"github.com/offramp/offramp/shadow/plan"
	"github.com/offramp/offramp/shadow/report"
)

// appFlags name a running gateway and one of its apps.
func appFlags(cmd *cobra.Command, t *stageTarget) {
	f := cmd.Flags()
	f.StringVar(&t.file, "config", "", "configuration file of the gateway, which names its admin address")
	f.StringVar(&t.admin, "admin", "", "admin address, such as http://127.0.0.1:6002; its token is read from OFFRAMP_ADMIN_TOKEN")
	f.StringVar(&t.app, "app", "", "app id; needed when there are several")
}

// newTrafficCommand returns a command that reads an app's inventory from the
// running gateway and makes something of it.
func newTrafficCommand(env configs.Environment, use, short, long string, formats []string,
	make func(ctx context.Context, w io.Writer, format string, t *stageTarget, d inventory.Document) error,
) *cobra.Command {
	t := new(stageTarget)
	var format string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: noArguments,
		Long: long + "\n\nExit status: 0 done, 3 the tool itself failed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !contains(formats, format) {
				return withCode(exitTool, fmt.Errorf("unknown format %q: use one of %v", format, formats))
			}
			if err := t.find(cmd.Context(), env); err != nil {
				return withCode(exitTool, err)
			}
			var d inventory.Document
			if err := t.client.get(cmd.Context(), t.path("inventory"), nil, &d); err != nil {
				return withCode(exitTool, err)
			}
			return withCode(exitTool, make(cmd.Context(), cmd.OutOrStdout(), format, t, d))
		},
	}
	appFlags(cmd, t)
	cmd.Flags().StringVar(&format, "format", formats[0], fmt.Sprintf("one of %v", formats))
	return cmd
}

func contains(list []string, text string) bool {
	for _, s := range list {
		if s == text {
			return true
		}
	}
	return false
}

func writeIndented(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

func newInventoryCommand(env configs.Environment) *cobra.Command {
	return newTrafficCommand(env, "inventory", "What the app uses, seen in its own traffic",
		`Prints what the running gateway has seen an app use: channels by learned
pattern, events, clients by SDK and version, features, sizes and rates.`,
		[]string{"terminal", "json"},
		func(_ context.Context, w io.Writer, format string, _ *stageTarget, d inventory.Document) error {
			if format == "json" {
				return writeIndented(w, d)
			}
			return printInventory(w, d)
		})
}

func printInventory(w io.Writer, d inventory.Document) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(table, format+"\n", args...) }
	if d.To.IsZero() {
		row("app %s: no traffic was seen yet", d.App)
		return table.Flush()
	}
	row("app %s, %s to %s", d.App, d.From.Local().Format(time.DateTime), d.To.Local().Format(time.DateTime))
	row("peaks: %d connections, %d publishes a second, %d subscriptions of one channel\n",
		d.Peaks.Connections, d.Peaks.PublishesPerSecond, d.Peaks.SubscriptionsOfOneChannel)
	row("CHANNELS\tTYPE\tNAMES\tSUBSCRIPTIONS\tEVENTS\tLARGEST")
	for _, c := range d.Channels {
		row("%s\t%s\t%d\t%d\t%d\t%d", c.Pattern, c.Type, c.Distinct, c.Subscriptions, c.Events, c.BytesMax)
	}
	row("\nEVENT\tFROM\tCOUNT\tLARGEST")
	for _, e := range d.Events {
		row("%s\t%s\t%d\t%d", e.Name, e.Publisher, e.Count, e.BytesMax)
	}
	row("\nCLIENT\tVERSION\tPROTOCOL\tTRANSPORT\tCONNECTIONS\tLAST SEEN")
	for _, c := range d.Clients {
		row("%s\t%s\t%d\t%s\t%d\t%s", c.Library, c.Version, c.Protocol, c.Transport, c.Connections, c.LastSeen.Local().Format(time.DateTime))
	}
	row("\nFEATURE\tTIMES")
	for _, f := range d.Features {
		row("%s\t%d", f.Name, f.Count)
	}
	row("\nDAY (UTC)\tAPI CALLS\tCLIENT EVENTS\tDELIVERIES\tPRESENCE\tMESSAGES")
	for _, day := range d.Days {
		row("%s\t%d\t%d\t%d\t%d\t%d", day.Date, day.APICalls, day.ClientEvents, day.Deliveries, day.Presence, day.Total())
	}
	return table.Flush()
}

func newAssessCommand(env configs.Environment) *cobra.Command {
	return newTrafficCommand(env, "assess", "Readiness to leave, with blockers",
		`Weighs what the app was seen to use: what blocks an exit, what needs a decision,
and what is of no concern, with what to do about each.`,
		[]string{"terminal", "json"},
		func(_ context.Context, w io.Writer, format string, _ *stageTarget, d inventory.Document) error {
			a := plan.Assess(d)
			if format == "json" {
				return writeIndented(w, a)
			}
			if _, err := fmt.Fprintf(w, "app %s: %s\n", a.App, a.Seen); err != nil {
				return err
			}
			for _, f := range a.Findings {
				if _, err := fmt.Fprintf(w, "\n%-7s  %s (%s)\n         %s\n", f.Level, f.Subject, f.Evidence, f.Action); err != nil {
					return err
				}
			}
			return nil
		})
}

func newPlanCommand(env configs.Environment) *cobra.Command {
	var start string
	var team int
	cmd := newTrafficCommand(env, "plan", "A dated plan out, with live gates",
		`Dates the way out from what the app uses and where it stands, with an owner and
an end for each step; the step under way shows what the report says now.`,
		[]string{"markdown", "ics", "json"},
		func(ctx context.Context, w io.Writer, format string, t *stageTarget, d inventory.Document) error {
			in := plan.Input{Start: time.Now(), Now: time.Now(), Team: team, Assessment: plan.Assess(d)}
			if start != "" {
				at, err := time.ParseInLocation(time.DateOnly, start, time.Local)
				if err != nil {
					return fmt.Errorf("--start %q is not a day such as 2026-12-01", start)
				}
				in.Start = at
			}
			if err := t.standing(ctx, &in); err != nil {
				return err
			}
			p := plan.Make(in)
			switch format {
			case "ics":
				return p.WriteICS(w)
			case "json":
				return writeIndented(w, p)
			}
			return p.WriteMarkdown(w)
		})
	cmd.Flags().StringVar(&start, "start", "", "first day, such as 2026-12-01; default: today")
	cmd.Flags().IntVar(&team, "team", 2, "people who work on it")
	return cmd
}

// standing fills in where the app stands and what its report says.
func (t *stageTarget) standing(ctx context.Context, in *plan.Input) error {
	var view stageView
	if err := t.client.get(ctx, t.path("stage"), nil, &view); err != nil {
		return err
	}
	in.Stage = view.Stage
	if view.Stage < proxy.StageShadow {
		return nil
	}
	in.Report = new(report.Report)
	return t.client.get(ctx, t.path("report"), url.Values{}, in.Report)
}

func newCostCommand(env configs.Environment) *cobra.Command {
	var prices string
	cmd := newTrafficCommand(env, "cost", "Vendor bill, migration surcharge, self-hosted cost",
		`Computes the vendor's bill from counted messages, what migrating adds to it, and
what servers of your own cost. The tiers are in a file that you can edit.`,
		[]string{"terminal", "json"},
		func(_ context.Context, w io.Writer, format string, _ *stageTarget, d inventory.Document) error {
			p, err := plan.ReadPrices(prices)
			if err != nil {
				return err
			}
			c := plan.Bill(d, p)
			if format == "json" {
				return writeIndented(w, c)
			}
			return printCost(w, c)
		})
	cmd.Flags().StringVar(&prices, "prices", "", "price file (YAML); default: the built-in one")
	return cmd
}

func printCost(w io.Writer, c plan.Cost) error {
	tier := func(t plan.TierChoice) string {
		if t.Tier == "" {
			return "above the largest listed tier"
		}
		return fmt.Sprintf("%s, %.0f %s a month", t.Tier, t.PerMonth, c.Currency)
	}
	_, err := fmt.Fprintf(w, `app %s, busiest day %s: %d messages (%d API calls, %d client events, %d deliveries, %d presence), %d connections at most

vendor            %s
while migrating   %s (at most %d messages a day)
self-hosted       %d servers, %.0f %s a month; %.0f MiB for connections

prices: %s. The vendor sums all apps of an account.
`, c.App, c.Day.Date, c.Day.Total(), c.Messages.APICalls, c.Messages.ClientEvents, c.Messages.Deliveries, c.Messages.Presence, c.Peak,
		tier(c.Vendor), tier(c.During), c.During.Messages, c.Own.Servers, c.Own.PerMonth, c.Currency, c.Own.MiB, c.Source)
	return err
}
