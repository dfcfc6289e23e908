package ably

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"sync"
	"time"

	"github.com/ably/ably-go/ably"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy/protocol"
)

// readLimit bounds a frame from Ably, in bytes. The library's own limit is
// that of one publish's data, which a frame's other fields come on top of.
const readLimit = 1 << 20

// options returns what every client of a session is made with.
func (c Config) options(log zerolog.Logger) []ably.ClientOption {
	options := []ably.ClientOption{
		ably.WithKey(c.Key.Reveal()),
		ably.WithUseTokenAuth(true), // the library sends keys over TLS only
		ably.WithDefaultTokenParams(ably.TokenParams{ClientID: "*"}),
		ably.WithTLS(c.TLS),
		ably.WithUseBinaryProtocol(c.Encoding == "msgpack"),
		ably.WithAutoConnect(false),
		ably.WithQueueMessages(false), // while disconnected nothing is accepted
		ably.WithRealtimeRequestTimeout(c.Timeout),
		ably.WithHTTPRequestTimeout(c.Timeout),
		ably.WithDisconnectedRetryTimeout(c.Retry),
		ably.WithSuspendedRetryTimeout(c.Retry),
		ably.WithChannelRetryTimeout(c.Retry),
		ably.WithLogLevel(ably.LogError),
		ably.WithLogHandler(logger{log}),
	}
	if c.Host != "" {
		options = append(options, ably.WithRESTHost(c.Host), ably.WithRealtimeHost(c.Host))
	}
	return options
}

// logger passes the library's complaints on. It complains at every attempt;
// what matters of that is logged by link.
type logger struct{ log zerolog.Logger }

// Printf implements ably.Logger.
func (l logger) Printf(_ ably.LogLevel, format string, v ...any) {
	l.log.Debug().Str("library", "ably-go").Msg(scrub(fmt.Sprintf(format, v...)))
}

var credentials = regexp.MustCompile(`(access_token|key|resume|recover)=[^&"\s]+`)

// scrub takes credentials in URLs out of a text.
func scrub(text string) string { return credentials.ReplaceAllString(text, "$1=[removed]") }

// link is one connection to Ably.
type link struct {
	client *ably.Realtime
	log    zerolog.Logger
	held   int // channels; guarded by the pool's mu

	mu   sync.Mutex
	down bool
	lost time.Time // when it last went down
}

func (l *link) changed(change ably.ConnectionStateChange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case change.Current == ably.ConnectionStateConnected && l.down:
		l.down = false
		l.log.Info().Dur("away", time.Since(l.lost)).Msg("reconnected to ably")
	case change.Previous == ably.ConnectionStateConnected && change.Current == ably.ConnectionStateDisconnected:
		l.down, l.lost = true, time.Now()
		why := ""
		if change.Reason != nil {
			why = scrub(change.Reason.Error())
		}
		l.log.Warn().Str("reason", why).Msg("disconnected from ably")
	}
}

// lostAt returns when the connection was last lost.
func (l *link) lostAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// pool spreads channels over links. A channel that is held is published to
// over the link that holds it, so that Ably can leave out the echo.
type pool struct {
	config Config
	noEcho bool
	log    zerolog.Logger

	// life ends when the pool closes, which detaches every channel by itself.
	life context.Context
	end  context.CancelFunc

	dialing sync.Mutex // one at a time

	mu    sync.Mutex
	links []*link
	holds map[protocol.ChannelName]*hold
}

// hold is a channel's place on a link.
type hold struct {
	link *link
	uses int
}

