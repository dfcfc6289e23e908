package pusher

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// Config is what operators set.
type Config struct {
	AppID         string        `setting:"app_id,required" doc:"The app's id on the other side."`
	Key           string        `setting:"key,required" doc:"The app's key on the other side."`
	Secret        proxy.Secret  `setting:"secret,required" doc:"The secret of that key. It signs API requests and the taps' subscriptions."`
	Cluster       string        `setting:"cluster" doc:"The vendor's cluster, such as eu. Either this or host."`
	Host          string        `setting:"host" doc:"Address of a compatible server, such as ws.example.com or 127.0.0.1:6001."`
	WebSocketHost string        `setting:"websocket_host" doc:"Its address for clients, where that is another one."`
	TLS           bool          `setting:"tls" default:"true" doc:"Whether to use https and wss."`
	Timeout       time.Duration `setting:"timeout" default:"5s" min:"0.1" max:"60" doc:"Patience with an API request and with a connection attempt."`
	Taps          int           `setting:"taps" default:"1" min:"1" max:"64" doc:"Connections that observed channels are spread over."`
	TapUserID     string        `setting:"tap_user_id" doc:"User id of the taps on presence channels, where they are members like any other. Without it presence channels are not observed."`
	EventBytes    int           `setting:"event_bytes" default:"10240" min:"1" doc:"Largest data of an event that the other side takes, in bytes."`
	NameLength    int           `setting:"channel_name_length" default:"164" min:"1" max:"200" doc:"Longest channel name that the other side takes."`
	Batch         int           `setting:"batch" default:"10" min:"1" max:"10" doc:"Events in one API request."`
	Rate          float64       `setting:"publishes_per_second" default:"0" min:"0" doc:"Events per second that the other side takes. 0: no limit."`
}

const version = "1.0.0"

// Translator translates to Pusher's protocol.
type Translator struct{}

// New returns the translator.
func New() Translator { return Translator{} }

// Describe implements translators.Translator.
func (Translator) Describe() translators.Description {
	exact := translators.Fidelity{Level: translators.Exact}
	lossy := func(note string) translators.Fidelity {
		return translators.Fidelity{Level: translators.Lossy, Note: note}
	}
	none := func(note string) translators.Fidelity { return translators.Fidelity{Note: note} }
	return translators.Description{
		Name:     "pusher",
		Version:  version,
		Settings: translators.SchemaOf(Config{}),
		Features: map[translators.Feature]translators.Fidelity{
			translators.FeatureEvents:        exact,
			translators.FeatureClientEvents:  lossy("published as server events: without the sender's user id on presence channels"),
			translators.FeatureExcludeSocket: lossy("a connection here is not one there; the exclusion is used for the bridge's own tap"),
			translators.FeatureSubscribe:     exact,
			translators.FeaturePresence:      none("each member would need a connection of its own; move presence channels whole"),
			translators.FeatureServerToUser:  {Level: translators.Exact, Note: "to observe a user's events a tap signs in as that user"},
			translators.FeatureEncrypted:     exact,
			translators.FeatureCache:         {Level: translators.Exact, Note: "a tap is shown the cached event as if it were new"},
			translators.FeatureQuery:         lossy("members without what is told about them"),
			translators.FeatureWebhooks:      none("the other side sends its own, and taps count as subscribers there"),
			translators.FeatureIdentity:      none("frames have no room for mirror id and origin"),
			translators.FeatureDedupe:        none("the API has no idempotency key"),
		},
		Limits: translators.Limits{
			PayloadBytes: 10240, ChannelNameBytes: protocol.DefaultChannelNameLength,
			EventNameBytes: protocol.MaxEventNameLength, PresenceMembers: 100,
		},
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
	if problems := c.check(); len(problems) > 0 {
		return nil, problems
	}
	s := &session{config: c, role: b.Role, log: b.Log, api: newAPI(c), userTaps: map[protocol.ChannelName]*tap{}}
	s.limiter = rate.NewLimiter(rate.Inf, c.Batch)
	if c.Rate > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(c.Rate), max(c.Batch, int(c.Rate)))
	}
	for range c.Taps {
		s.taps = append(s.taps, newTap(c, "", b.Log))
	}
	if err := s.api.probe(ctx); err != nil {
		s.api.close()
		return nil, fmt.Errorf("ask %s about app %s: %w; are settings app_id, key, secret and %s right?",
			s.api.client(ctx).Host, c.AppID, err, c.addressSetting())
	}
	return s, nil
}

// check returns the mistakes that the schema cannot see.
func (c Config) check() translators.Problems {
	var problems translators.Problems
	if (c.Cluster == "") == (c.Host == "") {
		problems = append(problems, translators.Problem{
			Path: "host", What: "set either this, the address of a compatible server, or cluster, for the vendor",
		})
	}
	for path, host := range map[string]string{"host": c.Host, "websocket_host": c.WebSocketHost, "cluster": c.Cluster} {
		if strings.ContainsAny(host, "/?#@ ") {
			problems = append(problems, translators.Problem{
				Path: path, What: fmt.Sprintf("is %q; it must be a name without scheme and path", host),
			})
		}
	}
	return problems
}

