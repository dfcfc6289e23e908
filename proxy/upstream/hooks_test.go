package upstream_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/upstream"
)

// hookLog is where a gateway's relay puts the vendor's webhooks.
type hookLog struct {
	mu     sync.Mutex
	passed []string // bodies
	merged []string // what was told, as text
	status int      // of the receiver
}

var _ upstream.Hooks = (*hookLog)(nil)

func (h *hookLog) Pass(_ context.Context, _ *proxy.App, header http.Header, body []byte, _ []proxy.Record) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.passed = append(h.passed, header.Get("X-Pusher-Key")+" "+string(body))
	return h.status, nil
}

func (h *hookLog) Merge(_ context.Context, events []proxy.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range events {
		text := fmt.Sprint(r.Kind, " ", r.Topic.Channel, " ", r.UserID, r.Count)
		if r.Event != nil {
			text += fmt.Sprintf(" %s %s %s", r.Event.Name, r.Event.Data, r.Event.Socket)
		}
		h.merged = append(h.merged, text)
	}
	return nil
}

func (h *hookLog) Adopt(context.Context, string, time.Time, []protocol.ChannelName, map[protocol.ChannelName][]string) error {
	return nil
}

func (h *hookLog) taken() (passed, merged []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	passed, merged = h.passed, h.merged
	h.passed, h.merged = nil, nil
	return passed, merged
}

// hook sends a webhook to the gateway and returns the status.
func (r *rig) hook(body, signature string) int {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.gateway.addr+"/apps/1/webhooks", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Pusher-Key", key)
	req.Header.Set("X-Pusher-Signature", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func hookBody(at time.Time, events string) string {
	return fmt.Sprintf(`{"time_ms":%d, "events":[%s]}`, at.UnixMilli(), events)
}

// TestTheVendorsWebhooks are passed on while the app is relayed, merged from
// mirror on, and always shown to those who compare.
func TestTheVendorsWebhooks(t *testing.T) {
	log := &hookLog{status: http.StatusOK}
	r := &rig{hooks: log}
	r.openAt(t, proxy.StageShadow)
	body := hookBody(time.Now(), `{"name":"channel_occupied","channel":"x"},{"name":"of tomorrow","channel":"x"}`)
	if status := r.hook(body, protocol.Sign(secret, body)); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	passed, merged := log.taken()
	if want := []string{key + " " + body}; !cmp.Equal(passed, want) || merged != nil {
		t.Errorf("passed %q, merged %q", passed, merged)
	}
	r.seen.await(t, "the webhook", func(rec proxy.Record) bool {
		return rec.Kind == proxy.KindWebhook && rec.Leg == proxy.LegVendor && rec.Action == "channel_occupied" && rec.Topic.Channel == "x"
	})
	log.status = http.StatusTeapot
	if status := r.hook(body, protocol.Sign(secret, body)); status != http.StatusTeapot {
		t.Errorf("status %d, want the receiver's", status)
	}
	log.taken()

	r.move(proxy.StageCutover)
	here := dial(t, r.gateway.addr, query)
	here.subscribe("x", "")
	eventually(t, "tapped", func() bool { return r.vendor.state("x").Occupied })
	said := `{"name":"client_event","channel":"private-x","event":"client-a","data":"1","socket_id":"9.9"},` +
		`{"name":"subscription_count","channel":"x","subscription_count":3},{"name":"subscription_count","channel":"y","subscription_count":3},` +
		`{"name":"member_added","channel":"presence-x","user_id":"7"},{"name":"member_added","channel":"presence-x"}`
	body = hookBody(time.Now(), said)
	if status := r.hook(body, protocol.Sign(secret, body)); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	passed, merged = log.taken()
	want := []string{
		"published private-x 0 client-a 1 9.9", "subscription_count x 2", "subscription_count y 3", "member_added presence-x 70",
	}
	if diff := cmp.Diff(want, merged); diff != "" || passed != nil {
		t.Errorf("passed %q, -want +merged:\n%s", passed, diff)
	}
}

func TestRefusedWebhooks(t *testing.T) {
	log := &hookLog{status: http.StatusOK}
	r := &rig{hooks: log}
	r.openAt(t, proxy.StageMirror)
	now := time.Now()
	for name, tc := range map[string]struct {
		body, secret string
		want         int
	}{
		"signed by somebody else": {hookBody(now, ""), "other", http.StatusUnauthorized},
		"no JSON":                 {"{", secret, http.StatusBadRequest},
		"too old":                 {hookBody(now.Add(-time.Hour), ""), secret, http.StatusBadRequest},
		"from the future":         {hookBody(now.Add(time.Hour), ""), secret, http.StatusBadRequest},
		"no time":                 {`{"events":[]}`, secret, http.StatusBadRequest},
		"too many events":         {hookBody(now, strings.Repeat("{},", 1000)+"{}"), secret, http.StatusBadRequest},
		"nothing in it":           {hookBody(now, ""), secret, http.StatusOK},
	} {
		if got := r.hook(tc.body, protocol.Sign(tc.secret, tc.body)); got != tc.want {
			t.Errorf("%s: status %d, want %d", name, got, tc.want)
		}
	}
	if passed, merged := log.taken(); passed != nil || merged != nil {
		t.Errorf("passed %q, merged %q", passed, merged)
	}
}
