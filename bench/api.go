package bench

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// api is a set of keep-alive HTTP connections with one request in flight on
// each. A connection that the server closes after its answer is opened anew.
type api struct {
	loop  *loop
	to    unix.Sockaddr
	conns []*apiConn
	free  []*apiConn

	busy     int
	answered uint64
	failed   uint64
	failure  error // the first one
	redials  uint64

	measuring bool
	latency   *hdrhistogram.Histogram
}

type apiConn struct {
	socket
	api  *api
	lane int
	busy bool
	sent int64
	rest []byte // of an answer that has not come in whole
}

func newAPI(l *loop, to unix.Sockaddr, conns int) (*api, error) {
	a := &api{loop: l, to: to, latency: hdrhistogram.New(1, longestLatency, 3)}
	for lane := range conns {
		c := &apiConn{api: a, lane: lane}
		if err := c.dial(l, c, to); err != nil {
			return nil, fmt.Errorf("open publisher: %w", err)
		}
		a.conns = append(a.conns, c)
	}
	a.free = append(a.free, a.conns...)
	return a, nil
}

// take removes a connection that has no request in flight, if there is one.
func (a *api) take() *apiConn {
	if len(a.free) == 0 {
		return nil
	}
	c := a.free[0]
	a.free = a.free[:copy(a.free, a.free[1:])]
	return c
}

// request sends one whole request on a connection from take.
func (c *apiConn) request(b []byte, at int64) {
	c.busy, c.sent = true, at
	c.api.busy++
	if err := c.send(b); err != nil {
		c.fail(err)
	}
}

func (c *apiConn) writable() {
	if err := c.flush(); err != nil {
		c.fail(err)
	}
}

func (c *apiConn) readable() {
	b, err := c.read(c.rest)
	if err != nil {
		if !c.busy || len(c.out) > 0 {
			// Closed between two requests: only a keep-alive connection ending.
			c.redial()
			return
		}
		c.fail(err)
		return
	}
	a, ok, err := parseAnswer(b)
	switch {
	case err != nil:
		c.fail(err)
	case !ok:
		c.rest = append(c.rest[:0], b...)
	default:
		c.finish(a)
	}
}

func (c *apiConn) finish(a answer) {
	c.rest = c.rest[:0]
	if !c.busy {
		return
	}
	c.busy = false
	c.api.busy--
	if a.status != 200 {
		c.api.note(fmt.Errorf("%w: HTTP status %d: %.200s", ErrRefused, a.status, a.body))
	} else {
		c.api.answered++
		if c.api.measuring {
			_ = c.api.latency.RecordValue((c.api.loop.now - c.sent) / 1000)
		}
	}
	if a.closes {
		c.redial()
	}
	c.api.free = append(c.api.free, c)
}

// fail counts the request in flight as failed and starts over.
func (c *apiConn) fail(err error) {
	c.api.note(fmt.Errorf("publish: %w", err))
	wasBusy := c.busy
	if wasBusy {
		c.busy = false
		c.api.busy--
	}
	c.out = c.out[:0]
	c.redial()
	if wasBusy {
		c.api.free = append(c.api.free, c)
	}
}

// redial opens the connection again. A request that could not be sent yet
// stays queued and goes out on the new one.
func (c *apiConn) redial() {
	c.close()
	c.rest = c.rest[:0]
	c.api.redials++
	pending := append([]byte(nil), c.out...)
	if err := c.dial(c.api.loop, c, c.api.to); err != nil {
		c.api.note(err)
		return
	}
	c.out = append(c.out, pending...)
}

func (a *api) note(err error) {
	a.failed++
	if a.failure == nil {
		a.failure = err
	}
}

func (a *api) close() {
	for _, c := range a.conns {
		c.close()
	}
}

type answer struct {
	status int
	closes bool
	body   []byte
}

// parseAnswer reads one whole HTTP answer; ok is false while it is not whole.
func parseAnswer(b []byte) (a answer, ok bool, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return a, false, nil
	}
	head, body := b[:end+2], b[end+4:]
	if len(head) < 14 || !bytes.HasPrefix(head, []byte("HTTP/1.")) {
		return a, false, fmt.Errorf("bench: not an HTTP answer: %.40q", head)
	}
	if a.status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return a, false, fmt.Errorf("bench: HTTP status: %w", err)
	}
	a.closes = bytes.EqualFold(header(head, "connection"), []byte("close"))
	if bytes.EqualFold(header(head, "transfer-encoding"), []byte("chunked")) {
		a.body = body
		return a, bytes.HasSuffix(body, []byte("0\r\n\r\n")), nil
	}
	length, err := strconv.Atoi(string(header(head, "content-length")))
	if err != nil || length < 0 {
		return a, false, fmt.Errorf("bench: answer without a usable Content-Length: %.200q", head)
	}
	a.body = body[:min(length, len(body))]
	return a, len(body) >= length, nil
}

// header returns a header's value; name must be in lower case.
func header(head []byte, name string) []byte {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}
