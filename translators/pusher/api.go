package pusher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	pusherhttp "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// api is the other side's HTTP API.
type api struct {
	config    Config
	transport *http.Transport
}

func newAPI(c Config) *api {
	return &api{config: c, transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: time.Minute,
		ForceAttemptHTTP2: true,
	}}
}

// idleConnections is how many requests may follow each other without a new
// handshake: lanes publish at the same time.
const idleConnections = 16

func (a *api) close() { a.transport.CloseIdleConnections() }

func (a *api) path(resource string) string { return "/apps/" + a.config.AppID + "/" + resource }

// client returns Pusher's own client for requests that end with ctx, which the
// library does not know.
func (a *api) client(ctx context.Context) *pusherhttp.Client { return a.clientVia(ctx, "") }

// clientVia returns one that says, where via is not empty, which gateways the
// events have come through. The vendor does not mind; another gateway does.
func (a *api) clientVia(ctx context.Context, via string) *pusherhttp.Client {
	return &pusherhttp.Client{
		AppID: a.config.AppID, Key: a.config.Key, Secret: a.config.Secret.Reveal(), Host: a.config.apiHost(), Secure: a.config.TLS,
		OverrideMaxMessagePayloadKB: (a.config.EventBytes + 1023) / 1024,
		HTTPClient: &http.Client{Timeout: a.config.Timeout, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			r = r.WithContext(ctx)
			if via != "" {
				r.Header.Set(protocol.ViaHeader, via)
			}
			return a.roundTrip(r)
		})},
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// statusError is an answer other than 2xx.
type statusError struct {
	status     int
	body       string
	retryAfter time.Duration
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the API answered %d: %s", e.status, strings.TrimSpace(e.body))
}

// maxResponse bounds what is read of an answer, in bytes, and maxRefusal what
// is kept of one that says no.
const (
	maxResponse = 1 << 20
	maxRefusal  = 512
)

func (a *api) roundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	_ = resp.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the API's answer: %w", err)
	}
	if status := trueStatus(resp.StatusCode, body); status/100 != 2 {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return nil, &statusError{
			status: status, body: string(body[:min(len(body), maxRefusal)]),
			retryAfter: min(time.Duration(max(seconds, 0))*time.Second, time.Minute),
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// trueStatus returns an answer's status: soketi answers 200 and says in the
// body what it should have been.
func trueStatus(status int, body []byte) int {
	var refusal struct {
		Error string `json:"error"`
		Code  int    `json:"code"`
	}
	if status == http.StatusOK && json.Unmarshal(body, &refusal) == nil && refusal.Error != "" && refusal.Code >= http.StatusBadRequest {
		return refusal.Code
	}
	return status
}

// plain takes the URL, which bears a signature, out of an error.
func plain(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// probe asks for something small, to learn whether the credentials are good.
func (a *api) probe(ctx context.Context) error {
	prefix := "offramp-probe-"
	_, err := a.client(ctx).Channels(pusherhttp.ChannelsParams{FilterByPrefix: &prefix})
	return plain(err)
}

// publish publishes events in one request. Events for a user go alone.
func (a *api) publish(ctx context.Context, events []event) error {
	if user, ok := events[0].Channel.UserID(); ok {
		return plain(a.clientVia(ctx, viaOf(events)).SendToUser(user, events[0].Event, events[0].Data))
	}
	batch := make([]pusherhttp.Event, len(events))
	for i, e := range events {
		if e.Channel.Kind() == protocol.Encrypted {
			return a.publishSealed(ctx, events)
		}
		batch[i] = pusherhttp.Event{Channel: string(e.Channel), Name: e.Event, Data: e.Data}
		if e.except != "" {
			id := string(e.except)
			batch[i].SocketID = &id
		}
	}
	_, err := a.clientVia(ctx, viaOf(events)).TriggerBatch(batch)
	return plain(err)
}

// publishSealed publishes a batch with ciphertext in it, which the library
// would encrypt once more.
func (a *api) publishSealed(ctx context.Context, events []event) error {
	body := []byte(`{"batch":[`)
	for i, e := range events {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendEvent(body, e.Envelope, e.except)
	}
	body = append(body, "]}"...)
	return a.post(ctx, a.path("batch_events"), body, viaOf(events))
}

// viaOf returns the trace of events that are published in one request: that
// of the one that has come farthest.
func viaOf(events []event) string {
	farthest := events[0]
	for _, e := range events {
		if e.Hops > farthest.Hops {
			farthest = e
		}
	}
	return protocol.Via(farthest.Origin, farthest.Hops)
}

// appendEvent appends an event as the API takes it.
func appendEvent(dst []byte, e translators.Envelope, except protocol.SocketID) []byte {
	dst = protocol.AppendString(append(dst, `{"channel":`...), string(e.Channel))
	dst = protocol.AppendString(append(dst, `,"name":`...), e.Event)
	dst = protocol.AppendString(append(dst, `,"data":`...), e.Data)
	if except != "" {
		dst = protocol.AppendString(append(dst, `,"socket_id":`...), string(except))
	}
	return append(dst, '}')
}

// post sends a signed request (vendor documentation: "Authenticating
// requests").
func (a *api) post(ctx context.Context, path string, body []byte, via string) error {
	params := []protocol.Param{
		{Key: "auth_key", Value: a.config.Key},
		{Key: "auth_timestamp", Value: strconv.FormatInt(time.Now().Unix(), 10)},
		{Key: "auth_version", Value: "1.0"},
		{Key: "body_md5", Value: protocol.BodyMD5(body)},
	}
	query := url.Values{"auth_signature": {protocol.Sign(
		a.config.Secret.Reveal(), protocol.RequestString(http.MethodPost, path, params))}}
	for _, p := range params {
		query.Set(p.Key, p.Value)
	}
	u := url.URL{Scheme: "http", Host: a.config.apiHost(), Path: path, RawQuery: query.Encode()}
	if a.config.TLS {
		u.Scheme = "https"
	}
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make a request to the API: %w", plain(err))
	}
	req.Header.Set("Content-Type", "application/json")
	if via != "" {
		req.Header.Set(protocol.ViaHeader, via)
	}
	_, err = a.roundTrip(req) //nolint:bodyclose // roundTrip has read and closed it
	return plain(err)
}

// occupancy asks about a channel.
func (a *api) occupancy(ctx context.Context, channel protocol.ChannelName) (translators.Occupancy, error) {
	presence := channel.Kind() == protocol.Presence
	info := "subscription_count"
	if presence {
		info = "user_count"
	}
	c, err := a.client(ctx).Channel(string(channel), pusherhttp.ChannelParams{Info: &info})
	if status, ok := errors.AsType[*statusError](err); ok && status.status == http.StatusBadRequest {
		// Subscriptions are counted only where the app has that switched on.
		c, err = a.client(ctx).Channel(string(channel), pusherhttp.ChannelParams{})
	}
	if err != nil {
		return translators.Occupancy{}, fmt.Errorf("query %s: %w", channel, plain(err))
	}
	o := translators.Occupancy{Occupied: c.Occupied, Subscriptions: c.SubscriptionCount}
	if c.Occupied && c.SubscriptionCount == 0 {
		o.Subscriptions = -1
	}
	if !presence || !c.Occupied {
		return o, nil
	}
	users, err := a.client(ctx).GetChannelUsers(string(channel))
	if err != nil {
		return translators.Occupancy{}, fmt.Errorf("query the users of %s: %w", channel, plain(err))
	}
	for _, u := range users.List {
		o.Members = append(o.Members, proxy.Member{UserID: u.ID})
	}
	return o, nil
}
