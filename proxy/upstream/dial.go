package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" // #nosec G505 -- what RFC 6455 asks for, not a secret
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy/protocol"
)

// maxAnswer bounds the head of the vendor's answer to an upgrade request.
const maxAnswer = 16 << 10

// refusedError is an HTTP answer other than an upgrade.
type refusedError struct{ status int }

// Error implements error.
func (e refusedError) Error() string { return fmt.Sprintf("answered with HTTP status %d", e.status) }

// greeting is the vendor's side of a handshake.
type greeting struct {
	conn net.Conn
	head []byte // the answer to the upgrade request, as it came
	rest []byte // what came behind it
}

// dial asks the vendor for a WebSocket connection with the client's own
// handshake.
func dial(ctx context.Context, base *url.URL, request []byte) (greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := connect(ctx, base)
	if err != nil {
		return greeting{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	g, err := greet(conn, request)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // the dial has failed already
		return greeting{}, err
	}
	return g, nil
}

func connect(ctx context.Context, base *url.URL) (net.Conn, error) {
	host, port := base.Hostname(), base.Port()
	secure := base.Scheme == "wss" || base.Scheme == "https"
	if port == "" {
		port = "80"
		if secure {
			port = "443"
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil || !secure {
		return conn, err
	}
	secured := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake has failed already
		return nil, err
	}
	return secured, nil
}

func greet(conn net.Conn, request []byte) (greeting, error) {
	if _, err := conn.Write(request); err != nil {
		return greeting{}, err
	}
	in := bufio.NewReaderSize(conn, maxAnswer)
	for size := 1; ; {
		if _, err := in.Peek(size); err != nil {
			return greeting{}, err
		}
		seen, _ := in.Peek(in.Buffered())
		end := bytes.Index(seen, []byte("\r\n\r\n"))
		if end < 0 {
			size = len(seen) + 1
			continue
		}
		end += 4
		status, err := statusOf(seen)
		if err != nil {
			return greeting{}, err
		}
		if status != fasthttp.StatusSwitchingProtocols {
			return greeting{}, refusedError{status}
		}
		return greeting{conn: conn, head: bytes.Clone(seen[:end]), rest: bytes.Clone(seen[end:])}, nil
	}
}

func statusOf(head []byte) (int, error) {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	_, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	status, err := strconv.Atoi(string(code))
	if err != nil || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, errors.New("answered with something that is not HTTP")
	}
	return status, nil
}

// trouble names the kind of an error for a metric.
func trouble(err error) string {
	var refused refusedError
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var timeout net.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, new(loopError)):
		return "loop"
	case errors.As(err, &refused):
		return "http_" + strconv.Itoa(refused.status)
	case errors.As(err, &dns):
		return "dns"
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, &unknown),
		errors.As(err, new(tls.RecordHeaderError)), errors.As(err, new(tls.AlertError)):
		return "tls"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "other"
	}
}

// Headers of an upgrade request that the vendor is shown. Extensions are not:
// compressed frames could not be read along, and the vendor uses none.
var passedHeaders = [...]string{"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Origin", "User-Agent"}

// upgradeRequest returns the client's upgrade request as the vendor gets it.
func upgradeRequest(ctx *fasthttp.RequestCtx, base *url.URL, key, via string) []byte {
	out := append([]byte("GET "), base.EscapedPath()...)
	out = append(append(out, "/app/"...), url.PathEscape(key)...)
	if query := ctx.URI().QueryString(); len(query) > 0 {
		out = append(append(out, '?'), query...)
	}
	out = append(append(append(out, " HTTP/1.1\r\nHost: "...), base.Host...), "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"...)
	for _, name := range passedHeaders {
		if value := ctx.Request.Header.Peek(name); len(value) > 0 {
			out = append(append(append(append(out, name...), ": "...), value...), "\r\n"...)
		}
	}
	out = append(append(append(out, protocol.ViaHeader+": "...), via...), "\r\n"...)
	return append(out, "\r\n"...)
}

// upgradable reports whether a request is one that a WebSocket server can
// answer with an upgrade (RFC 6455, section 4.2.1).
func upgradable(ctx *fasthttp.RequestCtx) bool {
	header := &ctx.Request.Header
	key, err := base64.StdEncoding.DecodeString(string(header.Peek("Sec-WebSocket-Key")))
	return header.IsGet() && err == nil && len(key) == 16 && string(header.Peek("Sec-WebSocket-Version")) == "13"
}

// subprotocol is offered by the Swift client, which must get it back.
const subprotocol = "pusher-channels-protocol-7"

// ownAnswer returns the answer to an upgrade request that the vendor did not
// give, so that the client can be told why in the way it understands.
func ownAnswer(key string, offered bool) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // #nosec G401 -- RFC 6455, section 4.2.2
	out := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	out = append(base64.StdEncoding.AppendEncode(out, sum[:]), "\r\n"...)
	if offered {
		out = append(out, "Sec-WebSocket-Protocol: "+subprotocol+"\r\n"...)
	}
	return append(out, "\r\n"...)
}
