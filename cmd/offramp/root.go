package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
)

// newRootCommand gathers every command.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "offramp",
		Short: "A gateway that lets an app leave Pusher Channels step by step, with evidence",
		Long: `Offramp stands between an app's clients and Pusher Channels. It serves the
same protocol, so no client changes; it shows what another backend would have
delivered, so that moving is a decision made on numbers.

  offramp serve          a gateway for development on 127.0.0.1:6001
  offramp demo           the whole road on this machine, ending in a report`,
		SilenceUsage:      true, // a mistake is answered with one sentence, not a page
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              unknownCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withCode(usageCode(cmd), fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath()))
	})
	env := configs.Environment(os.LookupEnv)
	root.AddCommand(
		newServeCommand(env),
		newDemoCommand(),
		newReportCommand(env),
		newRecordCommand(env),
		newReplayCommand(),
		newStageCommand(env),
		newInventoryCommand(env),
		newAssessCommand(env),
		newPlanCommand(env),
		newCostCommand(env),
		newPluginCommand(),
		newCheckCommand(env),
		newDoctorCommand(env),
		newTriggerCommand(env),
		newTailCommand(env),
		newBenchCommand(env),
		newChannelsCommand(env),
		newUsersCommand(env),
		newVersionCommand(),
	)
	return root
}

// unknownCommand answers a word that is no command, with the one that was
// probably meant.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	near := cmd.SuggestionsFor(args[0])
	if len(near) > 0 {
		return withCode(usageCode(cmd), fmt.Errorf("there is no command %q: did you mean %s?", args[0], strings.Join(near, " or ")))
	}
	return usage(cmd, fmt.Errorf("there is no command %q", args[0]))
}

// usageCode is the exit code for a command that was not understood: the one
// that the command uses for its own failure.
func usageCode(cmd *cobra.Command) int {
	for c := cmd; c != nil; c = c.Parent() {
		switch c.Name() {
		case "check":
			return exitConfig
		case "report", "replay", "stage", "inventory", "assess", "plan", "cost", "plugin", "demo":
			return exitTool
		}
	}
	return exitFailed
}
