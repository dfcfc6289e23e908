package ably

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ably/ably-go/ably"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// Config is what operators set.
type Config struct {
	Key          proxy.Secret  `setting:"key,required" doc:"The API key, as in APP.KEYID:SECRET. Tokens are requested with it."`
	Host         string        `setting:"host" doc:"Host, and port if it is an unusual one, of another endpoint than Ably's usual."`
	TLS          bool          `setting:"tls" default:"true" doc:"Whether to use https and wss."`
	Encoding     string        `setting:"encoding" default:"msgpack" enum:"msgpack,json" doc:"Encoding of the protocol."`
	Connections  int           `setting:"connections" default:"1" min:"1" max:"64" doc:"Connections to publish over. More are made as observed channels ask for them."`
	Channels     int           `setting:"channels_per_connection" default:"200" min:"1" max:"200" doc:"Channels that are observed over one connection. Ably allows 200."`
	Rate         float64       `setting:"publishes_per_channel_per_second" default:"50" min:"1" doc:"Publishes per second on one channel; several events may share one. Ably allows 50."`
	MessageBytes int           `setting:"max_message_bytes" default:"65536" min:"1024" doc:"Largest publish that the Ably account allows, in bytes, with names and headers."`
	Timeout      time.Duration `setting:"timeout" default:"8s" min:"1" max:"60" doc:"Patience with a connection attempt and with an answer."`
	Retry        time.Duration `setting:"retry" default:"2s" min:"0.1" max:"60" doc:"Pause between attempts to connect again."`
}

const version = "1.0.0"

// Translator translates to Ably.
type Translator struct{}

// New returns the translator.
func New() Translator { return Translator{} }

// Describe implements translators.Translator.
func (Translator) Describe() translators.Description {
	exact := translators.Fidelity{Level: translators.Exact}
	emulated := func(note string) translators.Fidelity {
		return translators.Fidelity{Level: translators.Emulated, Note: note}
	}
	return translators.Description{
		Name:     "ably",
		Version:  version,
		Settings: translators.SchemaOf(Config{}),
		Features: map[translators.Feature]translators.Fidelity{
			translators.FeatureEvents:        exact,
			translators.FeatureClientEvents:  emulated("kind and sender travel as headers in the message's extras"),
			translators.FeatureExcludeSocket: emulated("the connection is named in a header; subscribers leave it out"),
			translators.FeatureSubscribe:     exact,
			translators.FeaturePresence:      emulated("entered on members' behalf by the translator's connection"),
			translators.FeatureUserInfo:      exact,
			translators.FeatureServerToUser:  emulated("as the user's channel"),
			translators.FeatureEncrypted:     {Level: translators.Exact, Note: "passes as text; Ably's own encryption is another"},
			translators.FeatureCache:         emulated("subscribers ask for the last message with rewind=1"),
			translators.FeatureQuery:         exact,
			translators.FeatureWebhooks:      {Note: "Ably's integrations send another format"},
			translators.FeatureHistory:       {Level: translators.Lossy, Note: "two minutes, unless the app has persistence on"},
			translators.FeatureDedupe: {
				Level: translators.Lossy, Note: "within two minutes, and if the same events are together in the repeated publish",
			},
			translators.FeatureIdentity: exact,
		},
		Limits: translators.Limits{
			PayloadBytes: 65536, PerChannelPerSecond: 50, PresenceMembers: 200,
		},
		Ordering:  translators.OrderPerPublisher,
		Guarantee: translators.AtLeastOnce,
		Echo:      translators.EchoNative,
	}
}

// Open implements translators.Translator.
func (Translator) Open(ctx context.Context, b translators.Binding) (translators.Session, error) {
	var c Config
	if err := b.Settings.Decode(&c); err != nil {
		return nil, err
	}
	if name, secret, ok := strings.Cut(c.Key.Reveal(), ":"); !ok || secret == "" || !strings.Contains(name, ".") {
		return nil, translators.Problems{{Path: "key", What: "must be an API key as the dashboard shows it, APP.KEYID:SECRET"}}
	}
	if strings.ContainsAny(c.Host, "/?#@ ") {
		return nil, translators.Problems{{Path: "host", What: fmt.Sprintf("is %q; it must be a name without scheme and path", c.Host)}}
	}
	s := &session{config: c, app: b.App, log: b.Log, pool: newPool(c, b.Role == proxy.RoleBridge, b.Log), present: map[protocol.ChannelName]members{}}
	s.limiters = newLimiters(c.Rate)
	var err error
	if s.rest, err = ably.NewREST(c.options(b.Log)...); err != nil {
		return nil, fmt.Errorf("make an Ably client: %s", scrub(err.Error()))
	}
	if err := s.pool.open(ctx, c.Connections); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to Ably: %w; is settings.key valid, and does it allow publish, subscribe and presence?", err),
			s.pool.close(ctx))
	}
	return s, nil
}

// session publishes to one Ably app, and observes it.
type session struct {
	config   Config
	app      string
	log      zerolog.Logger
	pool     *pool
	rest     *ably.REST
	limiters *limiters

	presence sync.Mutex // one change at a time
	present  map[protocol.ChannelName]members

	publishes, messages, throttled atomic.Uint64
}

var (
	_ translators.Subscriber = (*session)(nil)
	_ translators.Presencer  = (*session)(nil)
	_ translators.Querier    = (*session)(nil)
	_ translators.Previewer  = (*session)(nil)
	_ translators.Reporter   = (*session)(nil)
	_ translators.Limited    = (*session)(nil)
)

// Close implements translators.Session.
func (s *session) Close(ctx context.Context) error { return s.pool.close(ctx) }

// Limits implements translators.Limited. The rate is kept here: what is there at
// the same time becomes one publish.
func (s *session) Limits() translators.Limits {
	return translators.Limits{PayloadBytes: s.config.MessageBytes, PresenceMembers: 200}
}

// Report implements translators.Reporter.
func (s *session) Report() translators.Report {
	connections, trouble := s.pool.report()
	return translators.Report{Healthy: trouble == "", Detail: trouble, Counters: map[string]uint64{
		"ably_publishes": s.publishes.Load(), "ably_messages": s.messages.Load(), "ably_throttled": s.throttled.Load(),
		"ably_connections_made": connections,
	}}
}

// Preview implements translators.Previewer.
func (s *session) Preview(e translators.Envelope) (translators.Native, []translators.Loss) {
	m := encode(e)
	native := translators.Native{
		Destination: ablyName(e.Channel), Headers: map[string]string{"name": m.Name}, Body: []byte(m.Data.(string)),
	}
	if m.Encoding != "" {
		native.Headers["encoding"] = m.Encoding
	}
	for name, value := range headers(m.Extras) {
		native.Headers["extras.headers."+name] = value
	}
	var losses []translators.Loss
	if len(e.Attrs) > 0 {
		losses = append(losses, translators.Loss{Field: "attrs", Detail: "are not carried"})
	}
	return native, losses
}
