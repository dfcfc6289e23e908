package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

// Config is what operators set.
type Config struct {
	URL         string        `setting:"url,required" doc:"Server or servers, such as nats://127.0.0.1:4222; several separated by commas."`
	Mode        string        `setting:"mode" default:"core" enum:"core,jetstream" doc:"Whether messages are only passed on or stored in a stream."`
	Prefix      string        `setting:"prefix" default:"offramp" doc:"First token of every subject."`
	User        string        `setting:"user" doc:"User name, if the server asks for one."`
	Password    proxy.Secret  `setting:"password" doc:"Password of the user."`
	Token       proxy.Secret  `setting:"token" doc:"Token, if the server asks for one."`
	Credentials string        `setting:"credentials_file" doc:"Path of a .creds file (JWT and key)."`
	CA          string        `setting:"ca_file" doc:"Path of a PEM file with the authorities that sign the server's certificate."`
	Timeout     time.Duration `setting:"timeout" default:"5s" min:"0.1" max:"60" doc:"Patience with a connection attempt."`
	Stream      string        `setting:"stream" default:"OFFRAMP" doc:"JetStream: name of the stream; created if there is none."`
	MaxAge      time.Duration `setting:"stream_max_age" default:"10m" min:"1" doc:"JetStream: how long a stream that is created here keeps messages."`
}

const version = "1.0.0"

// Translator translates to NATS.
type Translator struct{}

// New returns the translator.
func New() Translator { return Translator{} }

// Describe implements translators.Translator.
func (Translator) Describe() translators.Description {
	exact := translators.Fidelity{Level: translators.Exact}
	return translators.Description{
		Name:     "nats",
		Version:  version,
		Settings: translators.SchemaOf(Config{}),
		Features: map[translators.Feature]translators.Fidelity{
			translators.FeatureEvents:       exact,
			translators.FeatureClientEvents: exact,
			translators.FeatureExcludeSocket: {
				Level: translators.Emulated, Note: "the connection is named in a header; subscribers leave it out",
			},
			translators.FeatureSubscribe:    exact,
			translators.FeatureServerToUser: {Level: translators.Emulated, Note: "as the user's channel"},
			translators.FeatureEncrypted:    exact,
			translators.FeatureIdentity:     exact,
			translators.FeatureCache:        {Level: translators.Lossy, Note: "last message per subject in JetStream mode; none in core mode"},
			translators.FeatureHistory:      {Level: translators.Lossy, Note: "as long as the stream keeps messages; none in core mode"},
			translators.FeatureDedupe:       {Level: translators.Lossy, Note: "within the stream's window in JetStream mode; none in core mode"},
		},
		Limits:    translators.Limits{PayloadBytes: 1 << 20},
		Ordering:  translators.OrderPerPublisher,
		Guarantee: translators.AtMostOnce,
		Echo:      translators.EchoNative,
	}
}

// Open implements translators.Translator.
func (Translator) Open(ctx context.Context, b translators.Binding) (translators.Session, error) {
	var c Config
	if err := b.Settings.Decode(&c); err != nil {
		return nil, err
	}
	if strings.ContainsAny(c.Prefix, " *>\t\r\n") || strings.Contains("."+c.Prefix+".", "..") {
		return nil, translators.Problems{{Path: "prefix", What: fmt.Sprintf("is %q; it must be a subject without wildcards", c.Prefix)}}
	}
	s := &session{
		config: c, app: b.App, role: b.Role, gateway: b.Gateway, log: b.Log, watches: map[string]watch{}, denied: map[string]time.Time{},
	}
	var err error
	if s.conn, err = nats.Connect(c.URL, s.options(b)...); err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w; is the server running, and is settings.url its address?", redacted(c.URL), err)
	}
	if c.Mode == "jetstream" {
		if err := s.openStream(ctx); err != nil {
			s.conn.Close()
			return nil, err
		}
	}
	return s, nil
}

