package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/faulty"
	"github.com/offramp/offramp/translators/nats"
	"github.com/offramp/offramp/translators/pusher"
	"github.com/offramp/offramp/translators/redis"
)

// builtin is a translator that is part of this binary and runs as a process
// of its own: `offramp plugin serve NAME`.
type builtin struct {
	name    string
	summary string
	new     func() translators.Translator
}

// builtins lists the translators of this binary, by name.
func builtins() []builtin {
	return []builtin{
		{"nats", "subjects of a NATS server, core or JetStream", func() translators.Translator { return faulty.Wrap(nats.New()) }},
		{"pusher", "the vendor, another gateway, or a Pusher-compatible server", func() translators.Translator { return faulty.Wrap(pusher.New()) }},
		{"redis", "channels or streams of a Redis or Valkey server", func() translators.Translator { return faulty.Wrap(redis.New()) }},
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
	cmd.AddCommand(newPluginListCommand(), newPluginServeCommand())
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
			fmt.Fprintln(table, "PLUGIN\tCARRIES")
			for _, b := range builtins() {
				fmt.Fprintf(table, "%s\t%s\n", b.name, b.summary)
			}
			return table.Flush()
		},
	}
}

// newPluginServeCommand is how the gateway runs a built-in translator.
func newPluginServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "serve NAME",
		Short:  "Run a built-in translator; the gateway does this",
		Hidden: true,
		Args:   arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, b := range builtins() {
				if b.name == args[0] {
					return plugins.Serve(b.new())
				}
			}
			return fmt.Errorf("there is no built-in plugin %q: use one of %s", args[0], strings.Join(builtinPlugins(), ", "))
		},
	}
}
