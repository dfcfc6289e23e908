package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

// eventually waits for something that another process does in its own time.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}

// rewrite edits a gateway's configuration file and tells the gateway.
func rewrite(t *testing.T, g *harness.Gateway, edits ...string) {
	t.Helper()
	text, err := os.ReadFile(g.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.ConfigPath(), []byte(strings.NewReplacer(edits...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Signal(t, syscall.SIGHUP)
}

func accepts(g *harness.Gateway, secret string) bool {
	client := pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: secret, Host: g.Addr}
	return client.Trigger("news", "headline", "x") == nil
}

// TestReload: SIGHUP changes what can change, says what cannot, and a broken
// file changes nothing.
func TestReload(t *testing.T) {
	g := harness.Start(t, harness.DefaultApps)
	if !accepts(g, harness.Secret) {
		t.Fatal("the first secret is refused")
	}
	rewrite(t, g, harness.Secret, "another-secret", "listen: "+g.Addr, "listen: 127.0.0.1:1")
	eventually(t, "the new secret to be accepted", func() bool { return accepts(g, "another-secret") })
	if accepts(g, harness.Secret) {
		t.Error("the old secret is accepted after the reload")
	}
	eventually(t, "the log to say what needs a restart", func() bool {
		return strings.Contains(g.Log(), `"path":"listen"`) && strings.Contains(g.Log(), `"needs_restart":true`)
	})

	rewrite(t, g, "another-secret", "third-secret", "client_events:", "client_evnts:")
	eventually(t, "the log to say what is wrong", func() bool { return strings.Contains(g.Log(), "Did you mean client_events?") })
	if !accepts(g, "another-secret") || accepts(g, "third-secret") {
		t.Error("a broken file changed something")
	}
	for _, secret := range []string{harness.Secret, "another-secret", "third-secret"} {
		if strings.Contains(g.Log(), secret) {
			t.Errorf("the log shows the secret %s", secret)
		}
	}
}

// TestAdminFromOutside: health without a token, everything else with it, and
// no secret anywhere.
func TestAdminFromOutside(t *testing.T) {
	g := harness.Start(t, harness.DefaultApps)
	text, err := os.ReadFile(g.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	g.Stop(t)
	if err := os.WriteFile(g.ConfigPath(), []byte(strings.Replace(string(text), "admin: {", "admin: {token: the-admin-token, ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Run(t)
	get := func(path, token string) (int, string) {
		request, err := http.NewRequest(http.MethodGet, "http://"+g.Admin+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	for path, open := range map[string]bool{
		"/": true, "/live": true, "/ready": true, "/metrics": false, "/api/v1/apps": false, "/api/v1/backends": false,
		"/api/v1/webhooks": false, "/api/v1/apps/" + harness.AppID + "/connections": false,
		"/api/v1/apps/" + harness.AppID + "/channels": false, "/api/v1/apps/" + harness.AppID + "/stage": false,
		"/api/v1/apps/" + harness.AppID + "/report": false,
	} {
		want := http.StatusUnauthorized
		if open {
			want = http.StatusOK
		}
		if status, body := get(path, ""); status != want {
			t.Errorf("GET %s without a token = %d %.100s, want %d", path, status, body, want)
		}
		status, body := get(path, "the-admin-token")
		if status != http.StatusOK {
			t.Errorf("GET %s with the token = %d %.100s, want 200", path, status, body)
		}
		if strings.Contains(body, harness.Secret) || strings.Contains(body, "the-admin-token") {
			t.Errorf("GET %s shows a secret", path)
		}
		if strings.HasPrefix(path, "/api/") && !json.Valid([]byte(body)) {
			t.Errorf("GET %s is not JSON: %.100s", path, body)
		}
	}
}
