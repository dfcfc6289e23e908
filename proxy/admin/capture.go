package admin

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// longestCapture bounds one recording.
const longestCapture = time.Hour

// capture streams a recording of an app's traffic, gzip over lines of JSON. A
// file that was cut off is one whose gzip has no end.
func (s *Server) capture(w http.ResponseWriter, r *http.Request) {
	if s.Capture == nil {
		absent(w, "recorder")
		return
	}
	app, ok := s.app(w, r)
	if !ok {
		return
	}
	length, err := time.ParseDuration(r.FormValue("for"))
	if err != nil || length < time.Second || length > longestCapture {
		fail(w, http.StatusBadRequest, "for is not a span of 1s to "+longestCapture.String(), "write for=60s")
		return
	}
	payloads, err := strconv.ParseBool(r.FormValue("payloads"))
	if err != nil && r.FormValue("payloads") != "" {
		fail(w, http.StatusBadRequest, "payloads is neither true nor false", "leave it out to have payloads replaced by hashes")
		return
	}
	out := &captureBody{w: w, out: http.NewResponseController(w)}
	switch err := s.Capture(r.Context(), app.ID, length, payloads, out); {
	case err == nil, r.Context().Err() != nil:
	case !out.begun:
		s.failure(w, err)
	default:
		s.Log.Warn().Err(err).Str("app", app.ID).Msg("recording cut off")
	}
}

// captureBody begins the answer with the first byte, and gives each write a
// time of its own.
type captureBody struct {
	w     http.ResponseWriter
	out   *http.ResponseController
	begun bool
}

func (b *captureBody) Write(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		b.w.Header().Set("Content-Type", "application/gzip")
	}
	// A recorder in a test has no connection to set a deadline on.
	if err := b.out.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return b.w.Write(p)
}

var _ io.Writer = (*captureBody)(nil)
