package websocket

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/valyala/fasthttp"
)

// subprotocol is offered by the Swift client, which must get it back.
const subprotocol = "pusher-channels-protocol-7"

// readBuffer is what a connection reads into. gorilla takes over a reader of
// more than 256 bytes as it is; most frames of clients are shorter.
const readBuffer = 320

// Headers that the handshake depends on, as gorilla looks them up.
var handshakeHeaders = [...]string{
	"Connection", "Upgrade", "Sec-Websocket-Version", "Sec-Websocket-Key", "Sec-Websocket-Protocol",
}

// scratch is memory that one connection needs for a moment and the next can
// use again.
type scratch struct {
	handshakes *sync.Pool
	buffers    *sync.Pool // of an inbound message
}

type handshake struct {
	request http.Request
	writer  *bufio.Writer
	buffers writeBuffers
}

// writeBuffers is a gorilla.BufferPool that is never asked: with one set,
// gorilla allocates no write buffer, and messages are not written by it.
type writeBuffers struct{}

func (writeBuffers) Get() any { return nil }
func (writeBuffers) Put(any)  {}

func newScratch() scratch {
	return scratch{
		handshakes: &sync.Pool{New: func() any {
			return &handshake{
				request: http.Request{Header: make(http.Header, len(handshakeHeaders))},
				writer:  bufio.NewWriterSize(nil, 256),
			}
		}},
		buffers: &sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
}

// handshake judges and answers an upgrade request. When it returns false the
// refusal is in ctx.
func (s *Server) handshake(ctx *fasthttp.RequestCtx, c *conn) bool {
	h := s.scratch.handshakes.Get().(*handshake)
	defer s.scratch.handshakes.Put(h)
	h.request.Method = string(ctx.Method())
	for _, name := range handshakeHeaders {
		h.request.Header[name] = h.request.Header[name][:0]
		for _, value := range ctx.Request.Header.PeekAll(name) {
			h.request.Header[name] = append(h.request.Header[name], string(value))
		}
	}
	upgrader := websocket.Upgrader{
		WriteBufferPool: h.buffers,
		Subprotocols:    []string{subprotocol},
		CheckOrigin:     func(*http.Request) bool { return true }, // the session's business: it is refused in-band
		Error:           answer(ctx),
	}
	ws, err := upgrader.Upgrade(hijacker{c: c, h: h}, &h.request, nil)
	h.writer.Reset(nil)
	if err != nil {
		return false
	}
	c.attach(ws)
	return true
}

// hijacker hands a conn to gorilla the way net/http would.
type hijacker struct {
	http.ResponseWriter // not used: Upgrader.Error answers refusals

	c *conn
	h *handshake
}

// Hijack implements http.Hijacker.
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w := (*wire)(h.c)
	w.reader = bufio.NewReaderSize(w, readBuffer)
	return w, bufio.NewReadWriter(w.reader, h.h.writer), nil
}
