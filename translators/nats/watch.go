package nats

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// watch is one observed channel.
type watch struct {
	observer translators.Observer
	end      func() // may be called more than once
}

// Subscribe implements translators.Subscriber.
func (s *session) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	subject := subjectOf(s.config.Prefix, s.app, channel)
	end, err := s.subscribe(ctx, subject, s.withoutEcho(o))
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lost.IsZero() { // its end was told before this channel was there to hear of it
		end()
		return nil, errNotConnected
	}
	w := watch{observer: o, end: sync.OnceFunc(end)}
	s.watches[subject] = w
	return func() {
		s.mu.Lock()
		delete(s.watches, subject)
		s.mu.Unlock()
		w.end()
	}, nil
}

// withoutEcho returns an observer that is not shown a bridge's own messages.
// The server keeps them from core subscriptions, but not from a stream's.
func (s *session) withoutEcho(o translators.Observer) translators.Observer {
	if s.role != proxy.RoleBridge || s.js == nil {
		return o
	}
	return foreign{Observer: o, own: s.gateway}
}

type foreign struct {
	translators.Observer
	own string
}

// Deliver implements translators.Observer.
func (f foreign) Deliver(e translators.Envelope) {
	if e.Origin != f.own {
		f.Observer.Deliver(e)
	}
}

func (s *session) subscribe(ctx context.Context, subject string, o translators.Observer) (end func(), err error) {
	if s.js != nil {
		return s.consume(ctx, subject, o)
	}
	began := time.Now()
	sub, err := s.conn.Subscribe(subject, func(m *nats.Msg) { o.Deliver(decode(s.app, m.Header, m.Data)) })
	if err != nil {
		return nil, err
	}
	end = func() { _ = sub.Unsubscribe() }
	if err := s.flush(ctx); err != nil {
		end()
		return nil, err
	}
	if denied := s.deniedSince(ctx, began); denied != nil && denied(subject) {
		end()
		return nil, errors.New("no permission")
	}
	return end, nil
}

// consume observes what the stream stores from now on. It starts at a sequence
// number, so that the consumer misses nothing when it has to be made anew.
func (s *session) consume(ctx context.Context, subject string, o translators.Observer) (end func(), err error) {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := s.js.OrderedConsumer(ctx, s.config.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: info.State.LastSeq + 1,
		InactiveThreshold: consumerLinger,
	})
	if err != nil {
		return nil, err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { o.Deliver(decode(s.app, m.Headers(), m.Data())) })
	if err != nil {
		return nil, err
	}
	return func() {
		consuming.Stop()
		<-consuming.Closed()
		if s.conn.IsConnected() {
			ctx, cancel := context.WithTimeout(context.Background(), s.config.Timeout)
			defer cancel()
			_ = s.js.DeleteConsumer(ctx, s.config.Stream, consumer.CachedInfo().Name) // else the server does so later
		}
	}, nil
}

// consumerLinger is how long the server keeps a consumer that is not used.
const consumerLinger = 30 * time.Second

// disconnected is called by the client library.
func (s *session) disconnected(_ *nats.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lost.IsZero() {
		return
	}
	s.lost = time.Now()
	s.log.Warn().Err(err).Msg("disconnected from nats")
	s.tell(translators.ChannelState{State: translators.StateDetached, From: s.lost, Detail: "disconnected from NATS"})
}

// reconnected is called by the client library, which has sent the
// subscriptions anew. They hold once the server answers.
func (s *session) reconnected(*nats.Conn) {
	if err := s.flush(context.Background()); err != nil {
		return // it was a short connection: another call follows
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Info().Dur("away", time.Since(s.lost)).Msg("reconnected to nats")
	s.lost = time.Time{}
	s.tell(translators.ChannelState{State: translators.StateAttached})
}

// tell shows a state to every subscription. Called with mu held.
func (s *session) tell(state translators.ChannelState) {
	for _, w := range s.watches {
		w.observer.State(state)
	}
}

// The library tells of a refused subject in the text of an error only.
var refusedSubject = regexp.MustCompile(`(?i)permissions violation for (?:publish|subscription) to "([^"]+)"`)

// maxDenied bounds the memory of refused subjects.
const maxDenied = 10_000

// failed is called by the client library for errors that no call returns.
func (s *session) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil:
		if w, ok := s.watches[sub.Subject]; ok {
			now := time.Now()
			w.observer.State(translators.ChannelState{
				State: translators.StateGap, From: now.Add(-time.Second), To: now, Detail: "the NATS client was too slow",
			})
		}
	case errors.Is(err, nats.ErrPermissionViolation):
		if match := refusedSubject.FindStringSubmatch(err.Error()); match != nil {
			if len(s.denied) >= maxDenied {
				clear(s.denied)
			}
			s.denied[match[1]] = time.Now()
		}
	default:
		s.log.Warn().Err(err).Msg("nats client")
	}
}
