package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newPluginDevCommand() *cobra.Command {
	var settings string
	cmd := &cobra.Command{
		Use:   "dev DIR",
		Short: "Build and test a plugin each time its source changes",
		Long: `Builds the Go command in DIR and runs the conformance kit against it, again
after every change to a file there, until it is interrupted.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			bin, err := os.MkdirTemp("", "offramp-dev")
			if err != nil {
				return withCode(exitTool, err)
			}
			defer os.RemoveAll(bin) //nolint:errcheck // the system's temporary directory
			l := devLoop{dir: args[0], binary: filepath.Join(bin, "plugin"), settings: settings, out: cmd.OutOrStdout()}
			return withCode(exitTool, l.run(cmd.Context()))
		},
	}
	cmd.Flags().StringVar(&settings, "settings", "", "YAML `file` with the plugin's settings")
	return cmd
}

// devLoop builds and tests one plugin.
type devLoop struct {
	dir, binary, settings string
	out                   io.Writer
}

// lookEvery is how often the source is looked at.
const lookEvery = 500 * time.Millisecond

func (l devLoop) run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var built time.Time
	for {
		changed, err := l.lastChange()
		if err != nil {
			return err
		}
		if changed.After(built) {
			built = changed
			l.once(ctx)
			fmt.Fprintln(l.out, "\nwaiting for a change; interrupt to end") //nolint:errcheck // a terminal
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// once builds and tests, and says what went wrong.
func (l devLoop) once(ctx context.Context) {
	build := exec.CommandContext(ctx, "go", "build", "-o", l.binary, ".") //nolint:gosec // a path that was made here
	build.Dir = l.dir
	build.Stdout, build.Stderr = l.out, l.out
	if err := build.Run(); err != nil {
		fmt.Fprintln(l.out, "it does not build:", err) //nolint:errcheck // a terminal
		return
	}
	options, err := kitOptions(l.binary, l.settings)
	if err == nil {
		err = runKit(ctx, l.out, options, "")
	}
	if silent := new(exitError); err != nil && (!errors.As(err, &silent) || silent.err != nil) {
		fmt.Fprintln(l.out, err) //nolint:errcheck // a terminal
	}
}

// lastChange returns when a source file was last changed.
func (l devLoop) lastChange() (time.Time, error) {
	var last time.Time
	err := filepath.WalkDir(l.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != l.dir {
			return filepath.SkipDir
		}
		if name := entry.Name(); !strings.HasSuffix(name, ".go") && name != "go.mod" {
			return nil
		}
		info, err := entry.Info()
		if err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
		return err
	})
	if err == nil && last.IsZero() {
		err = fmt.Errorf("there is no Go source in %s", l.dir)
	}
	return last, err
}
