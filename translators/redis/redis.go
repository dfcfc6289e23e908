package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// Config is what operators set.
type Config struct {
	URL      string        `setting:"url,required" doc:"Server, such as redis://127.0.0.1:6379/0, or rediss:// for TLS."`
	Mode     string        `setting:"mode" default:"pubsub" enum:"pubsub,streams" doc:"Whether messages are only passed on or kept in streams."`
	Prefix   string        `setting:"prefix" default:"offramp" doc:"What every Redis channel and key begins with."`
	User     string        `setting:"user" doc:"User name, if the server has access control lists."`
	Password proxy.Secret  `setting:"password" doc:"Password."`
	Timeout  time.Duration `setting:"timeout" default:"5s" min:"0.1" max:"60" doc:"Patience with the server."`
	MaxLen   int           `setting:"stream_length" default:"10000" min:"1" doc:"Streams: about how many entries each stream keeps."`
	Dedupe   time.Duration `setting:"dedupe_window" default:"2m" min:"1" doc:"Streams: how long repeats of an event are recognised."`
}

const version = "1.0.0"

// Translator translates to Redis.
type Translator struct{}

// New returns the translator.
func New() Translator { return Translator{} }

// Describe implements translators.Translator.
func (Translator) Describe() translators.Description {
	exact := translators.Fidelity{Level: translators.Exact}
	return translators.Description{
		Name:     "redis",
		Version:  version,
		Settings: translators.SchemaOf(Config{}),
		Features: map[translators.Feature]translators.Fidelity{
			translators.FeatureEvents:       exact,
			translators.FeatureClientEvents: exact,
			translators.FeatureExcludeSocket: {
				Level: translators.Emulated, Note: "the connection is named in the message; subscribers leave it out",
			},
			translators.FeatureSubscribe:    exact,
			translators.FeatureServerToUser: {Level: translators.Emulated, Note: "as the user's channel"},
			translators.FeatureEncrypted:    exact,
			translators.FeatureIdentity:     exact,
			translators.FeatureCache:        {Level: translators.Lossy, Note: "last entry of the stream in streams mode; none in pubsub mode"},
			translators.FeatureHistory:      {Level: translators.Lossy, Note: "as long as the stream is in streams mode; none in pubsub mode"},
			translators.FeatureDedupe:       {Level: translators.Lossy, Note: "within a window in streams mode; none in pubsub mode"},
		},
		Ordering:  translators.OrderPerPublisher,
		Guarantee: translators.AtMostOnce,
		Echo:      translators.EchoTagged,
	}
}

