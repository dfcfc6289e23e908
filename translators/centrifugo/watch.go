package centrifugo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

const (
	user          = "offramp"
	tokenLifetime = time.Hour
	maxReconnect  = 2 * time.Second
	// pingWindow is how long a connection that is dead in silence may seem
	// alive: the server's interval between pings, and the client's patience.
	pingWindow = 40 * time.Second
	// codeNoPing is the client library's code for a connection that ended
	// because of that.
	codeNoPing = 2
)

// tap is one client connection that observes some channels.
type tap struct {
	client *centrifuge.Client
	used   int // channels; guarded by the session's mu

	mu     sync.Mutex
	silent bool // the last connection ended for want of a ping
}

func (t *tap) connected() bool { return t.client.State() == centrifuge.StateConnected }

// join returns a tap with room for one more channel, and takes it.
func (s *session) join() (*tap, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.taps {
		if t.used < s.config.Channels {
			t.used++
			return t, nil
		}
	}
	t := &tap{used: 1}
	t.client = centrifuge.NewJsonClient(s.config.WebSocket, centrifuge.Config{
		Name: "offramp", HandshakeTimeout: s.config.Timeout, ReadTimeout: s.config.Timeout, WriteTimeout: s.config.Timeout,
		MaxReconnectDelay: maxReconnect,
		GetToken:          func(centrifuge.ConnectionTokenEvent) (string, error) { return s.token("") },
	})
	t.client.OnConnecting(func(e centrifuge.ConnectingEvent) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.silent = e.Code == codeNoPing
	})
	if err := t.client.Connect(); err != nil {
		t.client.Close()
		return nil, err
	}
	s.taps = append(s.taps, t)
	return t, nil
}

func (s *session) leave(t *tap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.used--
}

// Subscribe implements translators.Subscriber.
func (s *session) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	name := s.native(channel)
	t, err := s.join()
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.config.WebSocket, err)
	}
	sub, err := t.client.NewSubscription(name, centrifuge.SubscriptionConfig{
		GetToken:            func(centrifuge.SubscriptionTokenEvent) (string, error) { return s.token(name) },
		MaxResubscribeDelay: maxReconnect,
		Recoverable:         true, // where the namespace allows it, what was missed comes afterwards
	})
	if err != nil {
		s.leave(t)
		return nil, fmt.Errorf("subscribe to %s: %w", name, err)
	}
	outcome := observe(t, sub, o)
	stop := func() {
		_ = sub.Unsubscribe()
		_ = t.client.RemoveSubscription(sub)
		s.leave(t)
	}
	if err := sub.Subscribe(); err != nil {
		stop()
		return nil, fmt.Errorf("subscribe to %s: %w", name, err)
	}
	select {
	case err = <-outcome:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("subscribe to %s: %w", name, err)
	}
	return stop, nil
}

// observe shows a subscription to o. The channel gets nil once it is
// confirmed, or why it is not.
func observe(t *tap, sub *centrifuge.Subscription, o translators.Observer) <-chan error {
	outcome := make(chan error, 1)
	tell := func(err error) {
		select {
		case outcome <- err:
		default:
		}
	}
	var mu sync.Mutex
	var attached, before, recoverable bool
	var since time.Time // when a recoverable subscription was lost; zero: it was not
	sub.OnPublication(func(e centrifuge.PublicationEvent) { o.Deliver(translators.DecodeMessage(e.Data)) })
	sub.OnSubscribed(func(e centrifuge.SubscribedEvent) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !since.IsZero() && !e.Recovered: // its history is another one, or too short
			o.State(translators.ChannelState{
				State: translators.StateGap, From: since, To: time.Now(), Detail: "the server could not recover what was missed",
			})
		case since.IsZero() && before:
			o.State(translators.ChannelState{State: translators.StateAttached})
		}
		attached, before, recoverable, since = true, true, e.Recoverable, time.Time{}
		tell(nil)
	})
	sub.OnSubscribing(func(e centrifuge.SubscribingEvent) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !attached:
		case recoverable: // there is a hole only if it cannot be recovered
			since = t.lost()
		default:
			o.State(translators.ChannelState{State: translators.StateDetached, From: t.lost(), Detail: e.Reason})
		}
		attached = false
	})
	sub.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) {
		mu.Lock()
		defer mu.Unlock()
		tell(errors.New(e.Reason))
		if attached {
			attached = false
			o.State(translators.ChannelState{State: translators.StateError, Detail: e.Reason})
		}
	})
	return outcome
}

// lost returns since when nothing may have been seen on a connection that has
// just ended.
func (t *tap) lost() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.silent {
		return time.Now().Add(-pingWindow)
	}
	return time.Now()
}

// token returns a signed token for a connection, or for a channel.
func (s *session) token(channel string) (string, error) {
	claims := struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
		Channel string `json:"channel,omitempty"`
	}{user, time.Now().Add(tokenLifetime).Unix(), channel}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(body)
	mac := hmac.New(sha256.New, []byte(s.config.TokenSecret.Reveal()))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil)), nil
}
