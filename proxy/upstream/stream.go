package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

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
	ws      *websocket.Conn
	watcher *watcher
	watched chan struct{} // closed when the client has ended
	end     sync.Once
}

var _ session.Conn = (*stream)(nil)

// Takes reports whether the app's clients are relayed, and so are to be
// connected by Connect.
func (r *Relay) Takes(app *proxy.App) bool { return r.takes(app) && !r.isDraining() }

// Connect relays a client that did not come over a WebSocket. The vendor's
// greeting has been sent to out when it returns.
func (r *Relay) Connect(app *proxy.App, client proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
	s := &stream{relay: r, app: app, info: client, out: out, watched: make(chan struct{})}
	s.watcher = newWatcher(r, app, &s.info)
	err := s.dial()
	r.metrics.dials.WithLabelValues(app.ID, trouble(err)).Inc()
	if err == nil {
		err = s.greet()
	}
	if err != nil {
		r.settings.Log.Warn().Err(err).Str("app", app.ID).Str("upstream", app.Upstream.WebSocket).Msg("upstream not reachable")
		return nil, errUnreachable
	}
	if !r.begin(s, s.run) {
		_ = s.ws.Close() // the process is ending
		return nil, protocol.ErrReconnect
	}
	return s, nil
}

func (s *stream) dial() error {
	base, err := url.Parse(s.app.Upstream.WebSocket)
	if err != nil {
		return fmt.Errorf("upstream.websocket of app %q: %w", s.app.ID, err)
	}
	base.Path = strings.TrimRight(base.Path, "/") + "/app/" + s.info.Key
	base.RawQuery = url.Values{
		"protocol": {strconv.Itoa(s.info.Protocol)}, "client": {s.info.Library}, "version": {s.info.Version},
	}.Encode()
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	dialer := websocket.Dialer{HandshakeTimeout: dialTimeout, NetDialContext: new(net.Dialer).DialContext, ReadBufferSize: chunk, WriteBufferSize: chunk}
	ws, answer, err := dialer.DialContext(ctx, base.String(), nil)
	if answer != nil {
		_ = answer.Body.Close() // of a refusal; it was read
	}
	if errors.Is(err, websocket.ErrBadHandshake) && answer != nil {
		return refusedError{answer.StatusCode}
	}
	if err != nil {
		return err
	}
	ws.SetReadLimit(maxMessage)
	s.ws = ws
	return nil
}

// greet passes the first message on: whatever comes, it came in time.
func (s *stream) greet() error {
	if err := s.ws.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	if !s.pass() {
		_ = s.ws.Close() // it ended already
		return errors.New("upstream ended without a greeting")
	}
	return s.ws.SetReadDeadline(time.Time{})
}

// run passes what the vendor says until it ends.
func (s *stream) run() {
	s.relay.metrics.open.WithLabelValues(s.app.ID).Inc()
	defer s.relay.metrics.open.WithLabelValues(s.app.ID).Dec()
	var watching sync.WaitGroup
	watching.Go(func() { s.watcher.run(s.watched) })
	for s.pass() {
	}
	_ = s.ws.Close()
	watching.Wait() // until the client has ended as well
	s.relay.metrics.closed(s.app.ID, s.watcher.code)
}

// pass passes one message from the vendor, or its end.
func (s *stream) pass() bool {
	kind, text, err := s.ws.ReadMessage()
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		s.out.Close(closed.Code, closed.Text)
		return false
	case err != nil:
		s.out.Close(errLost.Code, errLost.Message)
		return false
	}
	if kind == websocket.TextMessage {
		s.relay.metrics.down.Add(float64(len(text)))
		s.out.Send(fanout.One(text), 0)
		s.watcher.note(fromVendor, text)
	}
	return true
}

// Handle implements session.Conn.
func (s *stream) Handle(frame []byte) {
	s.watcher.note(fromClient, bytes.Clone(frame))
	s.relay.metrics.up.Add(float64(len(frame)))
	if s.ws.SetWriteDeadline(time.Now().Add(writeTimeout)) == nil {
		_ = s.ws.WriteMessage(websocket.TextMessage, frame) // its failure ends run
	}
}

// Close implements session.Conn.
func (s *stream) Close(code int, reason string) {
	s.end.Do(func() {
		s.watcher.code, s.watcher.reason = code, reason
		close(s.watched)
	})
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second)) // it may be gone already
	_ = s.ws.Close()
}

func (s *stream) owner() *proxy.App         { return s.app }
func (s *stream) dismiss(e *protocol.Error) { s.out.Close(e.Code, e.Message) }
func (s *stream) abort() {
	_ = s.ws.Close()
	s.out.Close(protocol.ErrReconnect.Code, protocol.ErrReconnect.Message)
}
