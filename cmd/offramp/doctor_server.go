package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	pusher "github.com/pusher/pusher-http-go/v5"
)

// What the doctor compares with.
const (
	signatureWindow = 600 * time.Second // requests with an older or newer time are refused
	clockTolerance  = 5 * time.Second
	certificateSoon = 21 * 24 * time.Hour
	// fallbackAfter is when pusher-js gives up waiting for a WebSocket.
	fallbackAfter = 2 * time.Second
)

// examineServer looks at a server the way its clients do, from the name
// inwards, and stops where going on makes no sense.
func examineServer(ctx context.Context, t *target, idle time.Duration) []finding {
	ctx, cancel := context.WithTimeout(ctx, idle+2*time.Minute)
	defer cancel()
	found := examineName(ctx, "name "+t.host, t.host)
	if anyBroken(found) {
		return found
	}
	conn, err := (&net.Dialer{Timeout: requestTimeout}).DialContext(ctx, "tcp", t.address())
	if err != nil {
		return append(found, finding{"port", broken, fmt.Sprintf("nothing answers on %s: %v", t.address(), cause(err)),
			"start the server, open the port in the firewall, or correct --host and --port"})
	}
	found = append(found, finding{"port", healthy, t.address() + " accepts connections", ""})
	_ = conn.Close()
	if t.tls {
		found = append(found, examineCertificate(ctx, t)...)
	}
	found = append(found, examineAPI(ctx, t)...)
	found = append(found, examineSocket(ctx, t, idle)...)
	return append(found, examineFallback(ctx, t)...)
}

func anyBroken(found []finding) bool {
	for _, f := range found {
		if f.Health == broken {
			return true
		}
	}
	return false
}

// cause is the innermost text of an error of the system, without the address
// or path, which the finding names.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// examineName resolves a host.
func examineName(ctx context.Context, check, host string) []finding {
	if net.ParseIP(host) != nil {
		return []finding{{check, healthy, "it is an address, no name to resolve", ""}}
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return []finding{{check, broken, fmt.Sprintf("it does not resolve: %v", cause(err)), "create its DNS record, or correct the name"}}
	}
	return []finding{{check, healthy, "it resolves to " + strings.Join(addresses, ", "), ""}}
}

// examineUpstream asks whether a service that the gateway will call is there.
func examineUpstream(ctx context.Context, check, base string) []finding {
	u, err := url.Parse(base)
	if err != nil {
		return nil // the configuration was checked
	}
	address := u.Host
	if u.Port() == "" {
		port := "80"
		if u.Scheme == "https" || u.Scheme == "wss" {
			port = "443"
		}
		address = net.JoinHostPort(u.Hostname(), port)
	}
	conn, err := (&net.Dialer{Timeout: requestTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return []finding{{check, broken, fmt.Sprintf("%s cannot be reached from here: %v", address, cause(err)), "open the way out for this address, or correct the URL"}}
	}
	_ = conn.Close()
	return []finding{{check, healthy, address + " can be reached from here", ""}}
}

// examineCertificate looks at the certificate that clients are shown.
func examineCertificate(ctx context.Context, t *target) []finding {
	const check = "certificate"
	// Verification is ours, so that the reason can be named.
	dialer := tls.Dialer{Config: &tls.Config{ServerName: t.host, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}} //nolint:gosec // verified below
	raw, err := dialer.DialContext(ctx, "tcp", t.address())
	if err != nil {
		return []finding{{check, broken, fmt.Sprintf("the TLS handshake fails: %v", cause(err)), "is this port TLS at all? Leave --tls out if not"}}
	}
	defer func() { _ = raw.Close() }()
	state := raw.(*tls.Conn).ConnectionState() //nolint:forcetypeassert // documented: a tls.Dialer returns *tls.Conn
	return judgeChain(state.PeerCertificates, t.host, time.Now(), nil)
}

// judgeChain says what clients will think of a certificate chain. roots is nil
// for the system's.
func judgeChain(chain []*x509.Certificate, host string, now time.Time, roots *x509.CertPool) []finding {
	const check = "certificate"
	if len(chain) == 0 {
		return []finding{{check, broken, "the server sends none", "configure one"}}
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf := chain[0]
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Intermediates: between, CurrentTime: now, Roots: roots})
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	left := leaf.NotAfter.Sub(now)
	switch {
	case errors.As(err, &wrongName):
		return []finding{{check, broken, fmt.Sprintf("it is for %s, not for %s", strings.Join(leaf.DNSNames, ", "), host), "order one that names this host"}}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return []finding{{check, broken, "it is valid from " + leaf.NotBefore.Format(time.DateOnly) + " to " + leaf.NotAfter.Format(time.DateOnly) + ", and that is not now", "renew it, and look at this machine's clock"}}
	case errors.As(err, &unknown) && len(chain) == 1:
		return []finding{{check, broken, "clients do not trust it: the server sends no intermediate certificate, or it is self-signed", "put the whole chain into the certificate file: mobile clients do not fetch what is missing"}}
	case err != nil:
		return []finding{{check, broken, "clients do not trust it: " + err.Error(), "use a certificate of a public authority"}}
	case left < certificateSoon:
		return []finding{{check, watch, fmt.Sprintf("it ends in %d days", int(left.Hours()/24)), "renew it, or see why it is not renewed by itself"}}
	}
	return []finding{{check, healthy, fmt.Sprintf("it is trusted for %s, %d more days", host, int(left.Hours()/24)), ""}}
}

