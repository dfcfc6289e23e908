package httpstream

import (
	"bytes"
	"net"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/transport/hijack"
)

const (
	// reopenAt is the length, as a JavaScript string, beyond which pusher-js
	// gives up an answer that it has read to its end and asks for a new one.
	// What is sent in between would be lost, so nothing is: the answer rests
	// once it is longer, until the client comes back.
	reopenAt = 256 << 10
	// reopenPatience is how long it rests for a client that does not come
	// back, and so must be one that goes on reading.
	reopenPatience = 10 * time.Second

	writeTimeout = 10 * time.Second
	preludeSize  = 2048
)

// errBusy is what a second receiver gets while the first is there.
var errBusy = &protocol.Error{Code: 2010, Message: "Another connection still open"}

// servePolling answers xhr: it waits for frames and ends with the first.
func (s *Server) servePolling(ctx *fasthttp.RequestCtx, key, id string) {
	ctx.SetContentType(framesType)
	st, r := s.receive(ctx, key, id, "xhr_polling")
	if r == nil {
		ctx.SetBody(appendClose(nil, errBusy))
		return
	}
	defer st.release(r)
	st.seen()
	frames, last := st.next(r)
	if len(frames) == 0 {
		frames, last = awaitNext(ctx, st, r)
	}
	if last {
		defer st.end()
	}
	ctx.SetBody(frames)
}

// awaitNext waits until there is something to answer a poll with. It returns
// nothing when nobody is waiting for it any more.
func awaitNext(ctx *fasthttp.RequestCtx, st *stream, r *receiver) (frames []byte, last bool) {
	gone, stop := hijack.Watch(ctx)
	defer stop()
	heartbeat := time.NewTimer(HeartbeatEvery)
	defer heartbeat.Stop()
	for len(frames) == 0 {
		select {
		case <-st.wake:
		case <-heartbeat.C:
			st.Ping()
		case <-r.replaced:
			return nil, false
		case <-gone:
			return nil, false
		}
		frames, last = st.next(r)
	}
	return frames, last
}

// serveStreaming answers xhr_streaming with an answer that does not end. Its
// connection is taken over, so that the client's going away is noticed.
func (s *Server) serveStreaming(ctx *fasthttp.RequestCtx, key, id string) {
	hijack.Take(ctx, func(c net.Conn, _ []byte) {
		if !s.receiverStarts() {
			c.Close()
			return
		}
		defer s.receivers.Done()
		defer func() {
			if cause := recover(); cause != nil {
				s.settings.Sessions.Panicked("stream to a connection", cause)
				c.Close()
			}
		}()
		a := &answer{conn: c, chunked: ctx.Request.Header.IsHTTP11()}
		st, r := s.receive(ctx, key, id, "xhr_streaming")
		s.stream(a, st, r)
	})
}

// stream writes the frames of a session until the session, the client, or the
// client's interest in this answer ends.
func (s *Server) stream(a *answer, st *stream, r *receiver) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		awaitEnd(a.conn)
	}()
	defer func() {
		a.conn.Close()
		<-gone
	}()
	if a.begin() != nil {
		return
	}
	if r == nil {
		_ = a.write(appendClose(nil, errBusy))
		a.end()
		return
	}
	defer st.release(r)
	st.seen()
	for s.streamOn(a, st, r, gone) {
	}
}

// awaitEnd reads until the client is gone. It has nothing more to say.
func awaitEnd(c net.Conn) {
	var ignored [64]byte
	for {
		if _, err := c.Read(ignored[:]); err != nil {
			return
		}
	}
}

// streamOn writes what there is and waits for more. It reports whether to go
// on.
func (s *Server) streamOn(a *answer, st *stream, r *receiver, gone <-chan struct{}) bool {
	if a.length > reopenAt {
		return rest(a, st, r, gone)
	}
	frames, last := st.next(r)
	if len(frames) == 0 {
		return idle(st, r, gone)
	}
	if a.length += jsLength(frames); a.length > reopenAt {
		st.pause(r, true) // before the client can see it, and come back
	}
	if last {
		st.end()
	}
	if a.write(frames) != nil {
		return false
	}
	if last {
		a.end()
	}
	return !last
}

// idle waits until there may be something to write.
func idle(st *stream, r *receiver, gone <-chan struct{}) bool {
	heartbeat := time.NewTimer(HeartbeatEvery)
	defer heartbeat.Stop()
	select {
	case <-st.wake:
	case <-heartbeat.C:
		st.Ping()
	case <-r.replaced:
		return false
	case <-gone:
		return false
	}
	return true
}

// rest waits for the client to come back with another request.
func rest(a *answer, st *stream, r *receiver, gone <-chan struct{}) bool {
	patience := time.NewTimer(reopenPatience)
	defer patience.Stop()
	select {
	case <-patience.C:
		st.pause(r, false)
		a.length = 0
	case <-r.replaced:
		return false
	case <-gone:
		return false
	}
	return true
}

// answer is the body of a streaming answer. Clients of HTTP/1.0, as which some
// proxies come, get it without chunks.
type answer struct {
	conn    net.Conn
	chunked bool
	length  int // of what was written, as a JavaScript string counts
}

const answerHead = "HTTP/1.1 200 OK\r\n" +
	"Content-Type: " + framesType + "\r\n" +
	"Cache-Control: " + noCache + "\r\n" +
	"Access-Control-Allow-Origin: *\r\n" +
	"X-Accel-Buffering: no\r\n" +
	"Connection: close\r\n"

// begin writes the head and the prelude, which makes old browsers show what
// follows without delay.
func (a *answer) begin() error {
	head := []byte(answerHead)
	if a.chunked {
		head = append(head, "Transfer-Encoding: chunked\r\n"...)
	}
	if err := a.send(append(head, "\r\n"...)); err != nil {
		return err
	}
	a.length = preludeSize + 1
	return a.write(append(bytes.Repeat([]byte("h"), preludeSize), '\n'))
}

// write sends frames as one piece.
func (a *answer) write(frames []byte) error {
	if !a.chunked {
		return a.send(frames)
	}
	chunk := strconv.AppendInt(make([]byte, 0, len(frames)+16), int64(len(frames)), 16)
	chunk = append(append(append(chunk, "\r\n"...), frames...), "\r\n"...)
	return a.send(chunk)
}

// end completes the answer.
func (a *answer) end() {
	if a.chunked {
		_ = a.send([]byte("0\r\n\r\n"))
	}
}

func (a *answer) send(b []byte) error {
	if err := a.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := a.conn.Write(b)
	return err
}

// jsLength counts UTF-16 code units, as JavaScript does.
func jsLength(text []byte) (n int) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if text = text[size:]; r > 0xffff {
			n++
		}
		n++
	}
	return n
}
