package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/report"
)

func TestReportJudgesByTheRulesOfAFile(t *testing.T) {
	g, _ := running(t)
	admin := httptest.NewServer(g.admin.Handler())
	defer admin.Close()
	path := filepath.Join(t.TempDir(), "accepted.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := []string{"report", "--format", "json", "--rules", path, "--admin", admin.URL}

	write("- {finding: lost}")
	if _, problems, code := execute(t.Context(), "", command...); code != exitTool || !strings.Contains(problems, `finding "lost"`) {
		t.Errorf("a file with a mistake: exit status %d, %q, want %d and the mistake", code, problems, exitTool)
	}
	write("- {finding: missing, pattern: 'ticker-*', reason: nobody watches it, owner: ann, expires: 2000-01-01}")
	out, problems, code := execute(t.Context(), "", command...)
	if code != 2 {
		t.Fatalf("exit status %d, want 2 for too little data: %s", code, problems)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Exceptions) != 1 || r.Exceptions[0].State != "expired" || r.Run.RulesDigest == "" {
		t.Errorf("exceptions %+v, digest %q, want the one rule, expired", r.Exceptions, r.Run.RulesDigest)
	}
}

func TestReportNamesTheConfigurationItWasMadeWith(t *testing.T) {
	app := func(change func(*proxy.App)) *proxy.App {
		a := proxy.Defaults()
		a.ID, a.Stage = "app-id", proxy.StageShadow
		a.Backends = []proxy.Backend{{Name: "nats", Plugin: "nats", Channels: []string{"*"}, Sample: 1, Settings: map[string]any{"token": "hidden"}}}
		change(&a)
		return &a
	}
	base := configDigest(app(func(*proxy.App) {}))
	if !strings.HasPrefix(base, "sha256:") || len(base) != len("sha256:")+64 {
		t.Fatalf("the digest is %q", base)
	}
	for name, tc := range map[string]struct {
		change func(*proxy.App)
		same   bool
	}{
		"the same again":         {func(*proxy.App) {}, true},
		"another secret":         {func(a *proxy.App) { a.Backends[0].Settings["token"] = "other" }, true},
		"another stage":          {func(a *proxy.App) { a.Stage = proxy.StageMirror }, false},
		"fewer channels sampled": {func(a *proxy.App) { a.Backends[0].Sample = 0.5 }, false},
	} {
		if got := configDigest(app(tc.change)); (got == base) != tc.same {
			t.Errorf("%s: the digest is the same: %t, want %t", name, got == base, tc.same)
		}
	}
}

func TestReportMergesTheEvidenceOfSeveralGateways(t *testing.T) {
	one, _ := running(t)
	two, _ := running(t)
	a, b := httptest.NewServer(one.admin.Handler()), httptest.NewServer(two.admin.Handler())
	defer a.Close()
	defer b.Close()
	key := shadow.Key{Type: "public", Pattern: "room-{int}", Event: "message"}
	seen := shadow.Evidence{App: "app-id", Stage: proxy.StageShadow, Pairs: []shadow.Pair{{Reference: "vendor", Candidate: "nats", Cells: []shadow.Cell{
		{Key: key, Start: time.Unix(1e9, 0).UTC(), Span: time.Minute, Counts: shadow.Counts{Expected: 30, Matched: 28, Missing: 2}},
	}}}}
	text, err := json.Marshal(seen)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "third.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, problems, code := execute(t.Context(), "", "report", "--format", "json", "--admin", a.URL, "--admin", b.URL, "--evidence", path, "--evidence", path)
	var r report.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("exit status %d: %s", code, problems)
	}
	if code != exitFailed || r.Pairs[0].Total.Expected != 60 || r.Pairs[0].Total.Missing != 4 {
		t.Errorf("exit status %d, %+v, want %d and 4 of 60 missing", code, r.Pairs, exitFailed)
	}
	impossible := filepath.Join(t.TempDir(), "impossible")
	if err := os.WriteFile(impossible, bytes.ReplaceAll(seenEvidence(t), []byte(`"Span":`), []byte(`"Span":-`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problems, code := execute(t.Context(), "", "report", "--evidence", impossible); code != exitTool || !strings.Contains(problems, "a time that cannot be") {
		t.Errorf("evidence that cannot be: exit %d, %s", code, problems)
	}
	if _, problems, code := execute(t.Context(), "", "report", "--admin", a.URL, "--evidence", filepath.Join(t.TempDir(), "none")); code != exitTool {
		t.Errorf("a file that is not there: exit status %d, %s, want %d", code, problems, exitTool)
	}
}
