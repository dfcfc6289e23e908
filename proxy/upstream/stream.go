package upstream

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
)

// stream is one relayed client that did not come over a WebSocket: its
// messages are relayed, over a WebSocket of its own, text by text.
type stream struct {
	relay   *Relay
	app     *proxy.App
	info    proxy.Client
	out     session.Outlet
	vendor  *vendorConn
	watcher *watcher
	watched chan struct{} // closed when the client has ended
	end     sync.Once
}

var _ session.Conn = (*stream)(nil)

// connectStream relays a client that did not come over a WebSocket. The
// vendor's greeting has been sent to out when it returns.
func (r *Relay) connectStream(app *proxy.App, client proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
	s := &stream{relay: r, app: app, info: client, out: out, watched: make(chan struct{})}
	r.settings.Feed.caughtUp(app.ID)
	vendor, err := r.dialVendor(context.Background(), app, &s.info)
	if err != nil {
		return nil, r.unreachable(app, &s.info, err)
	}
	s.vendor, s.watcher = vendor, newWatcher(r, app, &s.info)
	s.deliver(vendor.greeting)
	if !r.begin(s, s.run) {
		_ = vendor.ws.Close() // the process is ending
		return nil, protocol.ErrReconnect
	}
	return s, nil
}

// run passes what the vendor says until it ends.
func (s *stream) run() {
	s.relay.metrics.open.WithLabelValues(s.app.ID).Inc()
	defer s.relay.metrics.open.WithLabelValues(s.app.ID).Dec()
	var watching sync.WaitGroup
	watching.Go(func() { s.watcher.run(s.watched) })
	for s.pass() {
	}
	_ = s.vendor.ws.Close()
	watching.Wait() // until the client has ended as well
	s.relay.metrics.closed(s.app.ID, s.watcher.code)
}

// pass passes one message from the vendor, or its end. A refusal of the
// vendor's is the client's to know.
func (s *stream) pass() bool {
	kind, text, err := s.vendor.ws.ReadMessage()
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		s.relay.closedWith(s.app.ID, closed.Code, closed.Text)
		s.out.Close(closed.Code, closed.Text)
		return false
	case err != nil:
		s.out.Close(errLost.Code, errLost.Message)
		return false
	}
	if kind == websocket.TextMessage {
		s.deliver(text)
	}
	return true
}

func (s *stream) deliver(text []byte) {
	s.relay.metrics.down.Add(float64(len(text)))
	s.out.Send(fanout.One(text), 0)
	s.watcher.note(fromVendor, text)
}

// Handle implements session.Conn.
func (s *stream) Handle(frame []byte) {
	s.watcher.note(fromClient, bytes.Clone(frame))
	s.relay.metrics.up.Add(float64(len(frame)))
	_ = s.vendor.write(frame) // its failure ends run
}

// Close implements session.Conn.
func (s *stream) Close(code int, reason string) {
	s.end.Do(func() {
		s.watcher.code, s.watcher.reason = code, reason
		close(s.watched)
	})
	s.vendor.leave()
}

func (s *stream) owner() *proxy.App         { return s.app }
func (s *stream) dismiss(e *protocol.Error) { s.out.Close(e.Code, e.Message) }
func (s *stream) abort() {
	_ = s.vendor.ws.Close()
	s.out.Close(protocol.ErrReconnect.Code, protocol.ErrReconnect.Message)
}
