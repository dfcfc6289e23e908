package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/capture"
	"github.com/offramp/offramp/shadow/report"
)

// replayOptions are the flags of replay.
type replayOptions struct {
	exhibit           string
	against, settings string
	form              reportForm
}

func newReplayCommand() *cobra.Command {
	o := replayOptions{}
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Compare a recording, or an exhibit of a report, once more on this machine",
		Long: `FILE is a recording (offramp record), which is compared again as it was seen: the
same recording gives the same report, to the byte.

With --against the recorded publishes are sent, at the recorded pace, through a
gateway on this machine to a backend, and the report says what that backend made
of them:

  offramp replay traffic.capture --against nats --settings nats.yaml

FILE may also be a report, as JSON or HTML. With --exhibit one of its exhibits is
shown frame by frame, and its frames are judged anew; with --against they are
sent to a backend. Payloads that a recording or a report does not hold are stood
in for by others of the same length, equal where those were equal.

Exit status: 0 ready, 1 not ready, 2 too little data, 3 the tool itself failed;
for an exhibit: 0 the finding shows again, 1 it does not.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			recording, err := isCapture(args[0])
			switch {
			case err != nil:
				return withCode(exitTool, err)
			case recording && o.exhibit != "":
				return withCode(exitTool, fmt.Errorf("%s is a recording: --exhibit is for a report", args[0]))
			case recording:
				return o.replayCapture(cmd, args[0])
			case o.exhibit == "":
				return withCode(exitTool, fmt.Errorf("%s is no recording; of a report, name an exhibit with --exhibit, such as x1", args[0]))
			default:
				return o.replayExhibit(cmd, args[0])
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.exhibit, "exhibit", "", "id of an exhibit of the report, such as x1")
	f.StringVar(&o.against, "against", "", "send the publishes to a backend through this plugin: a built-in one's name, or the path of an executable")
	f.StringVar(&o.settings, "settings", "", "YAML file with the plugin's settings")
	o.form.addFlags(cmd)
	return cmd
}

// isCapture reports whether a file begins as a capture does: with gzip's mark.
func isCapture(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	mark, err := bufio.NewReader(f).Peek(2)
	if err != nil {
		return false, fmt.Errorf("%s is neither a recording nor a report: it is empty", path)
	}
	return mark[0] == 0x1f && mark[1] == 0x8b, nil
}

func (o *replayOptions) replayCapture(cmd *cobra.Command, path string) error {
	var ev shadow.Evidence
	var err error
	if o.against == "" {
		ev, err = compareCapture(path)
	} else {
		ev, err = o.play(cmd.Context(), capturedPublishes(path))
	}
	if err != nil {
		return withCode(exitTool, err)
	}
	gates := report.DefaultGates()
	gates.Observe = -1 // a recording is as long as it is
	// Of the time of the recording, so that the same one gives the same report.
	r := report.Build(ev, gates, report.Meta{GatewayVersion: version, Generated: ev.To})
	return o.form.write(cmd, r)
}

// compareCapture compares what a capture holds.
func compareCapture(path string) (ev shadow.Evidence, err error) {
	err = readCapture(path, func(r *capture.Reader) error {
		app := r.App()
		if app == nil {
			return errors.New("the recording does not say which app it is of; record it again")
		}
		ev, err = shadow.Replay(shadow.Settings{Apps: oneApp(app)}, app.ID, r.Next)
		return err
	})
	return ev, err
}

// oneApp looks up the only app there is.
func oneApp(app *proxy.App) func(string) (*proxy.App, bool) {
	return func(id string) (*proxy.App, bool) { return app, id == app.ID }
}

func readCapture(path string, read func(*capture.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the recording: %w", err)
	}
	defer func() { _ = f.Close() }()
	r, err := capture.NewReader(f)
	if err == nil {
		err = read(r)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// publication is an event to publish once more.
type publication struct {
	at    time.Time // when it was published
	event proxy.Event
}

// publications calls yield with each event, in order, until that fails.
type publications func(yield func(publication) error) error

// capturedPublishes are the events in a capture whose publish passed the
// gateway.
func capturedPublishes(path string) publications {
	return func(yield func(publication) error) error {
		return readCapture(path, func(r *capture.Reader) error {
			for {
				rec, err := r.Next()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if rec.Kind != proxy.KindPublished || rec.Event == nil {
					continue
				}
				at := rec.Event.At
				if at.IsZero() {
					at = rec.At
				}
				if err := yield(publication{at: at, event: *rec.Event}); err != nil {
					return err
				}
			}
		})
	}
}

// play sends publications through a gateway of its own to the backend that
// the flags name, and returns what came of it.
func (o *replayOptions) play(ctx context.Context, events publications) (ev shadow.Evidence, err error) {
	settings, err := readSettings(o.settings)
	if err != nil {
		return ev, err
	}
	dir, err := os.MkdirTemp("", "offramp-replay-")
	if err != nil {
		return ev, fmt.Errorf("make a directory for the replay's data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := newPlayer(dir, o.against, settings, events)
	if err != nil {
		return ev, err
	}
	return p.run(ctx)
}
