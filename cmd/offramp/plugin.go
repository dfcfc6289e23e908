package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/ably"
	"github.com/offramp/offramp/translators/centrifugo"
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
		{"ably", "channels of an Ably app", func() translators.Translator { return faulty.Wrap(ably.New()) }},
		{"centrifugo", "channels of a Centrifugo server", func() translators.Translator { return faulty.Wrap(centrifugo.New()) }},
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

func newPluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Translator plugins: list, scaffold, test",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPluginListCommand(), newPluginNewCommand(), newPluginTestCommand(), newPluginDevCommand(), newPluginLockCommand(),
		newPluginServeCommand())
	return cmd
}

func newPluginListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the built-in translators, and what survives in each",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "PLUGIN\tCARRIES")
			for _, b := range builtins() {
				fmt.Fprintf(table, "%s\t%s\n", b.name, b.summary)
			}
			fmt.Fprintln(table)
			writeFidelity(table)
			return table.Flush()
		},
	}
}

// writeFidelity writes the fidelity table: a column per translator, and then
// the notes that say what is emulated or lost.
func writeFidelity(table *tabwriter.Writer) {
	names := append([]string{"FEATURE"}, builtinPlugins()...)
	fmt.Fprintln(table, strings.ToUpper(strings.Join(names, "\t")))
	var notes []string
	for _, feature := range translators.Features() {
		row := []string{string(feature)}
		for _, b := range builtins() {
			f := b.new().Describe().Features[feature]
			row = append(row, strings.ToLower(f.Level.String()))
			if f.Note != "" {
				notes = append(notes, fmt.Sprintf("%s, %s: %s", b.name, feature, f.Note))
			}
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	fmt.Fprintf(table, "\n%s\n", strings.Join(notes, "\n"))
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
