package host

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// link is one backend of one app: its plugin's process, one after the other,
// and what outlives them.
type link struct {
	settings Settings
	binding  Binding
	leg      proxy.Leg
	rules    atomic.Pointer[proxy.Backend] // the binding's, with the channels of the present configuration
	log      zerolog.Logger
	book     *book
	inlet    *inlet                  // nil: nothing is brought in
	roll     *roll                   // who is to be known on the backend
	session  atomic.Pointer[session] // of the plugin that runs; nil: none does
	released chan struct{}           // one token: leave quarantine
	renewed  chan struct{}           // one token: the executable has changed
	showing  sync.Mutex              // held while what a process observed is told; guards overlaps

	// The link's own goroutine's.
	fallback *fallback // nil: the version that serves has proven itself
	returned bool      // it is what is started, until another executable takes over

	// Guarded by mu.
	mu      sync.Mutex
	state   Status
	about   translators.Description // of the plugin that ran last
	command Command
	running string // checksum of the executable that serves
	wanted  string // checksum of the one that should
}

func newLink(s Settings, b Binding) (*link, error) {
	log := s.Log.With().Str("app", b.App).Str("backend", b.Backend.Name).Logger()
	l := &link{
		settings: s, binding: b, leg: proxy.Leg(b.Backend.Name), log: log,
		book:     newBook(s.QueueItems, s.QueueBytes, b.Backend.Role != proxy.RoleMirror),
		released: make(chan struct{}, 1), renewed: make(chan struct{}, 1),
		state: Status{
			App: b.App, Backend: b.Backend.Name, Plugin: b.Backend.Plugin, Role: b.Backend.Role,
			State: StateStopped, Since: time.Now(), Results: map[string]uint64{},
		},
	}
	l.rules.Store(&b.Backend)
	l.roll = newRoll(l.takes)
	l.book.demand = b.Backend.Role == proxy.RoleBridge
	var err error
	l.command, err = commandOf(s, b.Backend)
	l.command.Log = log
	return l, err
}

// commandOf returns how to run a backend's plugin.
func commandOf(s Settings, b proxy.Backend) (Command, error) {
	c, err := Find(b.Plugin, s.Executable, s.Builtins)
	if err != nil {
		return c, err
	}
	c.SocketDir, c.Environment, c.Secrets = s.SocketDir, s.Environment, secretsIn(b.Settings)
	if c.builtin() {
		return c, nil
	}
	if c.Checksum, err = s.Lock.checksum(b.Plugin); err != nil {
		return c, err
	}
	_, err = verify(c.Path, c.Checksum)
	return c, err
}

// secretsIn returns the texts of all secrets in a backend's settings.
func secretsIn(value any) []string {
	switch v := value.(type) {
	case proxy.Secret:
		return []string{v.Reveal()}
	case []any:
		var all []string
		for _, element := range v {
			all = append(all, secretsIn(element)...)
		}
		return all
	case map[string]any:
		var all []string
		for _, element := range v {
			all = append(all, secretsIn(element)...)
		}
		return all
	}
	return nil
}

// offer takes a record of the link's app. It reports false for an event that
// was dropped.
func (l *link) offer(r proxy.Record) bool {
	now := time.Now()
	if r.Kind == proxy.KindSubscribed || r.Kind == proxy.KindUnsubscribed {
		l.roll.take(r, now)
	}
	if l.shared() && r.Leg == proxy.LegEngine {
		l.inlet.attend(r, now)
	}
	if r.Kind == proxy.KindDelivered {
		return true
	}
	if !l.carries(r) || l.shared() && r.Kind != proxy.KindPublished {
		return true
	}
	if l.inlet != nil && r.Kind != proxy.KindPublished && r.Leg != proxy.LegEngine {
		return true // clients whom the upstream serves are given nothing by a bridge
	}
	switch r.Kind {
	case proxy.KindPublished:
		if l.circles(r.Event, now) {
			return true
		}
		return l.book.publish(r.Event, now)
	case proxy.KindSubscribed, proxy.KindOccupied:
		l.book.occupy(r.Topic.Channel, true, now)
	case proxy.KindVacated:
		l.book.occupy(r.Topic.Channel, false, now)
	}
	return true
}

// carries reports whether a record is for this backend: its channel matches
// and is in the sample, and it did not come from there.
func (l *link) carries(r proxy.Record) bool {
	if r.Kind == proxy.KindPublished && (r.Event == nil || r.Event.Origin == l.leg) {
		return false
	}
	return r.Topic.Channel != "" && l.takes(r.Topic.Channel)
}

