package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

// patience bounds what a drill waits for: far longer than it takes.
const patience = 30 * time.Second

// The channels that every client of a drill is on.
const (
	drillChannel = "private-drill"
	drillRoom    = "presence-drill"
)

// drill is a gateway that leaves a vendor, clients on both sides, and a
// receiver of the app's webhooks, which the vendor sends to the gateway.
type drill struct {
	t       *testing.T
	vendor  peer
	line    *line // between the gateway and the vendor
	gateway *harness.Gateway
	hooks   *receiver
	fleet   *fleet
	load    *load
}

// peer is a server that plays the vendor.
type peer struct {
	addr string
	kill func()
	run  func()
}

// peers are the servers that drills leave, by name. They send their webhooks
// to a URL.
var peers = map[string]func(t *testing.T, hooks string) peer{"offramp": offrampPeer, "soketi": soketiPeer}

const allHooks = `[channel_occupied, channel_vacated, member_added, member_removed, client_event]`

func offrampPeer(t *testing.T, hooks string) peer {
	t.Helper()
	g := harness.Start(t, harness.DefaultApps+"    webhooks:\n      - {url: "+strconv.Quote(hooks)+", batch: true, events: "+allHooks+"}\n")
	return peer{addr: g.Addr, kill: func() { g.Kill(t) }, run: func() { g.Run(t) }}
}

// soketiPeer starts a soketi, which scripts/install-test-deps.sh installs.
func soketiPeer(t *testing.T, hooks string) peer {
	t.Helper()
	p := peer{addr: harness.FreeAddr(t)}
	host, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join("..", "bench", "peers", "node", "node_modules", ".bin", "soketi")
	types := strings.NewReplacer("[", `["`, ", ", `","`, "]", `"]`).Replace(allHooks)
	var cmd *exec.Cmd
	p.kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	p.run = func() {
		t.Helper()
		cmd = exec.Command("node", program, "start")
		cmd.Env = append(os.Environ(),
			// It looks for its like by UDP broadcast: keep that on the loopback interface.
			"SOKETI_CLUSTER_HOST=127.0.0.1", "SOKETI_CLUSTER_BROADCAST_ADDRESS=127.255.255.255",
			"SOKETI_HOST="+host, "SOKETI_PORT="+port, "SOKETI_METRICS_ENABLED=false", "SOKETI_ADAPTER_DRIVER=local",
			"SOKETI_DEFAULT_APP_ID="+harness.AppID, "SOKETI_DEFAULT_APP_KEY="+harness.Key, "SOKETI_DEFAULT_APP_SECRET="+harness.Secret,
			"SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES=true", "SOKETI_SHUTDOWN_GRACE_PERIOD=0",
			`SOKETI_DEFAULT_APP_WEBHOOKS=[{"url":"`+hooks+`","event_types":`+types+`}]`,
		)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatalf("start soketi: %v; scripts/install-test-deps.sh test installs it", err)
		}
		within(t, "soketi is ready", func() bool {
			resp, err := http.Get("http://" + p.addr + "/ready")
			if err == nil {
				_ = resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusOK
		})
	}
	p.run()
	t.Cleanup(func() { p.kill() })
	return p
}

// within waits until something holds.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// newDrill starts everything, with the app at stage observe.
func newDrill(t *testing.T, start func(*testing.T, string) peer) *drill {
	t.Helper()
	d := &drill{t: t, hooks: newReceiver(t)}
	var gateway atomic.Pointer[url.URL]
	forward := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(gateway.Load()) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(forward.Close)
	gateway.Store(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})
	d.vendor = start(t, forward.URL+"/apps/"+harness.AppID+"/webhooks")
	d.line = newLine(t, d.vendor.addr)
	d.gateway = harness.Start(t, harness.DefaultApps+fmt.Sprintf(`    webhooks:
      - {url: %q, events: %s}
    stage: observe
    upstream: {websocket: "ws://%s", api: "http://%s"}
`, d.hooks.url, allHooks, d.line.addr, d.line.addr))
	gateway.Store(&url.URL{Scheme: "http", Host: d.gateway.Addr})
	d.fleet = newFleet(t)
	d.load = &load{d: d}
	return d
}

// here and there bring a client to the gateway, or to the vendor.
func (d *drill) here(id string)  { d.fleet.open(id, d.gateway.Addr) }
func (d *drill) there(id string) { d.fleet.open(id, d.vendor.addr) }

