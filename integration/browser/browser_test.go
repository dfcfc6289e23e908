package browser

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

const (
	// patience bounds the whole page: half a minute of it is silence.
	patience = 4 * time.Minute
	// checks is how many results the page posts for three transports.
	checks = 3*7 + 1
)

// TestFallbackTransports opens a page that runs the same checks by WebSocket,
// xhr_streaming and xhr_polling.
func TestFallbackTransports(t *testing.T) {
	gateway := harness.Start(t, harness.DefaultApps)
	s := newSite(t, gateway)
	browse(t, s.page(t, gateway))
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Errorf("the page did not come to its end")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.results {
		t.Run(r.Name, func(t *testing.T) {
			if !r.OK {
				t.Error(r.Detail)
			}
		})
	}
	if len(s.results) != checks {
		t.Errorf("the page posted %d results, want %d", len(s.results), checks)
	}
}

// result is what the page posts.
type result struct {
	Name   string
	OK     bool
	Detail string
}

// site is the customer's: its page, its authorization endpoint, and its server
// that publishes.
type site struct {
	t      *testing.T
	server *httptest.Server
	api    pusher.Client
	done   chan struct{}

	mu      sync.Mutex
	results []result
	users   int
}

func newSite(t *testing.T, gateway *harness.Gateway) *site {
	t.Helper()
	s := &site{
		t:    t,
		api:  pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: gateway.Addr},
		done: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page.html", serveFile("testdata/page.html"))
	mux.HandleFunc("GET /pusher.js", serveFile(filepath.Join("..", "judges", "node", "node_modules", "pusher-js", "dist", "web", "pusher.js")))
	mux.HandleFunc("POST /auth", s.authorize)
	mux.HandleFunc("POST /trigger", s.trigger)
	mux.HandleFunc("POST /result", s.note)
	mux.HandleFunc("POST /done", func(http.ResponseWriter, *http.Request) { close(s.done) })
	s.server = httptest.NewServer(mux)
	t.Cleanup(s.server.Close)
	return s
}

func serveFile(path string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }
}

// page returns the page's address.
func (s *site) page(t *testing.T, gateway *harness.Gateway) string {
	t.Helper()
	host, port, err := net.SplitHostPort(gateway.Addr)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{
		"key": harness.Key, "host": host, "port": number, "transports": []string{"ws", "xhr_streaming", "xhr_polling"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.server.URL + "/page.html#" + url.PathEscape(string(settings))
}

// authorize signs every subscription; each one to a presence channel is
// another user's.
func (s *site) authorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	params := []byte(r.Form.Encode())
	var answer []byte
	var err error
	if strings.HasPrefix(r.Form.Get("channel_name"), "presence-") {
		s.mu.Lock()
		s.users++
		member := pusher.MemberData{UserID: fmt.Sprintf("user-%d", s.users)}
		s.mu.Unlock()
		answer, err = s.api.AuthorizePresenceChannel(params, member)
	} else {
		answer, err = s.api.AuthorizePrivateChannel(params)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

// trigger publishes numbered events, one after the other.
func (s *site) trigger(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Channel     string
		Count, Size int
	}
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for n := range order.Count {
		data := map[string]any{"n": n, "fill": strings.Repeat("é", order.Size/2)}
		if err := s.api.Trigger(order.Channel, "numbered", data); err != nil {
			s.t.Errorf("publish event %d: %v", n, err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
}

func (s *site) note(w http.ResponseWriter, r *http.Request) {
	var noted result
	if err := json.NewDecoder(r.Body).Decode(&noted); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, noted)
}

// browse opens a page in a browser without a window until the test ends.
func browse(t *testing.T, page string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("this test needs Chromium (Debian package chromium): %v", err)
	}
	var log strings.Builder
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-background-timer-throttling", "--no-first-run",
		"--no-proxy-server", "--user-data-dir="+t.TempDir(), page)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with its children
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("browser:\n%s", log.String())
		}
	})
}
