package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/shadow/report"
)

// reportWriters are the forms of a report, by the name of --format.
var reportWriters = map[string]func(io.Writer, *report.Report) error{
	"terminal": report.WriteTerminal,
	"json":     report.WriteJSON,
	"html":     report.WriteHTML,
	"junit":    report.WriteJUnit,
}

func reportFormats() string {
	names := make([]string, 0, len(reportWriters))
	for name := range reportWriters {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// reportForm says how a report is judged and written.
type reportForm struct {
	format, out, rules string
}

func (o *reportForm) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "terminal", "one of "+reportFormats())
	f.StringVar(&o.rules, "rules", "", "judge by this file of ignore rules instead of the one that the configuration names; empty: by none")
	f.StringVar(&o.out, "out", "", "write to this file instead of the terminal")
}

func (o *reportForm) check() error {
	if _, ok := reportWriters[o.format]; !ok {
		return fmt.Errorf("unknown format %q: use one of %s", o.format, reportFormats())
	}
	return nil
}

// write judges a report by the rules that the flags name, if they do, and
// writes it. It returns an error that carries the verdict's exit status.
func (o *reportForm) write(cmd *cobra.Command, r *report.Report) error {
	err := o.check()
	if err == nil && cmd.Flags().Changed("rules") {
		var accepted []report.Rule
		if accepted, err = readRules(o.rules); err == nil {
			r.Accept(accepted)
		}
	}
	if err != nil {
		return withCode(exitTool, err)
	}
	write := reportWriters[o.format]
	if o.out == "" {
		err = write(cmd.OutOrStdout(), r)
	} else {
		if o.format == "json" || o.format == "html" {
			r.Name(o.out)
		}
		err = writeFile(o.out, func(w io.Writer) error { return write(w, r) })
	}
	if err != nil {
		return withCode(exitTool, err)
	}
	if code := r.ExitCode(); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// readRules reads a file of ignore rules; the empty path has none.
func readRules(path string) ([]report.Rule, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read ignore rules: %w", err)
	}
	defer func() { _ = f.Close() }()
	rules, err := report.ReadRules(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rules, nil
}
