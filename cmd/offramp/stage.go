package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/admin"
	"github.com/offramp/offramp/proxy/route"
	"github.com/offramp/offramp/proxy/upstream"
)

// stageTarget is the running gateway, app and channels that a stage command
// is about.
type stageTarget struct {
	file, admin, app, channels string

	client adminClient
}

func newStageCommand(env configs.Environment) *cobra.Command {
	t := new(stageTarget)
	cmd := &cobra.Command{
		Use:   "stage",
		Short: "Where the migration stands: show, set, rollback, rearm, history",
		Long: `Shows and moves the stage of an app, or of the channels that match a pattern,
on the running gateway. Stages, in order: observe, shadow, mirror, canary,
cutover, exited. A move forward beyond shadow is refused unless the report says
that it is safe; --force overrides this, and the journal says so. The way back
is always open.

Exit status: 0 done, 1 refused by a gate, 3 the tool itself failed.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := cmd.PersistentFlags()
	f.StringVar(&t.file, "config", "", "configuration file of the gateway, which names its admin address")
	f.StringVar(&t.admin, "admin", "", "admin address, such as http://127.0.0.1:6002; its token is read from OFFRAMP_ADMIN_TOKEN")
	f.StringVar(&t.app, "app", "", "app id; needed when there are several")
	f.StringVar(&t.channels, "channels", "", "channel name pattern, such as 'presence-room-*'; empty: the whole app")
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		return withCode(exitTool, t.find(cmd.Context(), env))
	}
	cmd.AddCommand(newStageShowCommand(t), newStageSetCommand(t), newStageRollbackCommand(t), newStageRearmCommand(t), newStageHistoryCommand(t))
	return cmd
}

// find settles which gateway and app are meant.
func (t *stageTarget) find(ctx context.Context, env configs.Environment) error {
	if t.admin != "" {
		token, _ := env("OFFRAMP_ADMIN_TOKEN")
		t.client = adminClient{base: t.admin, token: token}
	} else {
		config, err := loadConfig(t.file, env)
		if err != nil {
			return err
		}
		t.client = adminOf(config)
	}
	if t.app != "" {
		return nil
	}
	var err error
	t.app, err = t.client.onlyApp(ctx)
	return err
}

func (t *stageTarget) path(what string) string {
	return "/api/v1/apps/" + url.PathEscape(t.app) + "/" + what
}

// author is who makes a change, for the journal.
func author() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return u.Username
}

func newStageShowCommand(t *stageTarget) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the stage of the app and of its channel rules",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var view stageView
			if err := t.client.get(cmd.Context(), t.path("stage"), nil, &view); err != nil {
				return withCode(exitTool, err)
			}
			return withCode(exitTool, printStage(cmd.OutOrStdout(), view))
		},
	}
}

func printStage(w io.Writer, view stageView) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CHANNELS\tSTAGE")
	for _, r := range view.Rules {
		state := route.State{Stage: r.Stage, Percent: r.Percent, By: r.By}
		fmt.Fprintf(table, "%s\t%s\n", r.Channels, state)
	}
	fmt.Fprintf(table, "all others of app %s\t%s\n", view.App, view.Stage)
	if view.Behind != "" {
		fmt.Fprintf(table, "\nOTHER NODES: %s\n", view.Behind)
	}
	if view.FailedOpen {
		fmt.Fprintln(table, "\nUPSTREAM DOWN: the engine stands in for it")
	}
	for _, t := range view.Trouble {
		fmt.Fprintf(table, "\nupstream: %s, %d times since %s, last: %s\n", t.Kind, t.Count, t.Since.Local().Format(time.DateTime), t.Text)
	}
	if err := printCopies(table, view.Copies); err != nil {
		return err
	}
	if view.Webhooks != "" {
		fmt.Fprintf(table, "\nwebhooks: %s\n", view.Webhooks)
	}
	printTripwire(table, view.Tripwire)
	for _, b := range view.Broken {
		fmt.Fprintf(table, "\nBRIDGE STOPPED on channels %s since %s: %s.\n%d events were not brought over. When the circle is undone: offramp stage rearm\n",
			b.Channels, b.Since.Local().Format(time.DateTime), b.Why, b.Kept)
	}
	return table.Flush()
}

// printCopies prints what waits for the upstream, and what it will not have.
func printCopies(w io.Writer, c *upstream.Copies) error {
	if c == nil || c.Waiting == 0 && c.Lost == 0 && c.Unkept == 0 {
		return nil
	}
	since := ""
	if !c.Oldest.IsZero() {
		since = ", the oldest since " + c.Oldest.Local().Format(time.DateTime)
	}
	_, err := fmt.Fprintf(w, "\ncopies for the upstream: %d wait%s; %d lost and %d not kept on disk since the start\n",
		c.Waiting, since, c.Lost, c.Unkept)
	return err
}

// printTripwire prints who is still seen at the upstream.
func printTripwire(w *tabwriter.Writer, t *upstream.Tripwire) {
	if t == nil {
		return
	}
	fmt.Fprintf(w, "\nTripwire until %s: %d clients and publishers seen at the upstream\n", t.Until.Local().Format(time.DateTime), len(t.Seen))
	if t.Error != "" {
		fmt.Fprintf(w, "the upstream does not say who is there: %s\n", t.Error)
	}
	if len(t.Seen) == 0 {
		return
	}
	fmt.Fprintln(w, "WHAT\tCHANNEL\tNAME\tCOUNT\tFIRST\tLAST")
	for _, s := range t.Seen {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", s.What, s.Channel, s.Name, s.Count, s.First.Local().Format(time.DateTime), s.Last.Local().Format(time.DateTime))
	}
}

func newStageSetCommand(t *stageTarget) *cobra.Command {
	var change admin.StageChange
	var percent int
	var by string
	cmd := &cobra.Command{
		Use:   "set STAGE",
		Short: "Move the app, or the channels of --channels, to a stage",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			change.Stage, change.Channels, change.By, change.Who = args[0], t.channels, proxy.Sticky(by), author()
			if cmd.Flags().Changed("percent") {
				change.Percent = &percent
			}
			var done stageMove
			err := t.client.call(cmd.Context(), http.MethodPut, t.path("stage"), nil, change, &done)
			if err != nil {
				return refusal(err)
			}
			return withCode(exitTool, printMove(cmd.OutOrStdout(), done))
		},
	}
	f := cmd.Flags()
	f.IntVar(&percent, "percent", 0, "canary: share on the engine, 0 to 100")
	f.StringVar(&by, "by", "", "canary: what the share is taken of: channel or user")
	f.BoolVar(&change.DryRun, "dry-run", false, "say what would happen, and change nothing")
	f.StringVar(&change.Why, "why", "", "the reason, for the journal")
	f.BoolVar(&change.Force, "force", false, "move in spite of the gates; the journal records it")
	return cmd
}

func newStageRollbackCommand(t *stageTarget) *cobra.Command {
	undo := admin.StageUndo{}
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Take the last move back; again: the one before",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			undo.Channels, undo.Who = t.channels, author()
			var done stageMove
			err := t.client.call(cmd.Context(), http.MethodPost, t.path("rollback"), nil, undo, &done)
			if err != nil {
				return refusal(err)
			}
			return withCode(exitTool, printMove(cmd.OutOrStdout(), done))
		},
	}
	cmd.Flags().StringVar(&undo.Why, "why", "", "the reason, for the journal")
	return cmd
}

func newStageRearmCommand(t *stageTarget) *cobra.Command {
	undo := admin.StageUndo{}
	cmd := &cobra.Command{
		Use:   "rearm",
		Short: "Open the bridge again that the loop breaker has stopped",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			undo.Channels, undo.Who = t.channels, author()
			var done stageRearmed
			err := t.client.call(cmd.Context(), http.MethodPost, t.path("rearm"), nil, undo, &done)
			if err != nil {
				return refusal(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "armed again: channels %s\n", strings.Join(done.Channels, ", "))
			return withCode(exitTool, err)
		},
	}
	cmd.Flags().StringVar(&undo.Why, "why", "", "the reason, for the journal")
	return cmd
}

func newStageHistoryCommand(t *stageTarget) *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "Print every move: when, who, what and why",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var view stageView
			if err := t.client.get(cmd.Context(), t.path("stage"), nil, &view); err != nil {
				return withCode(exitTool, err)
			}
			return withCode(exitTool, printHistory(cmd.OutOrStdout(), view.History))
		},
	}
}

func printHistory(w io.Writer, entries []route.Entry) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "#\tWHEN\tWHO\tWHAT\tWHY")
	for _, e := range entries {
		what := e.Move.String()
		if e.Note != "" {
			what = e.Note
		}
		if e.Undoes != 0 {
			what += fmt.Sprintf(" (takes back #%d)", e.Undoes)
		}
		if len(e.Overridden) > 0 {
			what += fmt.Sprintf(" (forced, against %d objections)", len(e.Overridden))
		}
		number := "-" // a note of this node's, of several
		if e.Seq != 0 {
			number = strconv.FormatUint(e.Seq, 10)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", number, e.At.Local().Format(time.DateTime), e.Who, what, e.Why)
	}
	return table.Flush()
}

func printMove(w io.Writer, m stageMove) error {
	verb := "done"
	if m.DryRun {
		verb = "would"
	}
	if _, err := fmt.Fprintf(w, "%s: %s\n", verb, m.Move); err != nil {
		return err
	}
	for _, o := range m.Overridden {
		if _, err := fmt.Fprintf(w, "forced against %s: %s\n", o.Gate, o.Text); err != nil {
			return err
		}
	}
	if m.Webhooks != "" {
		_, err := fmt.Fprintf(w, "webhooks: %s\n", m.Webhooks)
		return err
	}
	return nil
}

// refusal gives a gate's refusal its own exit code.
func refusal(err error) error {
	var answer *adminAnswer
	if errors.As(err, &answer) && answer.status == http.StatusConflict {
		return withCode(exitFailed, err)
	}
	return withCode(exitTool, err)
}
