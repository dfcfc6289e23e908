package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
)

func newCheckCommand(env configs.Environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Validate a configuration file and print every problem with its line and fix",
		Long: `Reads a configuration file as serve would and prints every problem at once,
each with its file, line, path and the fix. Nothing is started.

Exit status: 0 no problem, 2 otherwise.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			problems := configs.Check(args[0], env, builtinPlugins()...)
			if err := printProblems(cmd.OutOrStdout(), args[0], problems, asJSON); err != nil {
				return err
			}
			if len(problems) > 0 {
				return &exitError{code: exitConfig}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as a JSON list")
	return cmd
}

// printProblems writes what check found.
func printProblems(w io.Writer, file string, problems configs.Problems, asJSON bool) error {
	if asJSON {
		if problems == nil {
			problems = configs.Problems{}
		}
		return json.NewEncoder(w).Encode(problems)
	}
	for _, p := range problems {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	var err error
	switch len(problems) {
	case 0:
		_, err = fmt.Fprintf(w, "%s: no problems\n", file)
	case 1:
		_, err = fmt.Fprintln(w, "1 problem")
	default:
		_, err = fmt.Fprintf(w, "%d problems\n", len(problems))
	}
	return err
}
