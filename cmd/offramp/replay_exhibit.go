package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/report"
)

// replayExhibit shows an exhibit's frames and judges them again; or sends
// them to a backend and shows what it makes of them.
func (o *replayOptions) replayExhibit(cmd *cobra.Command, path string) error {
	r, err := readReport(path)
	if err != nil {
		return withCode(exitTool, err)
	}
	at := slices.IndexFunc(r.Exhibits, func(x report.Exhibit) bool { return x.ID == o.exhibit })
	if at < 0 {
		return withCode(exitTool, fmt.Errorf("%s has no exhibit %q: it has %d, from x1 on", path, o.exhibit, len(r.Exhibits)))
	}
	x := &r.Exhibits[at]
	if len(x.Frames) == 0 {
		return withCode(exitTool, fmt.Errorf("exhibit %s was kept by an older version, without its frames", x.ID))
	}
	var ev shadow.Evidence
	switch {
	case o.against == "":
		ev, err = judgeExhibit(x)
	case !hasEvents(x):
		err = fmt.Errorf("exhibit %s is about %s: there is no event in it to send to a backend; leave out --against", x.ID, words(x.Finding))
	default:
		ev, err = o.play(cmd.Context(), exhibitPublishes(x))
	}
	if err == nil {
		err = writeExhibit(cmd.OutOrStdout(), x)
	}
	if err != nil {
		return withCode(exitTool, err)
	}
	who := x.Candidate
	if o.against != "" {
		who = backendNameOf(o.against)
	}
	shows := x.Shows(ev)
	verdict := "it shows again"
	if !shows {
		verdict = "it does not show"
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "\n%s, judged again on %s: %s\n", words(x.Finding), who, verdict); err != nil {
		return withCode(exitTool, err)
	}
	if !shows {
		return &exitError{code: exitFailed}
	}
	return nil
}

// writeExhibit prints an exhibit frame by frame.
func writeExhibit(out io.Writer, x *report.Exhibit) error {
	start := x.Frames[0].At
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s: %s on %s, %s, %s\n\n", x.ID, words(x.Finding), x.Channel, x.Event, x.At.UTC().Format(time.RFC3339Nano))
	if x.Note != "" {
		fmt.Fprintf(t, "%s\n\n", x.Note)
	}
	fmt.Fprintf(t, "\tms\tpublished\t%s\t%s\tbytes\tshape\n", x.Reference, x.Candidate)
	for _, f := range x.Frames {
		mark, column := "", [3]string{}
		if f.Subject {
			mark = ">"
		}
		what := stepWords(f)
		switch f.Leg {
		case x.Reference:
			column[1] = what
		case x.Candidate:
			column[2] = what
		default:
			column[0] = what
		}
		size := ""
		if f.Kind == "" {
			size = strconv.Itoa(f.Bytes)
		}
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\t%s\t%s\t%s\n", mark, float64(f.At.Sub(start).Microseconds())/1000, column[0], column[1], column[2], size, f.Shape)
	}
	return t.Flush()
}

// stepWords say what happened in a step.
func stepWords(f report.Step) string {
	if f.Kind != "" {
		return f.Words()
	}
	text := f.Event + " " + cmp.Or(f.Digest, "(not kept)")
	if f.Leg == "" && f.Text != "" && f.Text != "OK" {
		text += ", answered " + f.Text
	}
	return text
}

// words turns an identifier into words.
func words(identifier string) string { return strings.ReplaceAll(identifier, "_", " ") }