// Open implements translators.Translator.
func (Translator) Open(ctx context.Context, b translators.Binding) (translators.Session, error) {
	var c Config
	if err := b.Settings.Decode(&c); err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, translators.Problems{{Path: "url", What: "is not a Redis URL such as redis://127.0.0.1:6379/0"}}
	}
	configure(options, c)
	client := redis.NewClient(options)
	ping, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := client.Ping(ping).Err(); err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("connect to Redis at %s: %w; is the server running, and is settings.url its address?", options.Addr, err)
	}
	if info := client.Info(ping, "cluster").Val(); c.Mode == "streams" && strings.Contains(info, "cluster_enabled:1") {
		_ = client.Close()
		return nil, fmt.Errorf("the server at %s is a node of a Redis Cluster, which keeps each stream on another node: use a server "+
			"of its own, or settings.mode pubsub, which works through any one node", options.Addr)
	}
	s := &session{config: c, client: client, base: c.Prefix + ":" + escape(b.App) + ":", log: b.Log, watches: map[string]*watch{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if c.Mode == "streams" {
		return newStreams(s), nil
	}
	return newPubSub(s), nil
}

func configure(o *redis.Options, c Config) {
	o.MaxRetries = -1 // the lane tries again, in order
	o.DialerRetries = 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = c.Timeout, c.Timeout, c.Timeout
	o.ContextTimeoutEnabled = true
	if c.User != "" {
		o.Username = c.User
	}
	if !c.Password.IsZero() {
		o.Password = c.Password.Reveal()
	}
	if o.TLSConfig != nil {
		o.TLSConfig.MinVersion = tls.VersionTLS12
	}
}

// escape keeps the app's end recognisable: channel names have no colon.
func escape(app string) string {
	return strings.NewReplacer("%", "%25", ":", "%3A").Replace(app)
}

// session is what both modes share.
type session struct {
	config Config
	client *redis.Client
	base   string // what the app's Redis channels and keys begin with
	log    zerolog.Logger

	ctx    context.Context // of the reading goroutine, which no call's context spans
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	watches map[string]*watch // by Redis channel or key
	away    error             // why the reader is not connected; nil: it is
}

// watch is one observed channel.
type watch struct {
	observer  translators.Observer
	confirmed chan struct{} // closed when the server has confirmed it
	attached  bool
	last      string // streams: id of the last entry that was seen
}

// key returns the Redis channel or stream of a channel. Different channels
// have different ones, as the name is all that follows the base.
func (s *session) key(channel protocol.ChannelName) string { return s.base + string(channel) }

// Report implements translators.Reporter.
func (s *session) Report() translators.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := translators.Report{Healthy: s.away == nil}
	if s.away != nil {
		r.Detail = "not connected to Redis: " + s.away.Error()
	}
	return r
}

// Close implements translators.Session.
func (s *session) Close(context.Context) error {
	s.cancel()
	err := s.client.Close()
	s.wg.Wait()
	return err
}

// detach tells every observer that nothing is seen since then.
func (s *session) detach(since time.Time, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away == nil {
		s.log.Warn().Err(why).Msg("disconnected from redis")
	}
	s.away = why
	for _, w := range s.watches {
		if w.attached {
			w.attached = false
			w.observer.State(translators.ChannelState{State: translators.StateDetached, From: since, Detail: "disconnected from Redis"})
		}
	}
}

// attach notes that a watch is confirmed by the server, and tells its observer
// if it was before. Called with mu held.
func (w *watch) attach() {
	switch {
	case w.attached:
	case w.isConfirmed():
		w.observer.State(translators.ChannelState{State: translators.StateAttached})
	default:
		close(w.confirmed)
	}
	w.attached = true
}

func (w *watch) isConfirmed() bool {
	select {
	case <-w.confirmed:
		return true
	default:
		return false
	}
}

// refusal returns what an error of a command means.
func refusal(err error) translators.Result {
	switch {
	case redis.IsPermissionError(err), redis.IsAuthError(err):
		return translators.Refuse(translators.CodeRejectedAuth, err)
	case redis.IsOOMError(err):
		return translators.Refuse(translators.CodeThrottled, err)
	}
	return translators.Refuse(translators.CodeTransient, err)
}

// each runs one command per item in a pipeline, and returns their results.
// After a connection is lost all later items fail with it.
func (s *session) each(
	ctx context.Context, batch []translators.Envelope, queue func(redis.Pipeliner, translators.Envelope) func() (translators.Result, error),
) []translators.Result {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	pipe := s.client.Pipeline()
	answers := make([]func() (translators.Result, error), len(batch))
	for i, e := range batch {
		answers[i] = queue(pipe, e)
	}
	_, _ = pipe.Exec(ctx) // each answer has its own error
	results := make([]translators.Result, len(batch))
	for i, answer := range answers {
		result, err := answer()
		if err != nil {
			result = refusal(err)
		}
		results[i] = result
	}
	return results
}

var (
	_ translators.Subscriber = (*pubsub)(nil)
	_ translators.Subscriber = (*streams)(nil)
	_ translators.Previewer  = (*pubsub)(nil)
	_ translators.Previewer  = (*streams)(nil)
	_ translators.Reporter   = (*session)(nil)
)
