package pusher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// event is an envelope on its way, and the tap that must not receive it.
type event struct {
	translators.Envelope
	except protocol.SocketID
}

// Publish implements translators.Session.
func (s *session) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	results := make([]translators.Result, len(batch))
	var pending []int
	for i, e := range batch {
		if results[i] = s.config.judge(e); results[i].Code == 0 {
			pending = append(pending, i)
		}
	}
	for len(pending) > 0 {
		n := s.config.fits(batch, pending)
		if !s.send(ctx, batch, pending[:n], results) {
			break
		}
		pending = pending[n:]
	}
	for i := range results {
		if results[i].Code == 0 { // no later item may overtake the one that failed
			results[i] = translators.Refuse(translators.CodeTransient, errNotAttempted)
		}
	}
	return results
}

var errNotAttempted = errors.New("waits for an earlier item")

// judge refuses what the other side would refuse. A result without a code
// means that the item may be sent.
func (c Config) judge(e translators.Envelope) translators.Result {
	refuse := func(code translators.Code, format string, args ...any) translators.Result {
		return translators.Refuse(code, fmt.Errorf(format, args...))
	}
	switch {
	case !e.Deadline.IsZero() && !time.Now().Before(e.Deadline):
		return refuse(translators.CodeExpired, "its deadline has passed")
	case e.Kind == translators.KindPresenceJoin || e.Kind == translators.KindPresenceLeave || e.Kind == translators.KindProbe:
		return refuse(translators.CodeUnsupported, "clients would receive a %s as an event", e.Kind)
	case !e.Channel.Valid(c.NameLength):
		return refuse(translators.CodeRejectedName, "the channel name is not legal, or longer than the %d characters of "+
			"settings.channel_name_length", c.NameLength)
	case e.Event == "" || len(e.Event) > protocol.MaxEventNameLength:
		return refuse(translators.CodeRejectedName, "an event name has 1 to %d bytes", protocol.MaxEventNameLength)
	case len(e.Data) > c.EventBytes:
		return refuse(translators.CodeRejectedSize, "%d bytes of data, and settings.event_bytes is %d", len(e.Data), c.EventBytes)
	case !utf8.Valid(e.Data) || !utf8.ValidString(e.Event):
		return refuse(translators.CodeUnsupported, "Pusher's frames are text, and this is not UTF-8")
	}
	return translators.Result{}
}

// fits returns how many of the pending items go into the next request: those
// for a user go alone.
func (c Config) fits(batch []translators.Envelope, pending []int) int {
	for n, i := range pending {
		if n == c.Batch {
			return n
		}
		if batch[i].Channel.Kind() == protocol.ServerToUser {
			return max(n, 1)
		}
	}
	return len(pending)
}

// send publishes the items of one request and writes their results. It
// returns false when later items must wait.
func (s *session) send(ctx context.Context, batch []translators.Envelope, items []int, results []translators.Result) bool {
	if err := s.limiter.WaitN(ctx, len(items)); err != nil {
		for _, i := range items {
			results[i] = translators.Refuse(translators.CodeThrottled, fmt.Errorf("settings.publishes_per_second: %w", err))
		}
		return true
	}
	events := make([]event, len(items))
	for n, i := range items {
		events[n] = event{Envelope: batch[i], except: s.exclusion(batch[i].Channel)}
	}
	s.requests.Add(1)
	err := s.api.publish(ctx, events)
	result := s.resultOf(err)
	if len(items) > 1 && concernsOne(result.Code) {
		// The API takes a batch whole or not at all: find the one it minds.
		for n := range items {
			if !s.send(ctx, batch, items[n:n+1], results) {
				return false
			}
		}
		return true
	}
	for _, i := range items {
		results[i] = result
	}
	return result.Code != translators.CodeTransient
}

// exclusion returns the socket that must not receive an event of a channel:
// a bridge's own tap.
func (s *session) exclusion(channel protocol.ChannelName) protocol.SocketID {
	if s.role != proxy.RoleBridge {
		return ""
	}
	return s.tapOf(channel).socketID()
}

// concernsOne reports whether a refusal may be due to one event of a batch.
func concernsOne(c translators.Code) bool {
	return c == translators.CodeRejectedSize || c == translators.CodeUnsupported
}

// resultOf returns what the API's answer means.
func (s *session) resultOf(err error) translators.Result {
	if err == nil {
		s.unreachable.Store(nil)
		return translators.OK()
	}
	status, answered := errors.AsType[*statusError](err)
	if !answered || status.status >= http.StatusInternalServerError {
		why := err.Error()
		s.unreachable.Store(&why)
		return translators.Refuse(translators.CodeTransient, err)
	}
	s.refused.Add(1)
	s.unreachable.Store(nil)
	r := translators.Refuse(translators.CodeUnsupported, err)
	switch status.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		r.Code = translators.CodeRejectedAuth
	case http.StatusRequestEntityTooLarge:
		r.Code = translators.CodeRejectedSize
	case http.StatusTooManyRequests:
		r.Code, r.RetryAfter = translators.CodeThrottled, status.retryAfter
	case http.StatusRequestTimeout:
		r.Code = translators.CodeTransient
	}
	return r
}
