package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func build(ev shadow.Evidence) *Report {
	return Build(ev, Gates{}, Meta{GatewayVersion: "1.0.0", Generated: start.Add(24 * time.Hour)})
}

func TestFormsOfTheReport(t *testing.T) {
	evidence := map[string]func() shadow.Evidence{
		"faulty": faulty, "clean": clean, "short": short,
		"nothing": func() shadow.Evidence { return shadow.Evidence{App: "app-id"} },
	}
	forms := map[string]func(io.Writer, *Report) error{
		"txt": WriteTerminal, "json": WriteJSON, "html": WriteHTML, "xml": WriteJUnit,
	}
	for name, make := range evidence {
		r := build(make())
		for ext, write := range forms {
			t.Run(name+"."+ext, func(t *testing.T) {
				var got bytes.Buffer
				if err := write(&got, r); err != nil {
					t.Fatal(err)
				}
				golden(t, filepath.Join("testdata", name+"."+ext+".golden"), got.Bytes())
			})
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; look at the change, and if it is right: go test ./shadow/report -update\n%s", path, firstDifference(got, want))
	}
}

func firstDifference(got, want []byte) string {
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer"
}

func TestTerminalFormStaysWithinFortyLines(t *testing.T) {
	ev := faulty()
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		more := ev.Pairs[0]
		more.Candidate = "candidate-with-a-rather-long-name-" + proxy.Leg(name)
		ev.Pairs = append(ev.Pairs, more)
	}
	var got bytes.Buffer
	if err := WriteTerminal(&got, build(ev)); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(got.String(), "\n"); lines > maxLines {
		t.Errorf("%d lines, want at most %d:\n%s", lines, maxLines, got.String())
	}
}

func TestReadReturnsWhatWasWritten(t *testing.T) {
	var first, second bytes.Buffer
	if err := WriteJSON(&first, build(faulty())); err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&second, r); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Error("a report that was read back writes another text")
	}
	if _, err := Read(strings.NewReader(`{"schema":"offramp.report/v9"}`)); err == nil || !strings.Contains(err.Error(), "offramp.report/v9") {
		t.Errorf("Read of another schema = %v, want an error that names it", err)
	}
}

func TestHTMLShowsTheNoiseWithItsBounds(t *testing.T) {
	var got bytes.Buffer
	r := build(made{minutes: 1, perCell: 2000, faults: func(string, int) shadow.Counts {
		return shadow.Counts{Reordered: 2, Siblings: 2000, SiblingReordered: 4}
	}}.evidence())
	if err := WriteHTML(&got, r); err != nil {
		t.Fatal(err)
	}
	if want := "0.20 % (95 % sure: 0.13 % to 0.30 %)"; !strings.Contains(got.String(), want) {
		_, near, _ := strings.Cut(got.String(), "95 % sure: ")
		t.Errorf("the page does not say %q, but %.40q", want, near)
	}
}