// shared reports whether other nodes bring in what this backend delivers, too.
func (l *link) shared() bool { return l.inlet != nil && l.inlet.custody != nil }

// takes reports whether a channel is the backend's.
func (l *link) takes(channel protocol.ChannelName) bool { return l.rules.Load().Takes(channel) }

// rebind gives the backend other channels. occupied are those that have
// subscribers.
func (l *link) rebind(channels []string, sample float64, occupied []protocol.ChannelName) {
	before := l.rules.Load()
	if slices.Equal(before.Channels, channels) && before.Sample == sample {
		return
	}
	after := *before
	after.Channels, after.Sample = channels, sample
	l.rules.Store(&after)
	now := time.Now()
	l.book.restrict(after.Takes, now)
	for _, name := range occupied {
		if after.Takes(name) && (!l.shared() || l.inlet.custody.here(name)) {
			l.book.occupy(name, true, now)
		}
	}
	l.roll.rebind(before.Takes, after.Takes, now)
	l.log.Info().Strs("channels", channels).Float64("sample", sample).Msg("backend takes other channels")
}

// circles reports whether an event is not sent on because it has come through
// too many gateways. A shadow is shown it all the same: nothing comes back
// from there.
func (l *link) circles(ev *proxy.Event, now time.Time) bool {
	if l.binding.Backend.Role == proxy.RoleShadow {
		return false
	}
	if protocol.Hops(ev.Via) >= maxHops {
		l.change(func(s *Status) { s.Circled++ })
		if l.inlet != nil {
			l.inlet.breaker.stray(ev.Topic.Channel, now)
		}
		return true
	}
	if l.inlet != nil && ev.Origin != proxy.LegEngine {
		l.inlet.breaker.onward(ev, now)
	}
	return false
}

// envelope returns an item as the plugin gets it.
func (l *link) envelope(it item) translators.Envelope {
	e := it.event
	kind := translators.KindServer
	if e.Publisher == proxy.ByClient {
		kind = translators.KindClientEvent
	}
	return translators.Envelope{
		ID: e.ID, App: e.Topic.App, Channel: e.Topic.Channel, Event: e.Name, Data: e.Data, UserID: e.UserID, Except: e.Except,
		Kind: kind, Lane: laneOf(e.Topic.Channel), Seq: it.seq, Origin: l.settings.Gateway, Hops: protocol.Hops(e.Via) + 1,
		Ingress: e.At, Deadline: e.At.Add(l.settings.Deadline),
	}
}

// tell offers gaps to the watcher of the host.
func (l *link) tell(gaps []gap) {
	for _, g := range gaps {
		l.settings.Out.Offer(proxy.Record{
			Kind: proxy.KindGap, From: g.from, At: g.to, Leg: l.leg, Text: g.why,
			Topic: proxy.Topic{App: l.binding.App, Channel: g.channel},
		})
	}
	l.change(func(s *Status) { s.Gaps += uint64(len(gaps)) })
}

// executable returns what to run from now on.
func (l *link) executable() Command {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.command
}

// change changes the link's status.
func (l *link) change(f func(*Status)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.state)
}

// learn notes what the plugin that is being opened says of itself.
func (l *link) learn(d translators.Description) {
	l.inlet.meet(d)
	l.book.limit(d.Limits.Channels)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.about = d
}

// limits returns what the plugin says its backend can take.
func (l *link) limits() translators.Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.about.Limits
}

// tellsPresence reports whether the backend is told who is on presence
// channels: the plugin declares that it can be.
func (l *link) tellsPresence() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settings.Members != nil && l.about.Features[translators.FeaturePresence].Level > translators.Unsupported
}

// enter changes the link's state.
func (l *link) enter(state State, f func(*Status)) {
	l.change(func(s *Status) {
		s.State, s.Since = state, time.Now()
		f(s)
	})
}

func (l *link) status() Status {
	l.mu.Lock()
	s := l.state
	s.Results = cloneCounts(s.Results)
	l.mu.Unlock()
	l.book.tally(&s)
	l.inlet.fill(&s, time.Now())
	if l.tellsPresence() {
		s.Presence = l.roll.status()
	}
	return s
}

func cloneCounts(counts map[string]uint64) map[string]uint64 {
	clone := make(map[string]uint64, len(counts))
	for name, n := range counts {
		clone[name] = n
	}
	return clone
}

func (l *link) release() { signal(l.released) }

// tickUntil tells once a second what cannot be seen, until ctx ends.
func (l *link) tickUntil(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.tell(l.book.tick(time.Now(), l.settings.Linger))
		case <-ctx.Done():
			return
		}
	}
}
