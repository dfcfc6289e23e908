package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow/inventory"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func document() inventory.Document {
	return inventory.Document{
		App: "app", From: noon, To: noon.Add(time.Hour),
		Clients: []*inventory.Client{
			{Library: "js", Version: "8.6.0", Connections: 900, LastSeen: noon},
			{Library: "pusher-channels-flutter", Version: "2.2.1", Connections: 4, LastSeen: noon},
		},
		Channels: []*inventory.Channels{{Pattern: "private-report-{int}", BytesMax: 12000}},
		Features: []*inventory.Feature{{Name: inventory.FeaturePresence, Count: 3, LastSeen: noon}},
		Peaks:    inventory.Peaks{Connections: 1800, ClientEventsPerSecond: 14},
		Days: []inventory.Day{
			{Date: "2026-11-23", Messages: inventory.Messages{APICalls: 1000, Deliveries: 3_000_000}},
			{Date: "2026-11-24", Messages: inventory.Messages{APICalls: 10, Deliveries: 50}},
		},
	}
}

func TestAssessPutsBlockersFirst(t *testing.T) {
	a := Assess(document())
	if !a.Blocked() || a.Findings[0].Level != Blocker || !strings.Contains(a.Findings[0].Subject, "flutter") {
		t.Errorf("the first finding is %+v", a.Findings[0])
	}
	var subjects []string
	for _, f := range a.Findings {
		subjects = append(subjects, string(f.Level)+" "+f.Subject)
		if f.Action == "" || f.Evidence == "" {
			t.Errorf("finding without action or evidence: %+v", f)
		}
	}
	text := strings.Join(subjects, "; ")
	for _, want := range []string{"note client js", "risk presence", "risk large events on private-report-{int}", "risk client event rate"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q among %s", want, text)
		}
	}
	if empty := Assess(inventory.Document{App: "app"}); empty.Blocked() || len(empty.Findings) != 1 {
		t.Errorf("without traffic it finds %+v", empty.Findings)
	}
}

func TestEveryFeatureHasAdvice(t *testing.T) {
	for _, name := range []string{
		inventory.FeaturePresence, inventory.FeatureEncrypted, inventory.FeatureCache, inventory.FeatureServerToUser,
		inventory.FeatureClientEvents, inventory.FeatureExclusion, inventory.FeatureBatch, inventory.FeatureQueries,
		inventory.FeatureTerminate, inventory.FeatureSignin, inventory.FeatureFallback,
	} {
		if advice[name].Action == "" {
			t.Errorf("feature %q has no advice", name)
		}
	}
}

func TestBillRestsOnTheBusiestDay(t *testing.T) {
	p, err := ReadPrices("")
	if err != nil {
		t.Fatal(err)
	}
	c := Bill(document(), p)
	if c.Day.Date != "2026-11-23" || c.Vendor.Tier != "Pro" || c.Vendor.PerMonth != 99 {
		t.Errorf("bill of %s is %+v, want Pro at 99", c.Day.Date, c.Vendor)
	}
	if c.During.Messages != 3_002_000 || c.During.Peak != 1810 {
		t.Errorf("while migrating it is %+v", c.During)
	}
	if c.Own.Servers != 2 || c.Own.PerMonth != 80 || c.Saving != 19 {
		t.Errorf("self-hosted it is %+v, saving %v", c.Own, c.Saving)
	}
	over := document()
	over.Peaks.Connections = 1_000_000
	if c := Bill(over, p); c.Vendor.Tier != "" || c.Saving != 0 {
		t.Errorf("a million connections fit %+v", c.Vendor)
	}
}

// TestServersAreCountedExactly, against figures worked out by hand: 1000
// connections of 512 KiB are 500 MiB, and half of a server's 250 MiB is theirs.
func TestServersAreCountedExactly(t *testing.T) {
	own := OwnCost{ServerPerMonth: 10, ServerMiB: 250, KiBPerConnection: 512, DeliveriesPerSecond: 100, PeakToAverage: 2, Servers: 1}
	for name, tc := range map[string]struct {
		deliveries  int64
		connections int
		want        int
	}{
		"memory decides, and fills its servers": {0, 1000, 4},
		"one connection more":                   {0, 1001, 5},
		"200 a second at the peak":              {100 * secondsPerDay, 1, 2},
		"next to nothing":                       {1, 1, 1},
	} {
		if got := own.choose(tc.deliveries, tc.connections); got.Servers != tc.want || got.PerMonth != float64(10*tc.want) {
			t.Errorf("%s: %+v, want %d servers", name, got, tc.want)
		}
	}
}

func TestReadPricesRefusesWhatMakesNoSense(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown key": "tier: []\n",
		"no tiers":       "currency: EUR\n",
		"no memory":      "tiers: [{name: a}]\nown: {server_mib: 0}\n",
		"not YAML":       "[\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "prices.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadPrices(path); err == nil {
				t.Error("it was read without an error")
			}
		})
	}
}

func TestPlanSkipsWeekendsAndKeepsOrder(t *testing.T) {
	start := time.Date(2026, 12, 4, 9, 0, 0, 0, time.UTC) // a Friday
	p := Make(Input{Start: start, Team: 2, Stage: proxy.StageShadow, Assessment: Assess(inventory.Document{App: "app"}), Now: noon})
	if got := p.Steps[0].To.Format(time.DateOnly); got != "2026-12-07" {
		t.Errorf("the first step ends on %s, want Monday 2026-12-07", got)
	}
	for i, s := range p.Steps {
		if s.To.Before(s.From) || i > 0 && s.From.Before(p.Steps[i-1].From) {
			t.Errorf("step %q is from %v to %v", s.Name, s.From, s.To)
		}
		if wd := s.From.Weekday(); wd == time.Saturday || wd == time.Sunday {
			t.Errorf("step %q begins on a %s", s.Name, wd)
		}
		if s.Done != (s.Stage < proxy.StageShadow) {
			t.Errorf("step %q done: %v", s.Name, s.Done)
		}
	}
	mobile := Make(Input{Start: start, Team: 2, Stage: proxy.StageObserve, Assessment: Assess(document()), Now: noon})
	if last := len(p.Steps) - 1; !mobile.Steps[last].From.After(p.Steps[last].From) {
		t.Error("an app release does not delay the end")
	}
}

func TestPlanForms(t *testing.T) {
	p := Make(Input{Start: noon, Team: 2, Stage: proxy.StageObserve, Assessment: Assess(document()), Now: noon})
	var md, ics strings.Builder
	if err := p.WriteMarkdown(&md); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(md.String(), "| Tue 24 Nov |") || !strings.Contains(md.String(), "**blocker: client pusher-channels-flutter") {
		t.Errorf("Markdown is\n%s", md.String())
	}
	if err := p.WriteICS(&ics); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(ics.String(), "\r\n"), "\r\n") {
		if len(line) > 75 {
			t.Errorf("line of %d bytes: %q", len(line), line)
		}
	}
	if strings.Count(ics.String(), "BEGIN:VEVENT") != len(p.Steps) || !strings.Contains(ics.String(), `canary 1\, 5\, 25\, 50 % by channel`) {
		t.Errorf("calendar is\n%s", ics.String())
	}
}
