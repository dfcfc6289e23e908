package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy/protocol"
)

// TestWebhooksOfBothSidesAgree has a vendor send its webhooks to a gateway at
// stage shadow. They reach the app's receiver, and those that the engine would
// have sent for the relayed clients are the same.
func TestWebhooksOfBothSidesAgree(t *testing.T) {
	var received atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err == nil && protocol.Verify(harness.Secret, body, req.Header.Get("X-Pusher-Signature")) {
			received.Add(1)
		}
	}))
	defer receiver.Close()
	var to atomic.Pointer[url.URL]
	to.Store(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})
	forward := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to.Load()) }})
	defer forward.Close()
	const hooks = "    webhooks: [{url: %q, events: [channel_occupied, channel_vacated, member_added, member_removed, client_event]}]\n"
	vendor := harness.Start(t, harness.DefaultApps+fmt.Sprintf(hooks, forward.URL+"/apps/"+harness.AppID+"/webhooks"))
	gateway := harness.Start(t, harness.DefaultApps+fmt.Sprintf(hooks+"    stage: shadow\n    upstream: {websocket: \"ws://%s\", api: \"http://%s\"}\n",
		receiver.URL, vendor.Addr, vendor.Addr))
	to.Store(&url.URL{Scheme: "http", Host: gateway.Addr})

	const users, said = 4, 3
	for i := range users {
		stayAWhile(t, gateway, fmt.Sprintf("presence-room-%d", i), fmt.Sprint("user-", i), said)
	}
	// Everybody comes alone and goes: four tellings each, and what was said.
	const want = users * (4 + said)
	deadline := time.Now().Add(60 * time.Second)
	for {
		matched, differ := hookCounts(t, gateway)
		if differ != 0 || matched > want {
			t.Fatalf("%d webhooks of both sides match and %d do not, want %d and none", matched, differ, want)
		}
		if matched == want && received.Load() > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d webhooks of both sides match after a minute, want %d; the receiver got %d requests", matched, want, received.Load())
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// stayAWhile has a client join a channel, say something, and leave.
func stayAWhile(t *testing.T, g *harness.Gateway, channel, user string, say int) {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr+"/app/"+harness.Key+"?protocol=7&client=js&version=8.4", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	defer func() { _ = conn.Close() }()
	id := regexp.MustCompile(`socket_id\\":\\"([0-9.]+)`).FindStringSubmatch(readFrame(t, conn))
	if id == nil {
		t.Fatal("no socket id in the greeting")
	}
	data := fmt.Sprintf(`{"user_id":%q}`, user)
	auth := harness.Key + ":" + protocol.Sign(harness.Secret, []byte(id[1]+":"+channel+":"+data))
	send := func(text string) {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send(fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":%q,"channel_data":%q}}`, channel, auth, data))
	if frame := readFrame(t, conn); !strings.Contains(frame, "subscription_succeeded") {
		t.Fatalf("subscription answered by %s", frame)
	}
	for i := range say {
		send(fmt.Sprintf(`{"event":"client-says","channel":%q,"data":{"n":%d}}`, channel, i))
	}
	time.Sleep(500 * time.Millisecond) // the relay gives the vendor 200 ms to refuse
}

func hookCounts(t *testing.T, g *harness.Gateway) (matched, differ int) {
	t.Helper()
	resp, err := http.Get("http://" + g.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) int {
		found := regexp.MustCompile(`(?m)^offramp_shadow_webhooks_` + name + `_total\{.*candidate="engine".*\} (\d+)`).FindSubmatch(text)
		if found == nil {
			return 0
		}
		n, _ := strconv.Atoi(string(found[1]))
		return n
	}
	return value("matched"), value("differ")
}
