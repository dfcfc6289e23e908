package translatortest_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/nats"
	"github.com/offramp/offramp/translators/translatortest"
)

// TestMain makes the test binary a plugin with a defect when it is run as
// "BINARY plugin DEFECT".
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != "plugin" {
		os.Exit(m.Run())
	}
	err := plugins.Serve(defective{Translator: nats.New(), defect: os.Args[2]})
	if os.Args[2] == "stays" {
		select {}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// defective is the NATS translator with a defect that only shows in a process
// of its own.
type defective struct {
	translators.Translator
	defect string
}

func (d defective) Open(ctx context.Context, b translators.Binding) (translators.Session, error) {
	if d.defect == "tells secrets" {
		fmt.Fprintf(os.Stderr, "opening with %v\n", b.Settings)
	}
	s, err := d.Translator.Open(ctx, b)
	if err != nil {
		return nil, err
	}
	return defectiveSession{Session: s, defect: d.defect}, nil
}

type defectiveSession struct {
	translators.Session
	defect string
}

// Subscribe implements translators.Subscriber.
func (s defectiveSession) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	if s.defect == "leaves descriptors" {
		_, _ = syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
	}
	return s.Session.(translators.Subscriber).Subscribe(ctx, channel, o)
}

func (s defectiveSession) Unwrap() translators.Session { return s.Session }

func (s defectiveSession) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	if s.defect != "acknowledges too early" {
		return s.Session.Publish(ctx, batch)
	}
	kept := slices.Clone(batch)
	time.AfterFunc(time.Second, func() { s.Session.Publish(context.Background(), kept) })
	results := make([]translators.Result, len(batch))
	for i := range results {
		results[i] = translators.OK()
	}
	return results
}

func settings() translators.Settings { return translators.Settings{"key": "any-text"} }

func TestKitPassesATranslatorThatKeepsAllRules(t *testing.T) {
	for _, defect := range []string{"", "throttles"} {
		b := newBus()
		report, err := translatortest.Check(context.Background(), translatortest.Options{
			Translator: memory{bus: b, defect: defect}, Settings: settings(), Outage: b.outage(true), Slow: b.slowed,
			Throughput: 50, // the machine that runs the tests is not what is tested
		})
		if err != nil {
			t.Fatal(err)
		}
		var skipped []string
		for _, r := range report.Results {
			switch r.Outcome {
			case translatortest.Failed:
				t.Errorf("%s: %s", r.Suite, r.Detail)
			case translatortest.Skipped:
				skipped = append(skipped, r.Suite)
			}
		}
		want := []string{"rate", "kill", "host", "secrets"}
		if defect == "throttles" {
			want = want[1:]
		}
		if !slices.Equal(skipped, want) {
			t.Errorf("skipped %v, want only %v", skipped, want)
		}
	}
}

// defects are by which suite each is caught.
func defects() map[string]string {
	return map[string]string{
		"declares what it lacks":          "describe",
		"previews all alike":              "preview",
		"re-encodes data":                 "bytes",
		"forgets the sender":              "fields",
		"folds case":                      "names",
		"swaps events":                    "order",
		"forgets a result":                "results",
		"delivers repeats":                "dedupe",
		"echoes":                          "echo",
		"confirms too early":              "subscribe",
		"cuts what is too large":          "limits",
		"loses what is over the rate":     "rate",
		"never removes members":           "presence",
		"acknowledges too early":          "drain",
		"acknowledges during an outage":   "outage",
		"gives up on a slow backend":      "slow",
		"publishes again when it is slow": "slow",
		"leaves goroutines":               "leaks",
		"is slow":                         "throughput",
	}
}

// processDefects only show in a process of their own.
func processDefects() map[string]string {
	return map[string]string{
		"acknowledges too early": "kill",
		"stays":                  "host",
		"tells secrets":          "secrets",
		"leaves descriptors":     "leaks",
	}
}

// TestEveryRuleHasItsDefect: a suite that nothing fails proves nothing.
func TestEveryRuleHasItsDefect(t *testing.T) {
	// The SDK keeps these for authors; package plugins tests them with plugins
	// that do without it.
	caught := map[string]bool{"settings": true, "deadline": true, "credit": true}
	for _, m := range []map[string]string{defects(), processDefects()} {
		for _, suite := range m {
			caught[suite] = true
		}
	}
	for _, suite := range translatortest.Names() {
		if !caught[suite] {
			t.Errorf("suite %s is not shown to catch anything", suite)
		}
	}
}

func TestKitCatches(t *testing.T) {
	for defect, suite := range defects() {
		t.Run(defect, func(t *testing.T) {
			b := newBus()
			failing(t, suite, translatortest.Options{
				Translator: memory{bus: b, defect: defect}, Settings: settings(), Outage: b.outage(true), Slow: b.slowed,
				Patience: time.Second,
			})
		})
	}
	t.Run("tells nothing of an outage", func(t *testing.T) {
		b := newBus()
		failing(t, "outage", translatortest.Options{
			Translator: memory{bus: b}, Settings: settings(), Outage: b.outage(false), Patience: time.Second,
		})
	})
}

func TestKitCatchesInAProcess(t *testing.T) {
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, Username: "u", Password: "p4ssw0rd",
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Shutdown)
	if !server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	for defect, suite := range processDefects() {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			failing(t, suite, translatortest.Options{
				Command:  host.Command{Path: executable, Args: []string{"plugin", defect}},
				Settings: translators.Settings{"url": server.ClientURL(), "user": "u", "password": "p4ssw0rd"}, Patience: 2 * time.Second,
			})
		})
	}
}

// failing checks that a suite fails, and for no reason but the defect: it
// passes or is skipped without it, as other tests show.
func failing(t *testing.T, suite string, o translatortest.Options) {
	t.Helper()
	o.Only = []string{suite}
	report, err := translatortest.Check(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != 1 || report.Results[0].Outcome != translatortest.Failed {
		t.Fatalf("results %+v, want suite %s to fail", report.Results, suite)
	}
	t.Log(report.Results[0].Detail)
}

func TestReport(t *testing.T) {
	report := translatortest.Report{
		Description: memory{bus: newBus()}.Describe(),
		Results: []translatortest.Result{
			{Suite: "a", Rule: "holds", Outcome: translatortest.Passed, Took: time.Second},
			{Suite: "b", Rule: "does not", Outcome: translatortest.Failed, Detail: "because <of> this"},
			{Suite: "c", Rule: "is not there", Outcome: translatortest.Skipped, Detail: "not declared"},
		},
	}
	var text, junit strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"memory 1.0.0", "passed   a", "failed   b", "because <of> this", "1 passed, 1 failed, 1 skipped", "presence", "EXACT", "PER_CHANNEL",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	if err := report.WriteJUnit(&junit); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Suite struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Skipped  int `xml:"skipped,attr"`
			Cases    []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(junit.String()), &back); err != nil {
		t.Fatal(err)
	}
	s := back.Suite
	if s.Tests != 3 || s.Failures != 1 || s.Skipped != 1 || len(s.Cases) != 3 || s.Cases[1].Failure.Message != "because <of> this" {
		t.Errorf("the JUnit file reads back as %+v", s)
	}
}
