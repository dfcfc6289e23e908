package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// contentPolicy lets the dashboard load its own two files and talk to this
// listener, and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guarded puts what holds for every answer in front of next: headers that keep
// browsers from being used against the operator, and the refusal of requests
// that a foreign web page made them send.
func (s *Server) guarded(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if s.Token.IsZero() && !localHost(r.Host) {
			// A web page can point its own name at 127.0.0.1 (DNS rebinding).
			fail(w, http.StatusForbidden, "this listener is for this machine only", "call it as localhost or 127.0.0.1, or set admin.token")
			return
		}
		if err := crossOrigin.Check(r); err != nil {
			fail(w, http.StatusForbidden, "this request came from another web page", "send it from the dashboard or the command line")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localHost reports whether a Host header names this machine.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// authorised asks for the token, if there is one. It is taken from the
// Authorization header and from nowhere else: URLs end up in logs.
func (s *Server) authorised(next http.Handler) http.Handler {
	if s.Token.IsZero() {
		return next
	}
	// Digests are of one length, so the comparison does not show the token's.
	want := sha256.Sum256([]byte(s.Token.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="offramp"`)
			fail(w, http.StatusUnauthorized, "the token is missing or wrong", "send Authorization: Bearer and the value of admin.token")
			return
		}
		next.ServeHTTP(w, r)
	})
}
