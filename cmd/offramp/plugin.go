package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// builtin is a translator that is part of this binary and runs as a process
// of its own: `offramp plugin serve NAME`.
type builtin struct {
	name    string
	summary string
}

// builtins lists the translators of this binary, by name.
func builtins() []builtin {
	return []builtin{
		{"ably", "Ably channels, through its Go client"},
		{"centrifugo", "Centrifugo channels, through its server API"},
		{"mqtt", "topics of an MQTT broker"},
		{"nats", "subjects of a NATS server"},
		{"pusher", "another Pusher-compatible server"},
		{"redis", "Redis or Valkey publish/subscribe"},
		{"socketio", "rooms of a Socket.IO server"},
		{"supabase", "Supabase Realtime broadcast"},
	}
}

// builtinPlugins returns their names, for configuration checks.
func builtinPlugins() []string {
	var names []string
	for _, b := range builtins() {
		names = append(names, b.name)
	}
	return names
}

func newPluginCommand(subcommands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Translator plugins: list, scaffold, test",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPluginListCommand())
	cmd.AddCommand(subcommands...)
	return cmd
}

func newPluginListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the built-in translators",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "PLUGIN\tCARRIES") //nolint:errcheck // Flush reports it
			for _, b := range builtins() {
				fmt.Fprintf(table, "%s\t%s\n", b.name, b.summary) //nolint:errcheck // Flush reports it
			}
			return table.Flush()
		},
	}
}
