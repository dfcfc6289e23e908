package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy/protocol"
)

// hookLog is a webhook receiver that can be taken off the network and keeps
// what it was sent, in order.
type hookLog struct {
	t   *testing.T
	url string
	srv *httptest.Server

	mu     sync.Mutex
	events []string // "name channel user data"
}

func newHookLog(t *testing.T) *hookLog {
	h := &hookLog{t: t, url: "http://" + harness.FreeAddr(t) + "/hooks"}
	t.Cleanup(h.down)
	return h
}

func (h *hookLog) up() {
	h.t.Helper()
	listener, err := new(net.ListenConfig).Listen(h.t.Context(), "tcp", strings.Split(h.url, "/")[2])
	if err != nil {
		h.t.Fatal(err)
	}
	h.srv = &httptest.Server{Listener: listener, Config: &http.Server{Handler: h}}
	h.srv.Start()
}

func (h *hookLog) down() {
	if h.srv != nil {
		h.srv.Close()
		h.srv = nil
	}
}

func (h *hookLog) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	if err != nil || !protocol.Verify(harness.Secret, raw, req.Header.Get("X-Pusher-Signature")) {
		h.t.Errorf("body %s is not signed by the app: %v", raw, err)
	}
	var body struct {
		Events []struct {
			Name, Channel, Data string
			UserID              string `json:"user_id"`
		}
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		h.t.Errorf("body %s: %v", raw, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range body.Events {
		h.events = append(h.events, strings.Join(strings.Fields(e.Name+" "+e.Channel+" "+e.UserID+" "+e.Data), " "))
	}
}

// await waits until the receiver has been sent an event.
func (h *hookLog) await(event string, patience time.Duration) {
	h.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if slices.Contains(h.seen(), event) {
			return
		}
	}
	h.t.Fatalf("no %q within %v, only %q", event, patience, h.seen())
}

func (h *hookLog) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// subscribePrivate connects a client and subscribes it to private-hooks.
func subscribePrivate(t *testing.T, g *harness.Gateway) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+g.Addr+"/app/"+harness.Key+"?protocol=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	socket := protocol.SocketID(strings.Split(read(t, conn), `\"`)[3])
	auth := harness.Key + ":" + protocol.Sign(harness.Secret, protocol.ChannelString(socket, "private-hooks", nil))
	send(t, conn, `{"event":"pusher:subscribe","data":{"channel":"private-hooks","auth":"`+auth+`"}}`)
	if got := read(t, conn); !strings.Contains(got, "subscription_succeeded") {
		t.Fatalf("answer to the subscription: %s", got)
	}
	return conn
}

func read(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, frame, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(frame)
}

func send(t *testing.T, conn *websocket.Conn, frame string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		t.Fatal(err)
	}
}

// TestWebhooksSurviveSIGKILL kills the gateway while its receiver is away, and
// while a channel is occupied: what had happened is told in order, and the
// channel is told as vacated, once.
func TestWebhooksSurviveSIGKILL(t *testing.T) {
	hooks := newHookLog(t)
	g := harness.Start(t, harness.DefaultApps+`    webhooks:
      - url: `+hooks.url+`
        events: [channel_occupied, channel_vacated, client_event]
`)
	conn := subscribePrivate(t, g)
	want := []string{"channel_occupied private-hooks"}
	for i := range 9 {
		send(t, conn, fmt.Sprintf(`{"event":"client-n","channel":"private-hooks","data":"%d"}`, i))
		want = append(want, fmt.Sprintf("client_event private-hooks %d", i))
	}
	awaitPending(t, g, len(want))
	g.Kill(t)
	g.Run(t)
	awaitPending(t, g, len(want))
	hooks.up()
	want = append(want, "channel_vacated private-hooks")
	hooks.await(want[len(want)-1], 30*time.Second)
	if got := hooks.seen(); !slices.Equal(slices.Compact(slices.Clone(got)), want) {
		t.Errorf("receiver was told %q, want %q", got, want)
	}
	g.Kill(t)
	g.Run(t)
	time.Sleep(4 * time.Second) // longer than a departure is held back
	if n := strings.Count(strings.Join(hooks.seen(), "\n"), "channel_vacated"); n != 1 {
		t.Errorf("told %d times that the channel is vacated, want once", n)
	}
}

// awaitPending waits until at least n events wait in the outbox.
func awaitPending(t *testing.T, g *harness.Gateway, n int) {
	t.Helper()
	var list []struct {
		Pending int `json:"pending"`
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + g.Admin + "/api/v1/webhooks")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&list)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 && list[0].Pending >= n {
			return
		}
	}
	t.Fatalf("pending %+v, want at least %d", list, n)
}