// together waits until all clients see these members, and nobody else, and
// returns how long that took.
func (d *drill) together(users ...string) time.Duration {
	d.t.Helper()
	began := time.Now()
	slices.Sort(users)
	var seen map[string][]string
	for {
		seen = d.fleet.members()
		if len(seen) == len(users) && !slices.ContainsFunc(slices.Collect(maps.Values(seen)), func(ids []string) bool { return !slices.Equal(ids, users) }) {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			d.t.Fatalf("members after %v: %v, want %v for all", patience, seen, users)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// fleet is a process with pusher-js clients.
type fleet struct {
	t  *testing.T
	in io.Writer

	mu    sync.Mutex
	lines []happening
}

// happening is what happened to a client.
type happening struct {
	T    int64 // Unix milliseconds
	ID   string
	What string // state, error, subscribed, refused, event, members
	Name string
	Data string
	Code int
	IDs  []string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	cmd := exec.Command("node", filepath.Join("judges", "node", "drill.mjs"))
	cmd.Env = append(os.Environ(), "DRILL_KEY="+harness.Key, "DRILL_SECRET="+harness.Secret)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the clients: %v; integration/judges/install.sh installs what they need", err)
	}
	f := &fleet{t: t, in: in}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var h happening
			if json.Unmarshal(lines.Bytes(), &h) == nil && h.What != "" {
				f.mu.Lock()
				f.lines = append(f.lines, h)
				f.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		<-done
		_ = cmd.Wait()
	})
	f.await("the clients' process", func(h happening) bool { return h.What == "ready" })
	return f
}

func (f *fleet) do(command map[string]any) {
	f.t.Helper()
	text, err := json.Marshal(command)
	if err == nil {
		_, err = f.in.Write(append(text, '\n'))
	}
	if err != nil {
		f.t.Fatalf("tell the clients: %v", err)
	}
}

// open brings a client that is its own user, and waits until it is subscribed.
func (f *fleet) open(id, addr string) {
	f.t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		f.t.Fatal(err)
	}
	f.do(map[string]any{"op": "open", "id": id, "host": host, "port": number, "user": id})
	for _, channel := range []string{drillChannel, drillRoom} {
		f.await(id+" on "+channel, func(h happening) bool { return h.ID == id && h.What == "subscribed" && h.Name == channel })
	}
}

func (f *fleet) close(id string) { f.do(map[string]any{"op": "close", "id": id}) }

func (f *fleet) say(id, event string, n int) {
	f.do(map[string]any{"op": "say", "id": id, "event": event, "data": strconv.Itoa(n)})
}

func (f *fleet) all() []happening {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

func (f *fleet) await(what string, is func(happening) bool) {
	f.t.Helper()
	within(f.t, what, func() bool { return slices.ContainsFunc(f.all(), is) })
}

// members asks every client whom it sees.
func (f *fleet) members() map[string][]string {
	f.t.Helper()
	from := len(f.all())
	f.do(map[string]any{"op": "members"})
	seen := map[string][]string{}
	within(f.t, "the clients say whom they see", func() bool {
		return slices.ContainsFunc(f.all()[from:], func(h happening) bool { return h.What == "counted" })
	})
	for _, h := range f.all()[from:] {
		if h.What == "members" {
			seen[h.ID] = h.IDs
		}
	}
	return seen
}

// lastMove returns when the last client that had to was on its channel again:
// of those whose connection ended after began. If there was none, it is done.
func (f *fleet) lastMove(began, done time.Time) time.Time {
	was, moved := map[string]bool{}, map[string]bool{}
	for _, h := range f.all() {
		at := time.UnixMilli(h.T)
		switch {
		case at.Before(began):
			was[h.ID] = true
		case h.What == "state" && h.Name == "connecting":
			moved[h.ID] = was[h.ID]
		case h.What == "subscribed" && moved[h.ID] && at.After(done):
			done = at
		}
	}
	return done
}

// closeCodes fails the test for every close that a client does not come back
// from: anything but 4100 to 4299.
func (f *fleet) closeCodes() {
	f.t.Helper()
	for _, h := range f.all() {
		if h.What == "error" && h.Code >= 4000 && h.Code < 4100 || h.What == "refused" || h.What == "state" && h.Name == "failed" {
			f.t.Errorf("%s was told to stay away: %+v", h.ID, h)
		}
	}
}

// receiver counts what the app's webhooks tell.
type receiver struct {
	url string

	mu   sync.Mutex
	told map[string]int // "name channel user"
	when map[string][]string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{told: map[string]int{}, when: map[string][]string{}}
	client := pusher.Client{Key: harness.Key, Secret: harness.Secret}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		hook, err := client.Webhook(req.Header, body)
		if err != nil {
			t.Errorf("webhook %s: %v", body, err)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range hook.Events {
			what := e.Name + " " + e.Channel
			if e.Name == "client_event" {
				what += " " + e.Event + " " + e.Data
			} else if e.UserID != "" {
				what += " " + e.UserID
			}
			r.told[what]++
			r.when[what] = append(r.when[what], time.Now().Format("05.000"))
		}
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *receiver) all() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.told)
}

// at returns when the receiver was told of something.
func (r *receiver) at(what string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.when[what]
}

// line is a TCP connection to a server that can be cut.
type line struct {
	addr, to string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{addr: listener.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { l.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.set(true)
		serving.Wait()
	})
	return l
}

// set cuts the line, with everything on it, or heals it.
func (l *line) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for conn := range l.conns {
			_ = conn.Close()
		}
	}
}

func (l *line) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		_ = conn.Close()
		return false
	}
	l.conns[conn] = true
	return true
}

func (l *line) drop(conn net.Conn) {
	_ = conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

func (l *line) carry(here net.Conn) {
	if !l.keep(here) {
		return
	}
	defer l.drop(here)
	there, err := net.Dial("tcp", l.to)
	if err != nil || !l.keep(there) {
		return
	}
	defer l.drop(there)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(here, there)
		_ = here.Close()
	})
	_, _ = io.Copy(there, here)
	_ = there.Close()
	back.Wait()
}
