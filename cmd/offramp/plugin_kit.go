package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/translatortest"
)

func newPluginTestCommand() *cobra.Command {
	var settings, junit, down, up string
	var only []string
	cmd := &cobra.Command{
		Use:   "test NAME_OR_PATH",
		Short: "Run the conformance kit against a plugin",
		Long: `Starts the plugin as a process, again and again, and holds it to the plugin
contract: one suite per rule. What the plugin does not declare is skipped and
listed; what it declares must hold. It ends with the fidelity table.

The backend that the settings name must be running; the kit publishes on
channels whose names begin with "kit-".

With --down and --up the kit also takes the backend away, and back: both are
commands for sh, such as "systemctl stop mybackend", that return when it is done.

Exit status: 0 every rule holds, 1 one does not, 3 the plugin could not be tested.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range only {
				if !slices.Contains(translatortest.Names(), name) {
					return withCode(exitTool, fmt.Errorf("there is no suite %q: use %s", name, strings.Join(translatortest.Names(), ", ")))
				}
			}
			options, err := kitOptions(args[0], settings)
			if err != nil {
				return withCode(exitTool, err)
			}
			options.Only = only
			if down != "" {
				options.Outage = outage(cmd.Context(), cmd.ErrOrStderr(), down, up)
			}
			return runKit(cmd.Context(), cmd.OutOrStdout(), options, junit)
		},
	}
	cmd.Flags().StringVar(&settings, "settings", "", "YAML `file` with the plugin's settings")
	cmd.Flags().StringVar(&junit, "junit", "", "write the results to this `file` as JUnit XML")
	cmd.Flags().StringSliceVar(&only, "only", nil, "run these `suites` only")
	cmd.Flags().StringVar(&down, "down", "", "`command` that stops the backend")
	cmd.Flags().StringVar(&up, "up", "", "`command` that starts it again")
	cmd.MarkFlagsRequiredTogether("down", "up")
	return cmd
}

// outage takes the backend away, and back, by commands of the operator's.
func outage(ctx context.Context, out io.Writer, down, up string) func() (func(), error) {
	run := func(command string) error {
		cmd := exec.CommandContext(ctx, "sh", "-c", command) //nolint:gosec // what the operator has asked for
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run %q: %w", command, err)
		}
		return nil
	}
	return func() (func(), error) {
		restore := func() {
			if err := run(up); err != nil {
				_, _ = fmt.Fprintln(out, err) // the kit finds that the backend is not back
			}
		}
		return restore, run(down)
	}
}

// kitOptions says how to start a plugin, and with which settings to test it.
func kitOptions(nameOrPath, settings string) (translatortest.Options, error) {
	var o translatortest.Options
	var err error
	if o.Command, err = pluginCommand(nameOrPath); err != nil {
		return o, err
	}
	if settings == "" {
		return o, nil
	}
	raw, err := os.ReadFile(settings)
	if err != nil {
		return o, fmt.Errorf("read settings: %w", err)
	}
	o.Settings = translators.Settings{}
	if err := yaml.Unmarshal(raw, &o.Settings); err != nil {
		return o, fmt.Errorf("read settings: %s is not YAML: %w", settings, err)
	}
	return o, nil
}

// pluginCommand returns how to run a plugin, by name or by path.
func pluginCommand(nameOrPath string) (host.Command, error) {
	executable, err := os.Executable()
	if err != nil {
		return host.Command{}, fmt.Errorf("find this program: %w", err)
	}
	return host.Find(nameOrPath, executable, builtinPlugins())
}

func runKit(ctx context.Context, out io.Writer, o translatortest.Options, junit string) error {
	report, err := translatortest.Check(ctx, o)
	if err != nil {
		return withCode(exitTool, err)
	}
	if err := report.WriteText(out); err != nil {
		return withCode(exitTool, err)
	}
	if junit != "" {
		if err := writeJUnit(report, junit); err != nil {
			return withCode(exitTool, err)
		}
	}
	if !report.Passed() {
		return &exitError{code: exitFailed}
	}
	return nil
}

func writeJUnit(report translatortest.Report, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write junit: %w", err)
	}
	return errors.Join(report.WriteJUnit(file), file.Close())
}