// redacted hides the passwords of a list of URLs.
func redacted(list string) string {
	urls := strings.Split(list, ",")
	for i, text := range urls {
		if u, err := url.Parse(text); err == nil {
			urls[i] = u.Redacted()
		}
	}
	return strings.Join(urls, ",")
}

// session is a connection to NATS.
type session struct {
	config  Config
	app     string
	role    proxy.Role
	gateway string
	log     zerolog.Logger
	conn    *nats.Conn
	js      jetstream.JetStream // nil in core mode
	stream  jetstream.Stream    // likewise

	mu      sync.Mutex
	watches map[string]watch     // by subject
	denied  map[string]time.Time // subjects that the server refused lately
	lost    time.Time            // since when the connection is down; zero: it is up
}

var (
	_ translators.Subscriber = (*session)(nil)
	_ translators.Previewer  = (*session)(nil)
	_ translators.Reporter   = (*session)(nil)
)

func (s *session) options(b translators.Binding) []nats.Option {
	options := []nats.Option{
		nats.Name(fmt.Sprintf("offramp %s/%s", b.App, b.Backend)),
		nats.Timeout(s.config.Timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectBufSize(-1), // while disconnected nothing is accepted, so nothing is acknowledged that may be lost
		nats.DisconnectErrHandler(s.disconnected),
		nats.ReconnectHandler(s.reconnected),
		nats.ErrorHandler(s.failed),
	}
	if b.Role == proxy.RoleBridge {
		options = append(options, nats.NoEcho())
	}
	if s.config.User != "" {
		options = append(options, nats.UserInfo(s.config.User, s.config.Password.Reveal()))
	}
	if !s.config.Token.IsZero() {
		options = append(options, nats.Token(s.config.Token.Reveal()))
	}
	if s.config.Credentials != "" {
		options = append(options, nats.UserCredentials(s.config.Credentials))
	}
	if s.config.CA != "" {
		options = append(options, nats.RootCAs(s.config.CA))
	}
	return options
}

// openStream finds or makes the stream of JetStream mode.
func (s *session) openStream(ctx context.Context) error {
	var err error
	if s.js, err = jetstream.New(s.conn); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	s.stream, err = s.js.Stream(ctx, s.config.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s.stream, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: s.config.Stream, Subjects: []string{s.config.Prefix + ".>"}, MaxAge: s.config.MaxAge,
			Duplicates: min(2*time.Minute, s.config.MaxAge),
		})
	}
	if err != nil {
		return fmt.Errorf("open stream %s: %w; is JetStream enabled on the server?", s.config.Stream, err)
	}
	return nil
}

// Close implements translators.Session.
func (s *session) Close(ctx context.Context) error {
	s.mu.Lock()
	watches := slices.Collect(maps.Values(s.watches))
	s.mu.Unlock()
	for _, w := range watches {
		w.end()
	}
	var err error
	if s.conn.IsConnected() {
		err = s.flush(ctx)
	}
	s.conn.Close()
	return err
}

// Report implements translators.Reporter.
func (s *session) Report() translators.Report {
	stats := s.conn.Stats()
	r := translators.Report{
		Healthy: s.conn.IsConnected(),
		Counters: map[string]uint64{
			"nats_in_messages": stats.InMsgs, "nats_out_messages": stats.OutMsgs, "nats_reconnects": stats.Reconnects,
		},
	}
	if !r.Healthy {
		r.Detail = "not connected to NATS: " + s.conn.Status().String()
	}
	return r
}

// Preview implements translators.Previewer.
func (s *session) Preview(e translators.Envelope) (translators.Native, []translators.Loss) {
	m := encode(subjectOf(s.config.Prefix, s.app, e.Channel), e)
	headers := make(map[string]string, len(m.Header))
	for name := range m.Header {
		headers[name] = m.Header.Get(name)
	}
	var losses []translators.Loss
	if len(e.Attrs) > 0 {
		losses = append(losses, translators.Loss{Field: "attrs", Detail: "are not carried"})
	}
	return translators.Native{Destination: m.Subject, Headers: headers, Body: m.Data}, losses
}
