package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
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
	if o.against == "" {
		ev, err = judgeExhibit(x)
	} else {
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
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "\n%s, judged again on %s: %s\n", strings.ReplaceAll(x.Finding, "_", " "), who, verdict); err != nil {
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
	fmt.Fprintf(t, "%s: %s on %s, %s, %s\n\n", x.ID, strings.ReplaceAll(x.Finding, "_", " "), x.Channel, x.Event, x.At.UTC().Format(time.RFC3339Nano))
	fmt.Fprintf(t, "\tms\tpublished\t%s\t%s\tbytes\tshape\n", x.Reference, x.Candidate)
	for _, f := range x.Frames {
		mark, column := "", [3]string{}
		if f.Subject {
			mark = ">"
		}
		what := f.Event + " " + cmp.Or(f.Digest, "(not kept)")
		switch f.Leg {
		case x.Reference:
			column[1] = what
		case x.Candidate:
			column[2] = what
		default:
			column[0] = what
		}
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\t%s\t%d\t%s\n", mark, float64(f.At.Sub(start).Microseconds())/1000, column[0], column[1], column[2], f.Bytes, f.Shape)
	}
	return t.Flush()
}

// exhibitApp is an app whose channels have an exhibit's two legs.
func exhibitApp(x *report.Exhibit) *proxy.App {
	app := proxy.Defaults()
	app.ID = "exhibit"
	if proxy.Leg(x.Reference) == proxy.LegVendor {
		app.Upstream, app.Stage = new(proxy.Upstream), proxy.StageShadow
	}
	if proxy.Leg(x.Candidate) != proxy.LegEngine {
		app.Backends = []proxy.Backend{{Name: x.Candidate, Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1}}
	}
	return &app
}

// before is for how long clients have been subscribed when the first frame of
// an exhibit comes.
const before = time.Minute

// judgeExhibit compares an exhibit's frames anew.
func judgeExhibit(x *report.Exhibit) (shadow.Evidence, error) {
	app := exhibitApp(x)
	records := exhibitRecords(app, x)
	return shadow.Replay(shadow.Settings{Apps: oneApp(app)}, app.ID, func() (r proxy.Record, err error) {
		if len(records) == 0 {
			return r, io.EOF
		}
		r, records = records[0], records[1:]
		return r, nil
	})
}

// exhibitRecords returns what the comparator was shown, as far as the exhibit
// tells.
func exhibitRecords(app *proxy.App, x *report.Exhibit) []proxy.Record {
	topic := proxy.Topic{App: app.ID, Channel: protocol.ChannelName(x.Channel)}
	reference, candidate := proxy.Leg(x.Reference), proxy.Leg(x.Candidate)
	// The vendor is seen through a relayed socket, and the engine beside it
	// through that socket's double.
	socket := func(leg proxy.Leg) protocol.SocketID {
		if leg == proxy.LegVendor || (leg == proxy.LegEngine && reference == proxy.LegVendor) {
			return "1.1"
		}
		return ""
	}
	var records []proxy.Record
	for _, leg := range []proxy.Leg{reference, candidate} {
		if leg == proxy.LegVendor || leg == proxy.LegEngine {
			records = append(records, proxy.Record{
				Kind: proxy.KindSubscribed, At: x.Frames[0].At.Add(-before), Leg: leg, Topic: topic, Socket: "1.1", Count: 2,
			})
		}
	}
	backend := candidate != proxy.LegEngine && candidate != proxy.LegVendor
	handed := 0
	for i := range x.Frames {
		f := &x.Frames[i]
		ev := standIn(topic, f)
		if f.Leg != "" {
			records = append(records, proxy.Record{
				Kind: proxy.KindDelivered, At: f.At, Leg: proxy.Leg(f.Leg), Topic: topic, Event: ev, Socket: socket(proxy.Leg(f.Leg)), Count: 1,
			})
			continue
		}
		ev.At = f.At
		records = append(records, proxy.Record{Kind: proxy.KindPublished, At: f.At, Leg: reference, Topic: topic, Event: ev})
		if backend {
			handed++
			records = append(records, proxy.Record{
				Kind: proxy.KindMirrored, At: f.At, Leg: candidate, Topic: topic, Event: ev, Text: "OK", Count: handed,
			})
		}
	}
	return records
}

// standIn returns an event with a payload in the place of the one that an
// exhibit does not hold: as long as that one, and equal to others with the
// same digest.
func standIn(topic proxy.Topic, f *report.Step) *proxy.Event {
	payload := fmt.Sprintf(`{"stands_in_for":%q}`, f.Digest)
	if missing := f.Bytes - len(payload); missing > 0 {
		payload += strings.Repeat(" ", missing)
	}
	ev := &proxy.Event{Topic: topic, Name: f.Event, Data: []byte(payload)}
	if id, ok := proxy.ParseEventID(f.EventID); ok {
		ev.ID = id
	}
	return ev
}

// exhibitPublishes are the publishes among an exhibit's frames; where none
// passed the gateway, what the reference delivered.
func exhibitPublishes(x *report.Exhibit) publications {
	leg := ""
	if !slices.ContainsFunc(x.Frames, func(f report.Step) bool { return f.Leg == "" }) {
		leg = x.Reference
	}
	return func(yield func(publication) error) error {
		for i := range x.Frames {
			f := &x.Frames[i]
			if f.Leg != leg {
				continue
			}
			ev := standIn(proxy.Topic{Channel: protocol.ChannelName(x.Channel)}, f)
			if err := yield(publication{at: f.At, event: *ev}); err != nil {
				return err
			}
		}
		return nil
	}
}
