package pusher_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/pusher"
	"github.com/offramp/offramp/translators/translatortest"
)

// TestMain makes the test binary the plugin, too.
func TestMain(m *testing.M) { translatortest.Main(m, pusher.New()) }

// peer is a server that speaks Pusher's protocol.
type peer struct {
	addr   string
	outage func() (restore func(), err error)
}

// settings are those of the app that every peer of these tests has.
func (p peer) settings() translators.Settings {
	return translators.Settings{
		"app_id": harness.AppID, "key": harness.Key, "secret": proxy.NewSecret(harness.Secret), "host": p.addr, "tls": false,
		"tap_user_id": "offramp-tap",
	}
}

// secondOfframp starts a gateway of this repository.
func secondOfframp(t *testing.T) peer {
	t.Helper()
	gateway := harness.Start(t, harness.DefaultApps)
	return peer{gateway.Addr, func() (func(), error) {
		gateway.Kill(t)
		return func() { gateway.Run(t) }, nil
	}}
}

// soketi starts a soketi, which scripts/install-test-deps.sh installs.
func soketi(t *testing.T) peer {
	t.Helper()
	addr := harness.FreeAddr(t)
	kill := startSoketi(t, addr)
	return peer{addr, func() (func(), error) {
		kill()
		return func() { kill = startSoketi(t, addr) }, nil
	}}
}

func startSoketi(t *testing.T, addr string) (kill func()) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	node := filepath.Join("..", "..", "bench", "peers", "node", "node_modules", ".bin", "soketi")
	cmd := exec.Command("node", node, "start")
	cmd.Env = append(os.Environ(),
		// It looks for its like by UDP broadcast, whatever the adapter: keep
		// that on the loopback interface.
		"SOKETI_CLUSTER_HOST=127.0.0.1", "SOKETI_CLUSTER_BROADCAST_ADDRESS=127.255.255.255",
		"SOKETI_HOST="+host, "SOKETI_PORT="+port, "SOKETI_METRICS_ENABLED=false", "SOKETI_ADAPTER_DRIVER=local",
		"SOKETI_DEFAULT_APP_ID="+harness.AppID, "SOKETI_DEFAULT_APP_KEY="+harness.Key, "SOKETI_DEFAULT_APP_SECRET="+harness.Secret,
		"SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES=true", "SOKETI_DEFAULT_APP_USER_AUTHENTICATION=true",
		"SOKETI_EVENT_MAX_PAYLOAD_IN_KB=100", "SOKETI_SHUTDOWN_GRACE_PERIOD=0",
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start soketi: %v; scripts/install-test-deps.sh test installs it", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	kill = func() {
		_ = cmd.Process.Kill()
		<-exited
	}
	t.Cleanup(kill)
	deadline := time.Now().Add(60 * time.Second)
	for !answers("http://" + addr + "/ready") {
		select {
		case <-exited:
			t.Fatalf("soketi ended at start: %s; scripts/install-test-deps.sh test installs it", out.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			kill()
			t.Fatalf("soketi did not start: %s", out.String())
		}
	}
	return kill
}

func answers(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
