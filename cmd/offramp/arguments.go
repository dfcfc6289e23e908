package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// noArguments refuses words after a command that takes none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(cmd, fmt.Errorf("%s takes no arguments, and %q is one", cmd.CommandPath(), args[0]))
}

// arguments accepts from least to most words, which cmd.Use names.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		_, names, _ := strings.Cut(cmd.Use, " ")
		return usage(cmd, fmt.Errorf("%s needs %s, and got %d", cmd.CommandPath(), names, len(args)))
	}
}

// usage marks err as a mistake in how the command was called.
func usage(cmd *cobra.Command, err error) error {
	return withCode(usageCode(cmd), fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath()))
}
