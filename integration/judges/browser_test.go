package judges

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

// browser lets one major of pusher-js judge in headless Chromium, where it has
// the transports that it lacks under Node.
func browser(t *testing.T, gateway *harness.Gateway, module string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	site := &site{module: module, client: &pusher.Client{
		AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: gateway.Addr,
		HTTPClient: &http.Client{Timeout: 10 * time.Second}, // one made on first use would be a race between two pages
	}}
	lines, written := io.Pipe()
	site.lines = written
	server := httptest.NewServer(site.handler())
	defer server.Close()
	cmd := exec.CommandContext(ctx, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--user-data-dir="+profile(t), site.page(server.URL, gateway))
	// Chromium is many processes; they end together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Chromium: %v; scripts/install-test-deps.sh installs it", err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		_ = written.Close() // no more lines will come
	}()
	done := report(t, lines)
	_ = lines.Close()
	_ = cmd.Cancel()
	if err := <-ended; !done {
		t.Errorf("the browser ended early: %v", err)
	}
}

// profile is a directory for a browser's data. Not t.TempDir, which fails the
// test when a process that is just ending still writes there.
func profile(t *testing.T) string {
	dir, err := os.MkdirTemp("", "offramp-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 20 {
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return dir
}

// site is the customer's web site and server.
type site struct {
	module string
	client *pusher.Client
	lines  io.Writer
}

func (s *site) page(base string, gateway *harness.Gateway) string {
	host, port, _ := strings.Cut(gateway.Addr, ":")
	query := url.Values{
		"host": {host}, "port": {port}, "key": {harness.Key},
		"run": {s.module + strconv.FormatInt(time.Now().UnixMilli(), 36)},
	}
	return base + "/judge.html?" + query.Encode()
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir("browser")))
	mux.HandleFunc("GET /pusher.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join("node", "node_modules", s.module, "dist", "web", "pusher.js"))
	})
	mux.HandleFunc("POST /auth", s.auth)
	mux.HandleFunc("POST /trigger", s.trigger)
	mux.HandleFunc("POST /lines", func(_ http.ResponseWriter, r *http.Request) {
		line, _ := io.ReadAll(r.Body)
		_, _ = s.lines.Write(append(line, '\n'))
	})
	return mux
}

func (s *site) auth(w http.ResponseWriter, r *http.Request) {
	form, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := s.client.AuthorizePresenceChannel(form, pusher.MemberData{UserID: r.URL.Query().Get("user")})
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	_, _ = w.Write(answer)
}

// trigger publishes the body as the text that the event's data is.
func (s *site) trigger(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err == nil {
		err = s.client.Trigger(r.URL.Query().Get("channel"), r.URL.Query().Get("event"), string(data))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}
