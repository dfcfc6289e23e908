package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/plugins/scaffold"
)

// TestPluginDev follows an author who edits a new plugin: each change is built
// and tried, and what is wrong with it is said in its own words.
func TestPluginDev(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "mybackend")
	p := scaffold.Plugin{Name: "mybackend", Go: "1.26", Version: "v0.0.0", Replace: root}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.sum", string(sums))
	write("settings.yaml", "url: http://127.0.0.1:1\n") // nobody listens there
	good, err := os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOWORK", "off")

	var out buffer
	ctx, cancel := context.WithCancel(t.Context())
	loop := devLoop{
		dir: dir, binary: filepath.Join(t.TempDir(), "plugin"), settings: filepath.Join(dir, "settings.yaml"), out: &out,
	}
	done := make(chan error, 1)
	go func() { done <- loop.run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	seen := 0
	for _, change := range []struct{ main, want string }{
		{string(good), "is the backend running, where the settings say?"},
		{strings.Replace(string(good), "func main() {", "func main() {\n\tpanic(\"not yet\")", 1), "start plugin: it said: panic: not yet"},
		{strings.Replace(string(good), "func main() {", "func main() {\n\tfmt.Println(\"bye\")\n\tos.Exit(3)", 1), "start plugin: it said: bye"},
		{strings.Replace(string(good), "func main() {", "func main() {\n\tnonsense", 1), "undefined: nonsense"},
		// A print before the handshake does no harm.
		{strings.Replace(string(good), "func main() {", "func main() {\n\tfmt.Println(\"hello\")", 1), "is the backend running, where the settings say?"},
	} {
		write("main.go", change.main)
		waitUntil(t, "an answer to the change, with "+change.want, func() bool {
			text := out.String()[seen:]
			return strings.Contains(text, change.want) && strings.Contains(text, "waiting for a change")
		}, func() string { return out.String() })
		seen = len(out.String())
	}
}

// waitUntil polls something that other processes do, and shows what there is
// when it is in vain.
func waitUntil(t *testing.T, what string, holds func() bool, shown func() string) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s:\n%s", what, shown())
		}
		time.Sleep(50 * time.Millisecond)
	}
}
