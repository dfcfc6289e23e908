package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offramp/offramp/translators"
)

// denialDelay is how long the client library may take to tell of a refused
// subject after the server has answered a ping.
const denialDelay = 10 * time.Millisecond

// Publish implements translators.Session.
func (s *session) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	if s.js != nil {
		return s.store(ctx, batch)
	}
	began := time.Now()
	results := make([]translators.Result, len(batch))
	for i, e := range batch {
		subject := subjectOf(s.config.Prefix, s.app, e.Channel)
		if err := s.conn.PublishMsg(encode(subject, e)); err != nil {
			results[i] = refusal(err)
		}
		if results[i].Code == translators.CodeTransient {
			// No later item may overtake this one.
			copy(results[i:], translators.RefuseAll(len(batch)-i, translators.CodeTransient, errNotConnected))
			break
		}
	}
	err := s.flush(ctx)
	for i := range results {
		switch {
		case results[i].Code != 0:
		case err != nil:
			results[i] = translators.Refuse(translators.CodeTransient, err)
		default:
			results[i] = translators.OK()
		}
	}
	s.markDenied(ctx, batch, results, began)
	return results
}

var errNotConnected = errors.New("not connected to NATS")

// refusal returns what an error of publishing means.
func refusal(err error) translators.Result {
	switch api, isAPI := errors.AsType[*jetstream.APIError](err); {
	case errors.Is(err, nats.ErrMaxPayload):
		return translators.Refuse(translators.CodeRejectedSize, err)
	case errors.Is(err, nats.ErrBadSubject):
		return translators.Refuse(translators.CodeRejectedName, err)
	case isAPI && api.ErrorCode == codeMessageSize:
		return translators.Refuse(translators.CodeRejectedSize, err)
	case isAPI && api.Code == codeUnavailable:
		return translators.Refuse(translators.CodeThrottled, err)
	}
	return translators.Refuse(translators.CodeTransient, err)
}

// JetStream's codes for a message that is larger than the stream allows, and
// for resources that are used up.
const (
	codeMessageSize jetstream.ErrorCode = 10054
	codeUnavailable int                 = 503
)

// flush waits until the server has handled all that was published.
func (s *session) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	if err := s.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("wait for the NATS server's answer: %w", err)
	}
	return nil
}

// markDenied corrects the results of items whose subjects the server refused:
// it accepts such messages, drops them, and says so beside the point.
func (s *session) markDenied(
	ctx context.Context, batch []translators.Envelope, results []translators.Result, since time.Time,
) {
	denied := s.deniedSince(ctx, since)
	if denied == nil {
		return
	}
	for i, e := range batch {
		subject := subjectOf(s.config.Prefix, s.app, e.Channel)
		if denied(subject) && results[i].Code == translators.CodeOK {
			results[i] = translators.Result{Code: translators.CodeRejectedAuth, Detail: "no permission to publish on " + subject}
		}
	}
}

// deniedSince returns what tells whether the server refused a subject since
// then, or nil when it has refused none.
func (s *session) deniedSince(ctx context.Context, since time.Time) func(subject string) bool {
	if !errors.Is(s.conn.LastError(), nats.ErrPermissionViolation) {
		return nil
	}
	select {
	case <-time.After(denialDelay):
	case <-ctx.Done():
	}
	return func(subject string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		at, ok := s.denied[subject]
		return ok && !at.Before(since)
	}
}

// store publishes to the stream. The messages of a batch are under way at the
// same time; the server keeps the order in which they were sent.
func (s *session) store(ctx context.Context, batch []translators.Envelope) []translators.Result {
	results := make([]translators.Result, len(batch))
	acks := make([]jetstream.PubAckFuture, len(batch))
	for i, e := range batch {
		var err error
		acks[i], err = s.js.PublishMsgAsync(encode(subjectOf(s.config.Prefix, s.app, e.Channel), e))
		if err != nil {
			results[i] = refusal(err)
		}
		if results[i].Code == translators.CodeTransient {
			copy(results[i:], translators.RefuseAll(len(batch)-i, translators.CodeTransient, err))
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	for i, ack := range acks {
		if ack != nil && results[i].Code == 0 {
			results[i] = stored(ctx, ack)
		}
	}
	return results
}

func stored(ctx context.Context, ack jetstream.PubAckFuture) translators.Result {
	select {
	case a := <-ack.Ok():
		code := translators.CodeOK
		if a.Duplicate {
			code = translators.CodeDuplicate
		}
		return translators.Result{Code: code, NativeID: fmt.Sprintf("%s:%d", a.Stream, a.Sequence)}
	case err := <-ack.Err():
		return refusal(err)
	case <-ctx.Done():
		return translators.Refuse(translators.CodeTransient, fmt.Errorf("wait for the stream's answer: %w", ctx.Err()))
	}
}