// examineAPI sends a signed request, which shows the clock, the credentials
// and what stands in front.
func examineAPI(ctx context.Context, t *target) []finding {
	watcher := &headerWatch{}
	api := t.api()
	api.HTTPClient = &http.Client{Timeout: requestTimeout, Transport: watcher}
	before := time.Now()
	_, err := api.Channels(pusher.ChannelsParams{})
	var found []finding
	if watcher.header != nil {
		found = append(found, judgeClock(watcher.header.Get("Date"), before, time.Now()))
		found = append(found, judgeProxy(watcher.header)...)
	}
	const check = "signed request"
	switch {
	case err == nil:
		found = append(found, finding{check, healthy, "GET /apps/" + t.appID + "/channels is accepted", ""})
	case watcher.status == http.StatusUnauthorized:
		found = append(found, finding{check, broken, "the signature is refused: " + clipLine(err.Error()),
			"compare app id, key and secret; if they are right, a proxy changes the path or the query, or a clock is wrong"})
	case watcher.status == http.StatusNotFound:
		found = append(found, finding{check, broken, "there is no such app or path: " + clipLine(err.Error()), "compare the app id, and --path-prefix with what the proxy removes"})
	case watcher.status != 0:
		found = append(found, finding{check, broken, "it is answered " + clipLine(err.Error()), "look into the logs of the server and of the proxy in front"})
	default:
		found = append(found, finding{check, broken, fmt.Sprintf("there is no answer: %v", cause(err)), "look into the logs of the server and of the proxy in front"})
	}
	return found
}

// headerWatch is an http.RoundTripper that keeps the last answer's header.
type headerWatch struct {
	header http.Header
	status int
}

// RoundTrip implements http.RoundTripper.
func (h *headerWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		h.header, h.status = response.Header, response.StatusCode
	}
	return response, err
}

func clipLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s[:min(len(s), 200)]
}

// judgeClock compares the server's clock, which an HTTP date gives to the
// second, with this machine's.
func judgeClock(date string, before, after time.Time) finding {
	const check = "clock"
	server, err := http.ParseTime(date)
	if err != nil {
		return finding{check, watch, "the server does not say what time it is", "compare the clocks by hand: publishes are refused when they differ by more than 600 s"}
	}
	off := server.Sub(after)
	if early := server.Add(time.Second).Sub(before); early < 0 {
		off = early
	} else if off < 0 {
		off = 0
	}
	switch size := off.Abs(); {
	case size >= signatureWindow:
		return finding{check, broken, fmt.Sprintf("the server's clock differs by %v: every signed request is refused", size.Round(time.Second)), "run NTP on both machines"}
	case size > clockTolerance:
		return finding{check, watch, fmt.Sprintf("the server's clock differs by %v", size.Round(time.Second)), "run NTP on both machines: from 600 s on, signed requests are refused"}
	}
	return finding{check, healthy, "the server's clock agrees with this machine's", ""}
}

// judgeProxy names what stands in front of the server, by the headers it left.
func judgeProxy(h http.Header) []finding {
	var signs []string
	for _, name := range []string{"Server", "Via", "X-Cache", "CF-Ray", "X-Amz-Cf-Id", "X-Envoy-Upstream-Service-Time"} {
		if value := h.Get(name); value != "" && !strings.HasPrefix(value, "offramp") {
			signs = append(signs, name+": "+clipLine(value))
		}
	}
	if len(signs) == 0 {
		return nil
	}
	return []finding{{"proxy", watch, "something stands in front (" + strings.Join(signs, "; ") + ")",
		"let it pass Upgrade and Connection headers, not buffer answers, keep silent connections for more than 130 s (nginx: proxy_read_timeout 150s), and allow enough open files; `offramp doctor --idle 130s` tries"}}
}