func newPool(c Config, noEcho bool, log zerolog.Logger) *pool {
	p := &pool{config: c, noEcho: noEcho, log: log, holds: map[protocol.ChannelName]*hold{}}
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// open makes the first links.
func (p *pool) open(ctx context.Context, n int) error {
	for range n {
		if _, err := p.dial(ctx); err != nil {
			return err
		}
	}
	return nil
}

// dial adds a link.
func (p *pool) dial(ctx context.Context) (*link, error) {
	client, err := ably.NewRealtime(append(p.config.options(p.log), ably.WithEchoMessages(!p.noEcho))...)
	if err != nil {
		return nil, errors.New(scrub(err.Error()))
	}
	client.Connection.SetReadLimit(readLimit)
	l := &link{client: client, log: p.log}
	reached := make(chan ably.ConnectionStateChange, 16)
	off := client.Connection.OnAll(func(change ably.ConnectionStateChange) {
		select {
		case reached <- change:
		default:
		}
	})
	defer off()
	client.Connection.OnAll(l.changed)
	client.Connect()
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	if err := connected(ctx, reached); err != nil {
		client.Close()
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links = append(p.links, l)
	return l, nil
}

// connected waits until a connection is there, or never will be.
func connected(ctx context.Context, reached <-chan ably.ConnectionStateChange) error {
	why := errors.New("no answer")
	for {
		select {
		case change := <-reached:
			if change.Reason != nil {
				why = errors.New(scrub(change.Reason.Error()))
			}
			switch change.Current {
			case ably.ConnectionStateConnected:
				return nil
			case ably.ConnectionStateFailed, ably.ConnectionStateDisconnected:
				return why
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), why)
		}
	}
}

// hold gives a channel a place on a link with room, or on a new one. Each
// hold needs its release.
func (p *pool) hold(ctx context.Context, channel protocol.ChannelName) (*link, error) {
	if l := p.place(channel); l != nil {
		return l, nil
	}
	p.dialing.Lock()
	defer p.dialing.Unlock()
	if l := p.place(channel); l != nil {
		return l, nil
	}
	if _, err := p.dial(ctx); err != nil {
		return nil, fmt.Errorf("make another connection to Ably: %w", err)
	}
	if l := p.place(channel); l != nil {
		return l, nil
	}
	return nil, errors.New("no connection has room for another channel")
}

func (p *pool) place(channel protocol.ChannelName) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.holds[channel]; ok {
		h.uses++
		return h.link
	}
	for _, l := range p.links {
		if l.held < p.config.Channels {
			l.held++
			p.holds[channel] = &hold{link: l, uses: 1}
			return l
		}
	}
	return nil
}

// release gives a channel's place back, and detaches the channel when nobody
// else uses it.
func (p *pool) release(channel protocol.ChannelName) {
	p.mu.Lock()
	h := p.holds[channel]
	h.uses--
	last := h.uses == 0
	if last {
		delete(p.holds, channel)
	}
	p.mu.Unlock()
	if !last {
		return
	}
	// Well before the library's own timeout: at that very moment its contexts
	// are written and read at once.
	ctx, cancel := context.WithTimeout(p.life, p.config.Timeout/2)
	defer cancel()
	name := ablyName(channel)
	ch := h.link.client.Channels.Get(name)
	_ = ch.Detach(ctx) // fails when the connection is gone, and the attachment with it
	p.mu.Lock()
	defer p.mu.Unlock()
	h.link.held--
	if _, again := p.holds[channel]; !again {
		forget(ctx, h.link.client, ch)
	}
}

// forget makes the library forget a channel that is not attached: it keeps
// every channel that it has ever heard of otherwise.
func forget(ctx context.Context, client *ably.Realtime, ch *ably.RealtimeChannel) {
	if state := ch.State(); state == ably.ChannelStateInitialized || state == ably.ChannelStateDetached {
		_ = client.Channels.Release(ctx, ch.Name) // nothing to detach, so nothing to fail
	}
}

// use calls do with the channel's object on the link to publish over.
func (p *pool) use(ctx context.Context, channel protocol.ChannelName, do func(*ably.RealtimeChannel)) {
	p.mu.Lock()
	l := p.links[hash(channel)%uint32(len(p.links))]
	if h, ok := p.holds[channel]; ok {
		l = h.link
	}
	ch := l.client.Channels.Get(ablyName(channel))
	p.mu.Unlock()
	do(ch)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, held := p.holds[channel]; !held {
		forget(ctx, l.client, ch)
	}
}

func hash(channel protocol.ChannelName) uint32 {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(channel)) // a hash takes all
	return sum.Sum32()
}

// report returns how many links there are, and why one is down.
func (p *pool) report() (links uint64, trouble string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		if state := l.client.Connection.State(); state != ably.ConnectionStateConnected {
			trouble = "a connection to Ably is " + state.String()
			if reason := l.client.Connection.ErrorReason(); reason != nil {
				trouble += ": " + scrub(reason.Error())
			}
		}
	}
	return uint64(len(p.links)), trouble
}

// close closes every link and waits for Ably's farewell, or until ctx ends.
func (p *pool) close(ctx context.Context) error {
	p.end()
	p.mu.Lock()
	links := p.links
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	for _, l := range links {
		ended := make(chan struct{})
		end := sync.OnceFunc(func() { close(ended) })
		l.client.Connection.On(ably.ConnectionEventClosed, func(ably.ConnectionStateChange) { end() })
		l.client.Connection.On(ably.ConnectionEventFailed, func(ably.ConnectionStateChange) { end() })
		l.client.Close()
		if state := l.client.Connection.State(); state == ably.ConnectionStateClosed || state == ably.ConnectionStateFailed {
			continue
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("close a connection to Ably: %w", ctx.Err())
		}
	}
	return nil
}
