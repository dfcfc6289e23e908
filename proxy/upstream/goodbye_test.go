package upstream_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/proxy"
)

// TestTheVendorIsToldNoCodeOfOurs: a client that is sent away answers with the
// code that it was sent away with. The vendor is told that it has gone.
func TestTheVendorIsToldNoCodeOfOurs(t *testing.T) {
	ended := make(chan error, 1)
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !websocket.IsWebSocketUpgrade(req) {
			http.NotFound(w, req) // from mirror on, the bridge asks where this leads to
			return
		}
		ws, err := new(websocket.Upgrader).Upgrade(w, req, nil)
		if err != nil {
			ended <- err
			return
		}
		defer ws.Close()
		greeting := `{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\",\"activity_timeout\":120}"}`
		err = ws.WriteMessage(websocket.TextMessage, []byte(greeting))
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
		ended <- err
	}))
	t.Cleanup(vendor.Close)
	r := &rig{t: t, seen: newRecords()}
	r.startGateway(proxy.StageObserve, &proxy.Upstream{WebSocket: strings.Replace(vendor.URL, "http", "ws", 1), API: vendor.URL})
	c := dial(t, r.gateway.addr, query)
	r.move(proxy.StageMirror)
	if code, _ := c.closed(); code != 4200 {
		t.Errorf("the client was closed with %d", code)
	}
	select {
	case err := <-ended:
		if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("the vendor's side ended with %v, want close 1000", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the vendor's side did not end")
	}
}
