package judges

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/offramp/offramp/translators/ably/ablytest"
)

// TestAblyStandIn lets Ably's own JavaScript library judge the stand-in that
// the Ably translator is tested against, in both encodings.
func TestAblyStandIn(t *testing.T) {
	for _, format := range []string{"msgpack", "json"} {
		t.Run(format, func(t *testing.T) {
			server, err := ablytest.Start(ablytest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "ably.mjs", format)
			cmd.Dir = "node"
			cmd.Env = append(os.Environ(), "ABLY_ADDR="+server.Addr(), "ABLY_KEY="+server.Key(), "ABLY_CONTROL="+ablyControl(t, server))
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatalf("start the rig: %v; integration/judges/install.sh installs what it needs", err)
			}
			done := report(t, out)
			if err := cmd.Wait(); err != nil || !done {
				t.Errorf("the rig ended early: %v\n%s", err, stderr.String())
			}
		})
	}
}

// ablyControl lets the rig switch faults on, and returns where.
func ablyControl(t *testing.T, server *ablytest.Server) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, fault := range map[string]func(){
		"cut":          server.CutConnections,
		"disconnect":   server.Disconnect,
		"expire":       server.ExpireTokens,
		"fail-resume":  func() { server.FailResume(true) },
		"allow-resume": func() { server.FailResume(false) },
	} {
		mux.HandleFunc("POST /"+path, func(http.ResponseWriter, *http.Request) { fault() })
	}
	control := httptest.NewServer(mux)
	t.Cleanup(control.Close)
	return control.URL
}
