package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/shadow/report"
)

func newReportDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff A.json B.json",
		Short: "What changed between two reports",
		Long: `Prints what changed from report A to report B: verdict, gates and findings.

Exit status: 0 no difference, 1 differences, 3 a file cannot be read.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, errA := readReport(args[0])
			b, errB := readReport(args[1])
			if err := errors.Join(errA, errB); err != nil {
				return withCode(exitTool, err)
			}
			changes := report.Diff(a, b)
			if err := report.WriteDiff(cmd.OutOrStdout(), changes); err != nil {
				return withCode(exitTool, err)
			}
			if len(changes) > 0 {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
}

func newReportVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify A.json",
		Short: "Recompute a report's verdict from its cells",
		Long: `Recomputes the verdict from the cells that the report holds.

Exit status: 0 it is what the report says, 1 it is not, 3 the file cannot be read.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := readReport(args[0])
			if err != nil {
				return withCode(exitTool, err)
			}
			if err := report.Verify(r); err != nil {
				return err
			}
			changed, err := r.ChangedGates()
			if err != nil {
				return withCode(exitTool, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the verdict %s follows from its cells\n", args[0], r.Verdict.State)
			if err == nil && len(changed) > 0 {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "by gates that are not the defaults: %s\n", strings.Join(changed, ", "))
			}
			return err
		},
	}
}
