package centrifugo_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/translators/centrifugo"
	"github.com/offramp/offramp/translators/translatortest"
)

// buildVersion6 builds Centrifugo 6, whose module the bench shares.
var buildVersion6 = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), "offramp-test-centrifugo-6")
	cmd := exec.Command("go", "build", "-o", path, "github.com/centrifugal/centrifugo/v6")
	cmd.Dir = filepath.Join("..", "..", "bench", "peers", "centrifugo")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build centrifugo 6: %w\n%s", err, out)
	}
	return path, nil
})

// startVersion6 starts a Centrifugo 6 at an address, or anywhere when it is "".
func startVersion6(t *testing.T, address string) server {
	t.Helper()
	binary, err := buildVersion6()
	if err != nil {
		t.Fatal(err)
	}
	if address == "" {
		address = harness.FreeAddr(t)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"http_server": map[string]any{"address": "127.0.0.1", "port": port},
		"http_api":    map[string]any{"key": apiKey},
		"client":      map[string]any{"token": map[string]any{"hmac_secret_key": tokenSecret}},
		"health":      map[string]any{"enabled": true},
		"log":         map[string]any{"level": "error"},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config", path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := server{url: "http://" + address, kill: sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})}
	t.Cleanup(s.kill)
	for deadline := time.Now().Add(20 * time.Second); !healthy(s.url); {
		if time.Now().After(deadline) {
			t.Fatal("centrifugo 6 did not start")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return s
}

func TestConformanceWithVersion6(t *testing.T) {
	s := startVersion6(t, "")
	translatortest.Run(t, translatortest.Options{
		Translator: centrifugo.New(), Settings: settings(s), Throughput: 50, Patience: 10 * time.Second,
		Outage: func() (func(), error) {
			s.kill()
			return func() { s = startVersion6(t, strings.TrimPrefix(s.url, "http://")) }, nil
		},
	})
}
