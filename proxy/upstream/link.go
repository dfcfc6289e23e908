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

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Bounds of a relayed connection. A client that does not read holds up the
// vendor's writes to it, as it would without a relay between them.
const (
	chunk        = 4 << 10          // bytes that are read at once, each way
	writeTimeout = 30 * time.Second // of one chunk
	lingerFor    = 5 * time.Second  // for the answer to a close frame
)

// link is one relayed client and its connection to the vendor.
type link struct {
	// Set before run.
	relay   *Relay
	app     *proxy.App
	base    *url.URL
	request []byte // for the vendor
	key     string // Sec-WebSocket-Key
	offered bool   // the client offered the sub-protocol
	info    proxy.Client
	client  net.Conn
	vendor  net.Conn // set by run before anything is passed
	watcher *watcher

	// Owned by passUp; read when it has ended.
	up         scanner
	clientCode int
	clientText string

	// Guarded by mu, which is held while the client is written to.
	mu         sync.Mutex
	down       scanner
	open       bool            // the upgrade is answered
	dismissal  *protocol.Error // the client is to be told to go
	dismissed  bool            // it has been told
	clientDone bool            // the client has ended
	vendorDone bool            // the vendor sent a close frame
	vendorCode int
	vendorText string
}

// newLink reads an upgrade request.
func (r *Relay) newLink(ctx *fasthttp.RequestCtx, app *proxy.App, key string) (*link, error) {
	base, err := url.Parse(app.Upstream.WebSocket)
	if err != nil {
		return nil, fmt.Errorf("upstream.websocket of app %q: %w", app.ID, err)
	}
	l := &link{
		relay: r, app: app, base: base,
		request: upgradeRequest(ctx, base, key, r.onward(viaOf(ctx))),
		key:     string(ctx.Request.Header.Peek("Sec-WebSocket-Key")),
		offered: bytes.Contains(ctx.Request.Header.Peek("Sec-WebSocket-Protocol"), []byte(subprotocol)),
		info:    clientOf(ctx, key),
	}
	l.watcher = newWatcher(r, app, &l.info)
	l.up.emit = func(opcode byte, payload []byte) {
		if opcode == opClose {
			l.clientCode, l.clientText = closeCode(payload)
			return
		}
		l.watcher.note(fromClient, payload)
	}
	l.down.emit = func(opcode byte, payload []byte) {
		if opcode == opClose {
			l.vendorDone = true
			l.vendorCode, l.vendorText = closeCode(payload)
			return
		}
		l.watcher.note(fromVendor, payload)
	}
	return l, nil
}

func clientOf(ctx *fasthttp.RequestCtx, key string) proxy.Client {
	args := ctx.QueryArgs()
	version, err := strconv.Atoi(string(args.Peek("protocol")))
	if err != nil {
		version = 0 // whatever it is, the vendor judges it
	}
	return proxy.Client{
		Key: key, Library: clip(args.Peek("client")), Version: clip(args.Peek("version")), Protocol: version,
		Transport: "ws", Remote: ctx.RemoteAddr().String(), TLS: ctx.IsTLS(), Via: viaOf(ctx),
	}
}

// clip keeps what a client says of itself to 100 bytes.
func clip(text []byte) string { return strings.ToValidUTF8(string(text[:min(len(text), 100)]), "") }

func (l *link) owner() *proxy.App { return l.app }

// abort ends the client's connection, and with it the vendor's.
func (l *link) abort() { _ = l.client.Close() }

// run relays until either side has ended.
func (l *link) run(early []byte) {
	defer l.client.Close()
	l.relay.metrics.open.WithLabelValues(l.app.ID).Inc()
	defer l.relay.metrics.open.WithLabelValues(l.app.ID).Dec()
	l.relay.settings.Feed.caughtUp(l.app.ID)
	g, err := l.dial()
	l.relay.connected(l.app.ID, err)
	if err != nil {
		l.turnAway(err)
		return
	}
	l.vendor = g.conn
	defer l.vendor.Close()

	var helpers sync.WaitGroup
	watched := make(chan struct{})
	helpers.Go(func() { l.watcher.run(watched) })
	if l.answer(g.head) {
		passed := make(chan struct{})
		helpers.Go(func() {
			defer close(passed)
			l.passUp(early)
			l.mu.Lock()
			l.clientDone = true
			l.mu.Unlock()
			_ = l.vendor.Close() // ends passDown
		})
		l.passDown(g.rest)
		l.wave()
		<-passed
	}
	l.watcher.code, l.watcher.reason = l.ending()
	l.relay.metrics.closed(l.app.ID, l.watcher.code)
	l.relay.closedWith(l.app.ID, l.vendorCode, l.vendorText)
	close(watched)
	helpers.Wait()
}

// dial connects to the vendor, unless that would lead back here.
func (l *link) dial() (greeting, error) {
	if l.relay.looped(l.info.Via) {
		return greeting{}, loopError{l.info.Via}
	}
	return dial(context.Background(), l.base, l.request)
}

