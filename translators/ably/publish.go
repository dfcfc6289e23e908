package ably

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ably/ably-go/ably"
	"golang.org/x/time/rate"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// ratePatience is how long a publish waits for its channel's rate.
const ratePatience = time.Second

// Publish implements translators.Session. Channels are published to at the
// same time, the publishes of one channel one after the other.
func (s *session) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	results := make([]translators.Result, len(batch))
	pending := map[protocol.ChannelName][]outgoing{}
	for i, e := range batch {
		o := outgoing{index: i, id: e.ID.String(), message: encode(e)}
		if e.ID.IsZero() {
			o.id = ""
		}
		if results[i] = s.judge(e, o); results[i].Code == 0 {
			pending[e.Channel] = append(pending[e.Channel], o)
		}
	}
	var wg sync.WaitGroup
	for channel, items := range pending {
		wg.Go(func() { s.publishAll(ctx, channel, items, results) })
	}
	wg.Wait()
	return results
}

// outgoing is an item on its way.
type outgoing struct {
	index   int // in the batch
	id      string
	message *ably.Message
}

// judge refuses what Ably would refuse. A result without a code means that
// the item may be sent.
func (s *session) judge(e translators.Envelope, o outgoing) translators.Result {
	switch n := sizeOf(o.message); {
	case !e.Deadline.IsZero() && !time.Now().Before(e.Deadline):
		return translators.Refuse(translators.CodeExpired, errors.New("its deadline has passed"))
	case e.Channel == "":
		return translators.Refuse(translators.CodeRejectedName, errors.New("no channel"))
	case n > s.config.MessageBytes:
		return translators.Refuse(translators.CodeRejectedSize,
			fmt.Errorf("%d bytes with name and headers, and settings.max_message_bytes is %d", n, s.config.MessageBytes))
	}
	return translators.Result{}
}

// publishAll publishes one channel's items, as many together as Ably takes.
func (s *session) publishAll(
	ctx context.Context, channel protocol.ChannelName, items []outgoing, results []translators.Result,
) {
	s.pool.use(ctx, channel, func(ch *ably.RealtimeChannel) {
		failed := false
		for len(items) > 0 {
			n := s.together(items)
			result := translators.Refuse(translators.CodeTransient, errNotAttempted)
			if !failed {
				result = s.publishOne(ctx, ch, items[:n])
				failed = result.Code == translators.CodeTransient
			}
			for _, o := range items[:n] {
				results[o.index] = result
			}
			items = items[n:]
		}
	})
}

var errNotAttempted = errors.New("waits for an earlier item")

// together returns how many items fit into one publish.
func (s *session) together(items []outgoing) int {
	size := 0
	for n, o := range items {
		if size += sizeOf(o.message); n > 0 && size > s.config.MessageBytes {
			return n
		}
	}
	return len(items)
}

// publishOne makes one publish and returns its result, when Ably has answered.
func (s *session) publishOne(ctx context.Context, ch *ably.RealtimeChannel, items []outgoing) translators.Result {
	if wait, ok := s.limiters.reserve(ch.Name, time.Now()); !ok {
		s.throttled.Add(uint64(len(items)))
		r := translators.Refuse(translators.CodeThrottled, fmt.Errorf("more than %v publishes per second on %s", s.config.Rate, ch.Name))
		r.RetryAfter = wait
		return r
	} else if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return translators.Refuse(translators.CodeTransient, ctx.Err())
		}
	}
	messages := identified(items)
	s.publishes.Add(1)
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	err := ch.PublishMultiple(ctx, messages)
	if err == nil {
		s.messages.Add(uint64(len(messages)))
		return translators.OK()
	}
	r := resultOf(err)
	if r.Code == translators.CodeThrottled {
		s.throttled.Add(uint64(len(items)))
	}
	return r
}

// identified returns the messages with ids that Ably recognises a repeat by.
// It takes several messages for a repeat when the first is one, and wants
// their ids numbered: the base names first and last, so that a publish that
// goes further than an earlier one is not mistaken for it.
func identified(items []outgoing) []*ably.Message {
	messages := make([]*ably.Message, len(items))
	named := true
	for i, o := range items {
		m := *o.message
		messages[i] = &m
		named = named && o.id != ""
	}
	switch {
	case !named:
	case len(items) == 1:
		messages[0].ID = items[0].id
	default:
		base := items[0].id + "-" + items[len(items)-1].id
		for i, m := range messages {
			m.ID = base + ":" + strconv.Itoa(i)
		}
	}
	return messages
}

// Codes of Ably's errors.
const (
	codeBadName     = 40010
	codeMessageSize = 40009
	codeAuthFirst   = 40100
	codeTokenFirst  = 40140 // token expired and its like, which the library renews
	codeTokenLast   = 40149
	codeAuthLast    = 40199
	codeRateFirst   = 42910
	codeRateLast    = 42929
	codeClientFirst = 40000
	codeClientLast  = 49999
	codeChannels    = 90010
)

// resultOf returns what an error of publishing means.
func resultOf(err error) translators.Result {
	info, ok := errors.AsType[*ably.ErrorInfo](err)
	refuse := func(code translators.Code) translators.Result {
		return translators.Result{Code: code, Detail: scrub(err.Error())}
	}
	if !ok {
		return refuse(translators.CodeTransient)
	}
	switch code := int(info.Code); {
	case code >= codeRateFirst && code <= codeRateLast, info.StatusCode == http.StatusTooManyRequests:
		return refuse(translators.CodeThrottled)
	case code == codeMessageSize:
		return refuse(translators.CodeRejectedSize)
	case code == codeBadName:
		return refuse(translators.CodeRejectedName)
	case code >= codeTokenFirst && code <= codeTokenLast:
		return refuse(translators.CodeTransient)
	case code >= codeAuthFirst && code <= codeAuthLast:
		return refuse(translators.CodeRejectedAuth)
	case code >= codeClientFirst && code <= codeClientLast, code == codeChannels:
		return refuse(translators.CodeUnsupported)
	}
	return refuse(translators.CodeTransient)
}

// limiters keep the rate of each channel.
type limiters struct {
	rate rate.Limit

	mu        sync.Mutex
	byChannel map[string]*rate.Limiter
}

func newLimiters(perSecond float64) *limiters {
	return &limiters{rate: rate.Limit(perSecond), byChannel: map[string]*rate.Limiter{}}
}

// maxLimiters is how many channels' rates are kept before those that have
// been silent are forgotten.
const maxLimiters = 10_000

// reserve returns how long a publish must wait. ok is false when that is too
// long: it then must not be made.
func (l *limiters) reserve(channel string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, known := l.byChannel[channel]
	if !known {
		if len(l.byChannel) >= maxLimiters {
			l.prune(now)
		}
		// Half a second's worth at once: the other half is for the uneven
		// pace at which publishes arrive.
		limiter = rate.NewLimiter(l.rate, max(1, int(l.rate/2)))
		l.byChannel[channel] = limiter
	}
	r := limiter.ReserveN(now, 1)
	wait = r.DelayFrom(now)
	if wait > ratePatience {
		r.CancelAt(now)
		return wait, false
	}
	return wait, true
}

func (l *limiters) prune(now time.Time) {
	for channel, limiter := range l.byChannel {
		if limiter.TokensAt(now) >= float64(limiter.Burst()) {
			delete(l.byChannel, channel)
		}
	}
}
