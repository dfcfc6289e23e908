package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOutageRunsTheOperatorsCommands(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	read := func() string {
		text, _ := os.ReadFile(state) // not there: nothing was run
		return strings.TrimSpace(string(text))
	}
	restore, err := outage(t.Context(), io.Discard, "echo down >"+state, "echo up >"+state)()
	if err != nil || read() != "down" {
		t.Fatalf("the backend is %q, %v, want down", read(), err)
	}
	restore()
	if got := read(); got != "up" {
		t.Errorf("the backend is %q, want up", got)
	}
}

func TestOutageSaysWhichCommandFailed(t *testing.T) {
	var out strings.Builder
	_, err := outage(t.Context(), &out, "echo no such service >&2; exit 3", "true")()
	if err == nil || !strings.Contains(err.Error(), "exit 3") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("the kit is told %v", err)
	}
	if !strings.Contains(out.String(), "no such service") {
		t.Errorf("what the command wrote is not shown: %q", out.String())
	}
}
