package admin

import (
	"encoding/json"
	"errors"
	"io"
	"log" //nolint:depguard // net/http and promhttp want one
	"mime"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// Problem is the body of every answer that is an error.
type Problem struct {
	Error string `json:"error"`         // what is wrong
	Fix   string `json:"fix,omitempty"` // what to do about it
}

// reply writes a value as JSON.
func (s *Server) reply(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		s.Log.Error().Err(err).Msg("admin answer cannot be encoded")
		fail(w, http.StatusInternalServerError, "the answer cannot be encoded", "see the log")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// fail writes an error.
func fail(w http.ResponseWriter, status int, problem, fix string) {
	body, err := json.Marshal(Problem{problem, fix})
	if err != nil {
		body = []byte(`{"error":"error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// failure answers a source's error.
func (s *Server) failure(w http.ResponseWriter, err error) {
	for sentinel, status := range map[error]int{
		ErrNotFound: http.StatusNotFound, ErrInvalid: http.StatusBadRequest,
		ErrRefused: http.StatusConflict, ErrNotYet: http.StatusServiceUnavailable,
	} {
		if errors.Is(err, sentinel) {
			fail(w, status, err.Error(), "")
			return
		}
	}
	s.Log.Error().Err(err).Msg("admin request failed")
	fail(w, http.StatusInternalServerError, err.Error(), "")
}

// absent answers for a part that this gateway does not run.
func absent(w http.ResponseWriter, what string) {
	fail(w, http.StatusNotFound, "this gateway runs no "+what, "see docs/configuration.md")
}

// decode reads a JSON body into target, strictly. An empty body is {}.
func decode(w http.ResponseWriter, r *http.Request, target any) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "the body must be JSON", "send Content-Type: application/json")
		return false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(target)
	if err == nil && decoder.More() {
		err = errors.New("there is something behind the JSON value")
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return true
	case errors.As(err, &tooLarge):
		fail(w, http.StatusRequestEntityTooLarge, "the body is too large", "send at most "+strconv.Itoa(maxBodyBytes)+" bytes")
	default:
		fail(w, http.StatusBadRequest, "the body cannot be read: "+err.Error(), "see docs/operations.md for its fields")
	}
	return false
}

// clip bounds text that came from outside.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// standardLog passes what net/http has to say on to l.
func standardLog(l zerolog.Logger) *log.Logger {
	return log.New(l.With().Str("level", "warn").Logger(), "", 0)
}
