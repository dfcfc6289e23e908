package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	pusher "github.com/pusher/pusher-http-go/v5"
	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
)

func newChannelsCommand(env configs.Environment) *cobra.Command {
	var at target
	var prefix string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "channels",
		Short: "List the occupied channels of any Pusher-compatible server",
		Long: `Lists the channels that have subscribers. The user count is asked for, and
answered by servers, on presence channels alone: use --prefix presence-.

Exit status: 0 answered, 1 otherwise.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var params pusher.ChannelsParams
			if prefix != "" {
				params.FilterByPrefix = &prefix
			}
			if len(prefix) >= len("presence-") && prefix[:len("presence-")] == "presence-" {
				info := "user_count"
				params.Info = &info
			}
			list, err := at.api().Channels(params)
			if err != nil {
				return at.failed("list channels", err)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "CHANNEL\tUSERS")
			for _, name := range slices.Sorted(maps.Keys(list.Channels)) {
				users := "-"
				if params.Info != nil {
					users = fmt.Sprint(list.Channels[name].UserCount)
				}
				fmt.Fprintf(table, "%s\t%s\n", name, users)
			}
			return table.Flush()
		},
	}
	at.addFlags(cmd, env)
	cmd.Flags().StringVar(&prefix, "prefix", "", "only channels whose name begins with this")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return cmd
}

func newUsersCommand(env configs.Environment) *cobra.Command {
	var at target
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "users CHANNEL",
		Short: "List the users on a presence channel of any Pusher-compatible server",
		Long:  "Lists the ids of the users on a presence channel, one a line.\n\nExit status: 0 answered, 1 otherwise.",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			users, err := at.api().GetChannelUsers(args[0])
			if err != nil {
				return at.failed("list the users of "+args[0], err)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(users)
			}
			for _, u := range users.List {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), u.ID); err != nil {
					return err
				}
			}
			return nil
		},
	}
	at.addFlags(cmd, env)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return cmd
}
