package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// vendorConn is a connection to the vendor that the gateway speaks for
// itself on. Only one goroutine may write.
type vendorConn struct {
	ws       *websocket.Conn
	socket   protocol.SocketID
	greeting []byte
}

// library is how the gateway names itself to the vendor.
const library = "offramp"

// dialVendor connects to the vendor and waits for its greeting.
func (r *Relay) dialVendor(ctx context.Context, app *proxy.App, info *proxy.Client) (*vendorConn, error) {
	v, err := dialVendor(ctx, app, info, r.onward(info.Via))
	r.connected(app.ID, err)
	return v, err
}

func dialVendor(ctx context.Context, app *proxy.App, info *proxy.Client, via string) (*vendorConn, error) {
	base, err := url.Parse(app.Upstream.WebSocket)
	if err != nil {
		return nil, fmt.Errorf("upstream.websocket of app %q: %w", app.ID, err)
	}
	base.Path = strings.TrimRight(base.Path, "/") + "/app/" + info.Key
	base.RawQuery = url.Values{
		"protocol": {strconv.Itoa(info.Protocol)}, "client": {info.Library}, "version": {info.Version},
	}.Encode()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := websocket.Dialer{NetDialContext: new(net.Dialer).DialContext, ReadBufferSize: chunk, WriteBufferSize: chunk}
	ws, answer, err := dialer.DialContext(ctx, base.String(), http.Header{protocol.ViaHeader: {via}})
	if answer != nil {
		_ = answer.Body.Close() // of a refusal; it was read
	}
	if errors.Is(err, websocket.ErrBadHandshake) && answer != nil {
		return nil, refusedError{answer.StatusCode}
	}
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(maxMessage)
	v := &vendorConn{ws: ws}
	if err := v.greet(); err != nil {
		_ = ws.Close() // it is of no use
		return nil, err
	}
	return v, nil
}

// greet reads the greeting. A vendor that refuses says so in its place.
func (v *vendorConn) greet() error {
	if err := v.ws.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	_, text, err := v.ws.ReadMessage()
	if err != nil {
		return err
	}
	f, ok := readServerFrame(text)
	if code := gjson.GetBytes(f.content(), "code").Int(); f.event == "pusher:error" {
		return &websocket.CloseError{Code: int(code), Text: gjson.GetBytes(f.content(), "message").String()}
	}
	if !ok || f.event != "pusher:connection_established" {
		return fmt.Errorf("upstream: expected a greeting, got %.200q", text)
	}
	v.greeting, v.socket = text, protocol.SocketID(gjson.GetBytes(f.content(), "socket_id").String())
	return v.ws.SetReadDeadline(time.Time{})
}

// readAll passes on what the vendor says until it ends or ended is closed.
func (v *vendorConn) readAll(messages chan<- []byte, ended <-chan struct{}) error {
	for {
		if err := v.ws.SetReadDeadline(time.Now().Add(tapSilence)); err != nil {
			return err
		}
		_, text, err := v.ws.ReadMessage()
		if err != nil {
			return err
		}
		select {
		case messages <- text:
		case <-ended:
			return nil
		}
	}
}

func (v *vendorConn) write(frame []byte) error {
	if err := v.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return v.ws.WriteMessage(websocket.TextMessage, frame)
}

// leave closes the connection in the protocol's way.
func (v *vendorConn) leave() {
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = v.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second)) // it may be gone already
	_ = v.ws.Close()
}

// subscribeFrame returns a subscription that the app's own secret signs for a
// connection, whoever it was signed for before.
func subscribeFrame(app *proxy.App, id protocol.SocketID, sub protocol.Subscribe) []byte {
	frame := protocol.AppendString([]byte(`{"event":"pusher:subscribe","data":{"channel":`), sub.Channel)
	if sub.ChannelData != nil {
		frame = protocol.AppendString(append(frame, `,"channel_data":`...), *sub.ChannelData)
	}
	if sub.Channel.NeedsAuth() {
		frame = protocol.AppendString(append(frame, `,"auth":`...), auth(app, protocol.ChannelString(id, sub.Channel, sub.ChannelData)))
	}
	return append(frame, "}}"...)
}

func unsubscribeFrame(channel protocol.ChannelName) []byte {
	return append(protocol.AppendString([]byte(`{"event":"pusher:unsubscribe","data":{"channel":`), channel), "}}"...)
}

// signinFrame returns a sign-in that the app's own secret signs.
func signinFrame(app *proxy.App, id protocol.SocketID, userData string) []byte {
	frame := protocol.AppendString([]byte(`{"event":"pusher:signin","data":{"auth":`), auth(app, protocol.UserString(id, userData)))
	frame = protocol.AppendString(append(frame, `,"user_data":`...), userData)
	return append(frame, "}}"...)
}

func auth(app *proxy.App, text string) string {
	c := app.Credentials[0]
	return c.Key + ":" + protocol.Sign(c.Secret.Reveal(), text)
}
