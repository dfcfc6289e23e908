package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/plugins"
)

// version is the release; builds of a release set it with -ldflags "-X main.version=…".
var version = "development"

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go version and plugin contract version",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "offramp %s\ncommit %s\ngo %s %s/%s\nplugin contract %d\n",
				version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH, plugins.ContractVersion)
			return err
		},
	}
}

// commit returns what the Go tool recorded of the checkout at build time.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " with local changes"
		}
	}
	return revision + dirty
}
