package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/plugins/scaffold"
)

func newPluginNewCommand() *cobra.Command {
	var p scaffold.Plugin
	var dir string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the module of a new plugin",
		Long: `Writes a Go module that builds, passes the conformance kit against a stand-in
backend, and leaves one file to make your own: translator.go.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Name = args[0]
			if dir == "" {
				dir = p.Name
			}
			p.Go, p.Version = goVersion(), moduleVersion()
			if p.Replace != "" {
				absolute, err := filepath.Abs(p.Replace)
				if err != nil {
					return withCode(exitTool, err)
				}
				p.Replace = absolute
			}
			if err := p.Write(dir); err != nil {
				return withCode(exitTool, err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), `%[1]s is written. Next:

  cd %[1]s
  go mod tidy
  go test ./...          the conformance kit, against a stand-in
  $EDITOR translator.go  make it speak to your backend
`, dir)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`directory` to write into (default: the name)")
	cmd.Flags().StringVar(&p.Module, "module", "", "`path` of the Go module (default: the name)")
	cmd.Flags().StringVar(&p.Replace, "offramp", "", "build against the Offramp checkout in this `directory`")
	return cmd
}

// goVersion returns the language version, such as "1.26".
func goVersion() string {
	v := strings.TrimPrefix(runtime.Version(), "go")
	if major, rest, ok := strings.Cut(v, "."); ok {
		minor, _, _ := strings.Cut(rest, ".")
		return major + "." + minor
	}
	return v
}

// moduleVersion returns the version of this program's own module, or one that
// only a replacement satisfies when it was built from a checkout.
func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") && !strings.Contains(info.Main.Version, "+") {
		return info.Main.Version
	}
	return "v0.0.0"
}

func newPluginLockCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "lock PATH...",
		Short: "Pin the checksums of plugin executables",
		Long: `Writes plugins.lock: name, version and SHA-256 of each executable. Beside a
configuration file, it makes the gateway refuse any other executable.`,
		Args: arguments(1, 100),
		RunE: func(cmd *cobra.Command, args []string) error {
			var lock host.Lock
			for _, path := range args {
				locked, err := lockedPlugin(cmd, path)
				if err != nil {
					return withCode(exitTool, fmt.Errorf("lock %s: %w", path, err))
				}
				lock.Plugins = append(lock.Plugins, locked)
			}
			if err := lock.Write(file); err != nil {
				return withCode(exitTool, err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s pins %d plugins\n", file, len(lock.Plugins))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "file", "plugins.lock", "lock `file` to write")
	return cmd
}

var errBuiltin = errors.New("it is built in, and part of this program")

func lockedPlugin(cmd *cobra.Command, path string) (host.LockedPlugin, error) {
	command, err := pluginCommand(path)
	if err != nil {
		return host.LockedPlugin{}, err
	}
	if len(command.Args) > 0 {
		return host.LockedPlugin{}, errBuiltin
	}
	sum, err := host.Checksum(command.Path)
	if err != nil {
		return host.LockedPlugin{}, err
	}
	process, err := host.Launch(cmd.Context(), command)
	if err != nil {
		return host.LockedPlugin{}, err
	}
	defer process.Stop()
	d, err := process.Client.Describe(cmd.Context())
	return host.LockedPlugin{Name: d.Name, Version: d.Version, SHA256: sum, Source: path}, err
}