// examineSocket connects as a browser does.
func examineSocket(ctx context.Context, t *target, idle time.Duration) []finding {
	const check = "websocket"
	dialer := websocket.Dialer{HandshakeTimeout: requestTimeout}
	begin := time.Now()
	conn, response, err := dialer.DialContext(ctx, t.webSocket("offramp-doctor"), nil)
	if response != nil {
		defer func() { _ = response.Body.Close() }()
	}
	if err != nil {
		return []finding{judgeUpgrade(response, err)}
	}
	defer func() { _ = conn.Close() }()
	conn.SetReadLimit(maxTailFrame)
	_ = conn.SetReadDeadline(time.Now().Add(requestTimeout))
	var greeting tailFrame
	if err := conn.ReadJSON(&greeting); err != nil {
		return []finding{{check, broken, fmt.Sprintf("it opens, and then there is no greeting: %v", closed(err)), "is this a Pusher-compatible server?"}}
	}
	took := time.Since(begin)
	var found []finding
	switch {
	case greeting.Event != "pusher:connection_established":
		return []finding{{check, broken, "the server greets with " + clipLine(greeting.Event+" "+greeting.text()), "compare the app's key, and whether the app is enabled"}}
	case took > fallbackAfter:
		found = append(found, finding{check, watch, fmt.Sprintf("it is established after %v: browsers start their HTTP fallback after %v", took.Round(time.Millisecond), fallbackAfter), "look for the delay: name, handshake, proxy, load"})
	default:
		found = append(found, finding{check, healthy, fmt.Sprintf("it is established after %v", took.Round(time.Millisecond)), ""})
	}
	if idle > 0 {
		found = append(found, stayIdle(conn, idle))
	}
	return found
}

func judgeUpgrade(response *http.Response, err error) finding {
	const check = "websocket"
	if response == nil {
		return finding{check, broken, fmt.Sprintf("it cannot be opened: %v", cause(err)), "see the findings above"}
	}
	status := strconv.Itoa(response.StatusCode)
	switch response.StatusCode {
	case http.StatusOK, http.StatusBadRequest, http.StatusUpgradeRequired:
		return finding{check, broken, "the upgrade is answered " + status + " in place of 101: something in between removes the Upgrade header",
			"nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\""}
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return finding{check, broken, "the proxy in front answers " + status, "it cannot reach the gateway, or the gateway drains: see its /ready"}
	}
	return finding{check, broken, "the upgrade is answered " + status + " in place of 101", "compare the path: " + "clients call /app/KEY, after --path-prefix if there is one"}
}

// stayIdle keeps a connection silent, but for answering the server, and sees
// whether it lives.
func stayIdle(conn *websocket.Conn, span time.Duration) finding {
	const check = "silence"
	begin := time.Now()
	_ = conn.SetReadDeadline(begin.Add(span))
	for {
		_, raw, err := conn.ReadMessage()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return finding{check, healthy, fmt.Sprintf("a silent connection lives for %v", span), ""}
		}
		if err != nil {
			return finding{check, broken, fmt.Sprintf("a silent connection is cut after %v: %v", time.Since(begin).Round(time.Second), closed(err)),
				"raise the idle timeout of the proxy or load balancer in front above 130 s"}
		}
		var f tailFrame
		if json.Unmarshal(raw, &f) == nil && f.Event == "pusher:ping" {
			_ = conn.WriteJSON(map[string]any{"event": "pusher:pong", "data": map[string]any{}})
		}
	}
}

// examineFallback opens the HTTP fallback, and sees whether a proxy holds its
// stream back.
func examineFallback(ctx context.Context, t *target) []finding {
	const check = "http fallback"
	base := strings.Replace(t.webSocket("offramp-doctor"), "ws", "http", 1)
	u, err := url.Parse(base)
	if err != nil {
		return nil
	}
	// A session of its own each time: the server keeps one for a while.
	u.Path = t.prefix + "/pusher/app/" + t.key + "/121/" + strings.ToLower(rand.Text()[:8]) + "/xhr_streaming"
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), http.NoBody)
	if err != nil {
		return nil
	}
	begin := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return []finding{{check, watch, fmt.Sprintf("there is no answer within %v: the stream is held back, or not served", requestTimeout), "turn answer buffering off in the proxy (nginx: proxy_buffering off)"}}
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return []finding{{check, watch, "it is not served (" + response.Status + "): where WebSockets are blocked, clients do not get through", "route /pusher/ to the gateway as well"}}
	}
	// A prelude, the opening frame "o", then the greeting.
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "connection_established") {
			if took := time.Since(begin); took > fallbackAfter {
				return []finding{{check, watch, fmt.Sprintf("its greeting takes %v", took.Round(time.Millisecond)), "turn answer buffering off in the proxy (nginx: proxy_buffering off)"}}
			}
			return []finding{{check, healthy, "a stream delivers at once", ""}}
		}
	}
	return []finding{{check, watch, "the stream ends, or is held back, before its greeting", "turn answer buffering off in the proxy (nginx: proxy_buffering off)"}}
}

// hostPort splits a checked listen address; an address that means every
// interface is called as loopback.
func hostPort(listen string) (string, int) {
	host, port, _ := net.SplitHostPort(listen) // checked with the configuration
	n, _ := strconv.Atoi(port)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return host, n
}