// turnAway tells a client that the vendor cannot be reached.
func (l *link) turnAway(cause error) {
	l.mu.Lock()
	l.dismissal = l.relay.unreachable(l.app, &l.info, cause)
	l.mu.Unlock()
	if l.answer(ownAnswer(l.key, l.offered)) {
		l.linger()
	}
}

// unreachable notes that a client could not be relayed, and returns what it
// is told: 4100 makes it come back after a moment. Nothing here may send a
// client away for good.
func (r *Relay) unreachable(app *proxy.App, info *proxy.Client, cause error) *protocol.Error {
	r.settings.Log.Warn().Err(cause).Str("app", app.ID).Str("upstream", app.Upstream.WebSocket).Msg("upstream not reachable")
	r.offer(proxy.Record{
		Kind: proxy.KindRefused, At: time.Now(), Leg: proxy.LegVendor, Topic: proxy.Topic{App: app.ID},
		Client: info, Code: errUnreachable.Code, Action: "connect", Text: trouble(cause),
	})
	if errors.As(cause, new(loopError)) {
		r.metrics.loops.WithLabelValues(app.ID).Inc()
		return errLoop
	}
	return errUnreachable
}

var (
	errUnreachable = &protocol.Error{Code: protocol.CodeOverCapacity, Message: "Upstream not reachable, please try again"}
	errLost        = &protocol.Error{Code: protocol.CodeOverCapacity, Message: "Upstream connection lost, please try again"}
)

// answer completes the client's handshake.
func (l *link) answer(head []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.write(head) {
		return false
	}
	l.open = true
	if l.dismissal != nil {
		l.sayGoodbye()
	}
	return true
}

// passUp copies what the client says to the vendor. Frames are noted before
// they go, so that no answer can be noted before its question.
func (l *link) passUp(early []byte) {
	buf := make([]byte, chunk)
	for p, err := early, error(nil); ; {
		if len(p) > 0 {
			l.up.feed(p)
			l.relay.metrics.up.Add(float64(len(p)))
			if l.vendor.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
				return
			}
			if _, err := l.vendor.Write(p); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
		var n int
		n, err = l.client.Read(buf)
		p = buf[:n]
	}
}

// passDown copies what the vendor says to the client.
func (l *link) passDown(first []byte) {
	buf := make([]byte, chunk)
	for p, err := first, error(nil); ; {
		if len(p) > 0 && !l.deliver(p) {
			return
		}
		if err != nil {
			return
		}
		var n int
		n, err = l.vendor.Read(buf)
		p = buf[:n]
	}
}

// deliver writes to the client. Frames are noted before they go, as in
// passUp. Behind a goodbye nothing more may come; what the vendor still says
// is read past.
func (l *link) deliver(p []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dismissed {
		return true
	}
	l.down.feed(p)
	if !l.write(p) {
		return false
	}
	l.relay.metrics.down.Add(float64(len(p)))
	if l.dismissal != nil && l.down.between() {
		l.sayGoodbye()
	}
	return true
}

func (l *link) write(p []byte) bool {
	if l.client.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
		return false
	}
	_, err := l.client.Write(p)
	return err == nil
}

// dismiss tells the client to go, as soon as no frame is half through.
func (l *link) dismiss(e *protocol.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dismissal != nil {
		return
	}
	l.dismissal = e
	if l.open && l.down.between() {
		l.sayGoodbye()
	}
}

// sayGoodbye sends the close frame. mu is held.
func (l *link) sayGoodbye() {
	if l.dismissed || l.vendorDone || l.clientDone {
		return
	}
	l.dismissed = true
	if l.write(appendClose(nil, l.info.Protocol, l.dismissal.Code, l.dismissal.Message)) {
		_ = l.client.SetReadDeadline(time.Now().Add(lingerFor)) // a closed connection ends passUp as well
	}
}

// wave ends the client's side when the vendor has ended. Where the vendor did
// so without a word, the client is told to come back.
func (l *link) wave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dismissal == nil {
		l.dismissal = errLost
	}
	if l.down.between() {
		l.sayGoodbye()
	}
	l.closeWrite()
}

// closeWrite lets the client read what is on its way, and its answer arrive.
func (l *link) closeWrite() {
	if half, ok := l.client.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // nothing more is written
	}
	_ = l.client.SetReadDeadline(time.Now().Add(lingerFor))
}

// linger reads past what the client says until it ends.
func (l *link) linger() {
	l.mu.Lock()
	l.closeWrite()
	l.mu.Unlock()
	buf := make([]byte, chunk)
	for {
		if _, err := l.client.Read(buf); err != nil {
			return
		}
	}
}

// ending returns how the connection ended, by whoever said so.
func (l *link) ending() (code int, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dismissed:
		return l.dismissal.Code, l.dismissal.Message
	case l.vendorCode >= 4000 || l.clientCode == 0:
		return l.vendorCode, l.vendorText
	default: // the vendor echoes it
		return l.clientCode, l.clientText
	}
}
