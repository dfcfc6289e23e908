package centrifugo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// Config is what operators set.
type Config struct {
	URL         string        `setting:"url,required" doc:"The server, such as http://127.0.0.1:8000."`
	APIKey      proxy.Secret  `setting:"api_key,required" doc:"Key of the HTTP API."`
	TokenSecret proxy.Secret  `setting:"token_secret,required" doc:"HMAC secret of client tokens, with which the translator's own connections sign in."`
	WebSocket   string        `setting:"websocket_url" doc:"Where clients connect, if it is not the server's /connection/websocket."`
	Prefix      string        `setting:"prefix" doc:"What every channel begins with, such as a namespace and its colon."`
	Channels    int           `setting:"channels_per_connection" default:"128" min:"1" doc:"The server's client_channel_limit."`
	Timeout     time.Duration `setting:"timeout" default:"5s" min:"0.1" max:"60" doc:"Patience with the server."`
}

const version = "1.0.0"

// Translator translates to Centrifugo.
type Translator struct{}

// New returns the translator.
func New() Translator { return Translator{} }

// Describe implements translators.Translator.
func (Translator) Describe() translators.Description {
	exact := translators.Fidelity{Level: translators.Exact}
	return translators.Description{
		Name:     "centrifugo",
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
			translators.FeatureDedupe:       {Level: translators.Emulated, Note: "by idempotency key, for five minutes"},
			translators.FeatureCache:        {Level: translators.Lossy, Note: "where the namespace keeps history"},
			translators.FeatureHistory:      {Level: translators.Lossy, Note: "where the namespace keeps history"},
			translators.FeaturePresence:     {Note: "is of connections there, and cannot be entered for somebody else"},
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
	base, err := url.Parse(c.URL)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, translators.Problems{{Path: "url", What: "is not an address such as http://127.0.0.1:8000"}}
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.WebSocket == "" {
		c.WebSocket = "ws" + strings.TrimPrefix(c.URL, "http") + "/connection/websocket"
	}
	s := &session{config: c, log: b.Log, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	if err := s.ping(ctx); err != nil {
		return nil, fmt.Errorf("connect to Centrifugo at %s: %w", base.Redacted(), err)
	}
	return s, nil
}

// session is a translator's connection to a server.
type session struct {
	config Config
	log    zerolog.Logger
	client *http.Client

	mu   sync.Mutex
	taps []*tap
}

var (
	_ translators.Subscriber = (*session)(nil)
	_ translators.Previewer  = (*session)(nil)
	_ translators.Reporter   = (*session)(nil)
)

// native returns a channel's name on the server. "#" there separates the users
// that a channel is limited to; "%" is in no name of ours.
func (s *session) native(channel protocol.ChannelName) string {
	return s.config.Prefix + strings.ReplaceAll(string(channel), "#", "%23")
}

// Preview implements translators.Previewer.
func (s *session) Preview(e translators.Envelope) (translators.Native, []translators.Loss) {
	body, err := translators.EncodeMessage(e)
	if err != nil {
		return translators.Native{}, []translators.Loss{{Field: "event", Detail: err.Error()}}
	}
	return translators.Native{Destination: s.native(e.Channel), Headers: map[string]string{"idempotency_key": e.ID.String()}, Body: body}, nil
}

// Report implements translators.Reporter.
func (s *session) Report() translators.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := translators.Report{Healthy: true, Counters: map[string]uint64{"centrifugo_connections": uint64(len(s.taps))}}
	for _, t := range s.taps {
		if !t.connected() {
			r.Healthy, r.Detail = false, "a connection to Centrifugo is down"
		}
	}
	return r
}

// Close implements translators.Session.
func (s *session) Close(context.Context) error {
	s.mu.Lock()
	taps := s.taps
	s.taps = nil
	s.mu.Unlock()
	for _, t := range taps {
		t.client.Close()
	}
	s.client.CloseIdleConnections()
	return nil
}
