package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	attemptTimeout = 4 * time.Second // for the whole exchange (vendor support pages: webhooks)
	maxAnswer      = 64 << 10        // bytes of an answer that are read, so that its connection can be used again
)

// outcome is how one try to deliver a request ended.
type outcome struct {
	status int   // of the answer; 0: there was none
	err    error // why there was none
	took   time.Duration
}

// delivered reports whether the receiver took the request.
func (o outcome) delivered() bool { return o.status >= 200 && o.status < 300 }

// unreachable reports whether the receiver never saw the request, as far as
// one can tell: there was no answer in time, or a proxy in front of it gave
// one in its place.
func (o outcome) unreachable() bool {
	return o.err != nil || o.status >= http.StatusBadGateway && o.status <= http.StatusGatewayTimeout
}

// String says how it ended, for status and dead letters.
func (o outcome) String() string {
	if o.err != nil {
		return o.err.Error()
	}
	return fmt.Sprintf("HTTP status %d", o.status)
}

// result is the outcome's label in metrics.
func (o outcome) result() string {
	switch {
	case o.delivered():
		return "delivered"
	case errors.Is(o.err, ErrForbiddenAddress):
		return "forbidden"
	case errors.Is(o.err, context.DeadlineExceeded):
		return "timeout"
	case o.err != nil:
		return "network"
	default:
		return "refused"
	}
}

// post sends a body to a webhook's URL, signed with credential.
func post(ctx context.Context, transport http.RoundTripper, to string, credential proxy.Credential, body []byte) outcome {
	header := http.Header{}
	sign(header, credential, body)
	return send(ctx, transport, to, header, body)
}

// send sends a body to a webhook's URL. Redirects are not followed: they are
// answers like any other that is not 2xx.
func send(ctx context.Context, transport http.RoundTripper, to string, header http.Header, body []byte) (o outcome) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	start := time.Now()
	defer func() { o.took = time.Since(start) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return outcome{err: withoutURL(err)}
	}
	req.Header = header.Clone()
	client := http.Client{Transport: transport, CheckRedirect: keepRedirect}
	resp, err := client.Do(req)
	if err != nil {
		return outcome{err: withoutURL(err)}
	}
	// The status decides; the rest is read so that the connection is reusable.
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	_ = resp.Body.Close()
	return outcome{status: resp.StatusCode}
}

// sign sets the headers that receivers check. Some server SDKs compare the
// content type for equality, so it has no charset.
func sign(h http.Header, credential proxy.Credential, body []byte) {
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "offramp-webhooks")
	h.Set("X-Pusher-Key", credential.Key)
	h.Set("X-Pusher-Signature", protocol.Sign(credential.Secret.Reveal(), body))
}

func keepRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// withoutURL drops the URL from an error's text: it may hold a password.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// publicURL returns a URL without what may be secret in it.
func publicURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
