package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
