package websocket

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// wire is a conn as the net.Conn that gorilla reads from and answers to.
type wire conn

var _ net.Conn = (*wire)(nil)

// Read implements net.Conn. Whatever arrives is a sign of life.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.early) > 0 {
		n := copy(p, w.early)
		if w.early = w.early[n:]; len(w.early) == 0 {
			w.early = nil
		}
		return n, nil
	}
	n, err := w.raw.Read(p)
	if n > 0 && w.session != nil {
		w.session.Seen()
	}
	if w.linger > 0 {
		if w.linger -= n; w.linger <= 0 {
			w.linger, err = 1, errTooMuch
		}
	}
	return n, err
}

// errTooMuch ends the reading past a peer that does not stop sending.
var errTooMuch = errors.New("too much input behind a close frame")

// First bytes of control frames (RFC 6455, section 5.2), and the size of the
// longest.
const (
	closeOpcode = 0x88
	pingOpcode  = 0x89
	pongOpcode  = 0x8a
	maxControl  = 125
)

// Write implements net.Conn. gorilla writes the answer to the handshake, and
// of its own accord only the close frames of protocol violations, each in one
// call.
func (w *wire) Write(p []byte) (int, error) {
	if len(p) >= 4 && p[0] == closeOpcode {
		w.out.Close(int(binary.BigEndian.Uint16(p[2:4])), string(p[4:]))
		return len(p), nil
	}
	return w.out.Write(p)
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.out.Shut()
	return nil
}

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return w.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (w *wire) RemoteAddr() net.Addr { return w.raw.RemoteAddr() }

// SetDeadline implements net.Conn. Deadlines are the Outbox's business.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