func (c Config) addressSetting() string {
	if c.Cluster != "" {
		return "cluster"
	}
	return "host"
}

func (c Config) apiHost() string {
	if c.Cluster != "" {
		return "api-" + c.Cluster + ".pusher.com"
	}
	return c.Host
}

// websocketURL returns where taps connect.
func (c Config) websocketURL() string {
	u := url.URL{Scheme: "ws", Host: c.Host, Path: "/app/" + c.Key, RawQuery: "protocol=7&client=offramp-tap&version=" + version}
	if c.Cluster != "" {
		u.Host = "ws-" + c.Cluster + ".pusher.com"
	}
	if c.WebSocketHost != "" {
		u.Host = c.WebSocketHost
	}
	if c.TLS {
		u.Scheme = "wss"
	}
	return u.String()
}

// session publishes to one app of the other side, and observes it.
type session struct {
	config  Config
	role    proxy.Role
	log     zerolog.Logger
	api     *api
	limiter *rate.Limiter
	taps    []*tap // a channel always is on the same one

	mu       sync.Mutex
	userTaps map[protocol.ChannelName]*tap // each signed in as the user

	requests, refused atomic.Uint64
	unreachable       atomic.Pointer[string] // why the last request got no answer; nil: it got one
}

var (
	_ translators.Subscriber = (*session)(nil)
	_ translators.Querier    = (*session)(nil)
	_ translators.Previewer  = (*session)(nil)
	_ translators.Reporter   = (*session)(nil)
)

// tapOf returns the tap that observes a channel.
func (s *session) tapOf(channel protocol.ChannelName) *tap {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(channel))
	return s.taps[sum.Sum32()%uint32(len(s.taps))]
}

// Subscribe implements translators.Subscriber.
func (s *session) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	if channel.Kind() == protocol.Presence && s.config.TapUserID == "" {
		return nil, fmt.Errorf("observe %s: a tap on a presence channel is a member of it; name it in settings.tap_user_id", channel)
	}
	if user, ok := channel.UserID(); ok {
		return s.subscribeUser(ctx, channel, user, o)
	}
	return s.tapOf(channel).subscribe(ctx, channel, o)
}

// subscribeUser observes a user's channel on a connection that signs in as
// that user: a connection can be one user only.
func (s *session) subscribeUser(
	ctx context.Context, channel protocol.ChannelName, user string, o translators.Observer,
) (func(), error) {
	t := newTap(s.config, user, s.log)
	s.mu.Lock()
	if _, taken := s.userTaps[channel]; taken {
		s.mu.Unlock()
		return nil, errAlreadyObserved
	}
	s.userTaps[channel] = t
	s.mu.Unlock()
	stop := func() {
		t.close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.userTaps, channel)
	}
	if _, err := t.subscribe(ctx, channel, o); err != nil {
		stop()
		return nil, err
	}
	return sync.OnceFunc(stop), nil
}

// Close implements translators.Session.
func (s *session) Close(context.Context) error {
	for _, t := range s.allTaps() {
		t.close()
	}
	s.api.close()
	return nil
}

func (s *session) allTaps() []*tap {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append([]*tap(nil), s.taps...)
	for _, t := range s.userTaps {
		all = append(all, t)
	}
	return all
}

// Report implements translators.Reporter.
func (s *session) Report() translators.Report {
	r := translators.Report{Healthy: true, Counters: map[string]uint64{
		"pusher_requests": s.requests.Load(), "pusher_requests_refused": s.refused.Load(), "pusher_tap_reconnects": 0,
	}}
	if why := s.unreachable.Load(); why != nil {
		r.Healthy, r.Detail = false, "the API does not answer: "+*why
	}
	for _, t := range s.allTaps() {
		reconnects, trouble := t.report()
		r.Counters["pusher_tap_reconnects"] += reconnects
		if trouble != "" {
			r.Healthy, r.Detail = false, "a tap is away: "+trouble
		}
	}
	return r
}

// Query implements translators.Querier.
func (s *session) Query(ctx context.Context, channel protocol.ChannelName) (translators.Occupancy, error) {
	if _, ok := channel.UserID(); ok {
		return translators.Occupancy{}, fmt.Errorf("query %s: the API does not tell about users' channels", channel)
	}
	return s.api.occupancy(ctx, channel)
}

// Preview implements translators.Previewer.
func (s *session) Preview(e translators.Envelope) (translators.Native, []translators.Loss) {
	var losses []translators.Loss
	lose := func(lost bool, field, detail string) {
		if lost {
			losses = append(losses, translators.Loss{Field: field, Detail: detail})
		}
	}
	lose(!e.ID.IsZero() || e.Origin != "", "identity", "mirror id and origin are not carried")
	lose(e.UserID != "", "user_id", "subscribers do not see who sent it")
	lose(e.Except != "", "exclude_socket", "the connection does not exist on the other side")
	lose(len(e.Attrs) > 0, "attrs", "are not carried")
	path := s.api.path("batch_events")
	if _, ok := e.Channel.UserID(); ok {
		path = s.api.path("events")
	}
	return translators.Native{
		Destination: http.MethodPost + " " + path, Body: appendEvent(nil, e, ""),
	}, losses
}
