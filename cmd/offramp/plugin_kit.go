package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/translatortest"
)

func newPluginTestCommand() *cobra.Command {
	var settings, junit string
	var only []string
	cmd := &cobra.Command{
		Use:   "test NAME_OR_PATH",
		Short: "Run the conformance kit against a plugin",
		Long: `Starts the plugin as a process, again and again, and holds it to the plugin
contract: one suite per rule. What the plugin does not declare is skipped and
listed; what it declares must hold. It ends with the fidelity table.

The backend that the settings name must be running; the kit publishes on
channels whose names begin with "kit-".

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
			return runKit(cmd.Context(), cmd.OutOrStdout(), options, junit)
		},
	}
	cmd.Flags().StringVar(&settings, "settings", "", "YAML `file` with the plugin's settings")
	cmd.Flags().StringVar(&junit, "junit", "", "write the results to this `file` as JUnit XML")
	cmd.Flags().StringSliceVar(&only, "only", nil, "run these `suites` only")
	return cmd
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
