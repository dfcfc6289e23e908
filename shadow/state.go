package shadow

import (
	"math"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// state is all that the comparator knows. Its methods take the time they act
// at, in nanoseconds as nanos gives them, and know no clock of their own.
type state struct {
	config  Config
	lookup  func(string) (*proxy.App, bool)
	hasher  hasher
	digests digester
	start   time.Time
	codes   *names // result codes of backends
	apps    map[string]*appState
	ledger  *ledger
	sweeps  sweeper
	saved   time.Time // when changes were last taken for the journal
	open    int       // events and arrivals in all windows
	bodies  int       // bytes of payload held
}

// appState is one app's share.
type appState struct {
	id       string
	app      *proxy.App
	windows  map[protocol.ChannelName]*window
	patterns *names
	events   *names
	keys     *names // patterns with events that have cells of their own
	gaps     map[proxy.Leg]*gaps
	heard    map[proxy.Leg]*hearing
	overflow int64
	gapCount int64
	exhibits exhibits

	hooks     *hooks
	questions map[question]*verdicts
	actions   *names
	libraries *names                       // of clients
	frames    *names                       // kinds of frame
	samples   map[Key]*frameSamples        // of frames, for exhibits
	sources   *names                       // publishers, and libraries of clients
	sockets   map[protocol.SocketID]uint32 // relayed clients' libraries
}

// hearing is what was ever heard of a leg.
type hearing struct {
	delivered bool
	ids       bool // what it delivers carries event ids
	members   bool // it tells who is on presence channels
	answers   bool // it says what became of events handed to it
}

// maxCodes bounds the result codes told apart.
const maxCodes = 64

// maxWindows bounds the channels watched per app; events on further ones are
// counted as overflow.
const maxWindows = 1 << 20

func newState(c Config, lookup func(string) (*proxy.App, bool)) *state {
	return &state{
		config: c, lookup: lookup, hasher: newHasher(), digests: newDigester(), start: time.Now(), codes: newNames(maxCodes),
		apps: make(map[string]*appState), ledger: newLedger(c),
	}
}

// nanos puts a time on the scale the state uses: Unix nanoseconds that follow
// the monotonic clock where the time has its reading.
func (s *state) nanos(t time.Time) int64 { return s.start.UnixNano() + int64(t.Sub(s.start)) }

// application returns the state of an app, nil when there is no such app.
func (s *state) application(id string) *appState {
	app, ok := s.lookup(id)
	if !ok {
		return nil
	}
	a := s.apps[id]
	if a == nil {
		a = s.addApp(id)
	}
	a.app = app
	return a
}

func (s *state) addApp(id string) *appState {
	a := &appState{
		id: id, windows: make(map[protocol.ChannelName]*window),
		patterns: newNames(s.config.Patterns), events: newNames(s.config.Patterns),
		keys: newNames(2 * s.config.Patterns),
		gaps: make(map[proxy.Leg]*gaps), heard: make(map[proxy.Leg]*hearing),
		hooks: newHooks(), questions: make(map[question]*verdicts), actions: newNames(maxCodes),
		libraries: newNames(maxLibraries), frames: newNames(maxCodes), samples: make(map[Key]*frameSamples),
		sources: newNames(maxSources), sockets: make(map[protocol.SocketID]uint32),
	}
	s.apps[id] = a
	return a
}

// window returns a channel's window, nil when there are too many or nothing is
// to be learnt of the channel.
func (a *appState) window(topic protocol.ChannelName) *window {
	w := a.windows[topic]
	switch {
	case w != nil:
		w.configure(a.app)
	case len(a.windows) >= maxWindows:
		a.overflow++
		return nil
	case nothingToCompare(legsOf(a.app, topic)):
		return nil
	default:
		w = newWindow(topic, a.app, a.patterns)
		a.windows[topic] = w
	}
	return w
}

func (a *appState) hears(name proxy.Leg) *hearing {
	h := a.heard[name]
	if h == nil {
		h = new(hearing)
		a.heard[name] = h
	}
	return h
}

// observe takes one record in.
func (s *state) observe(r *proxy.Record) {
	topic := r.Topic
	if topic.App == "" && r.Event != nil {
		topic = r.Event.Topic
	}
	if topic.Channel == "" && r.Event != nil {
		topic.Channel = r.Event.Topic.Channel
	}
	if r.Kind == proxy.KindGap {
		s.gap(legOf{app: topic.App, leg: r.Leg}, topic.Channel, span{from: s.nanos(r.From), to: s.nanos(r.At)})
		return
	}
	a, at := s.application(topic.App), s.nanos(r.At)
	if a == nil {
		return
	}
	if r.Kind == proxy.KindAllowed || r.Kind == proxy.KindRefused {
		s.decided(a, topic, r, at)
		return
	}
	switch r.Kind {
	case proxy.KindFrame:
		s.framed(a, r, at)
		return
	case proxy.KindConnected, proxy.KindDisconnected:
		a.connected(r)
		return
	}
	if topic.Channel == "" {
		return
	}
	s.hooked(a, r, topic.Channel, at)
	if hooksOnly.Has(r.Kind) {
		return
	}
	w := a.window(topic.Channel)
	if w == nil {
		return
	}
	switch r.Kind {
	case proxy.KindPublished:
		s.published(a, w, r, at)
	case proxy.KindDelivered:
		s.delivered(a, w, r, at)
	case proxy.KindMirrored:
		s.answered(a, w, r, at)
	case proxy.KindSubscribed, proxy.KindUnsubscribed:
		s.subscription(a, w, r, at)
	case proxy.KindMemberAdded, proxy.KindMemberRemoved:
		s.member(a, w, r, at)
	}
}

// hooksOnly are the kinds that only webhooks follow from.
const hooksOnly = proxy.Kinds(1<<proxy.KindOccupied | 1<<proxy.KindVacated | 1<<proxy.KindCacheMiss | 1<<proxy.KindWebhook)

// gap notes that a leg could not be observed, on one channel or on all.
func (s *state) gap(key legOf, channel protocol.ChannelName, g span) {
	a := s.application(key.app)
	if a == nil {
		return
	}
	a.gapCount++
	if channel == "" {
		if a.gaps[key.leg] == nil {
			a.gaps[key.leg] = new(gaps)
		}
		a.gaps[key.leg].add(g)
		for _, w := range a.windows {
			if i := w.leg(key.leg); i != none {
				s.losePresence(a, w, i)
			}
		}
		return
	}
	if w := a.window(channel); w != nil {
		if i := w.leg(key.leg); i != none {
			w.legs[i].gaps.add(g)
			s.losePresence(a, w, i)
		}
	}
}

func (s *state) published(a *appState, w *window, r *proxy.Record, at int64) {
	ev := r.Event
	if ev == nil || internal(ev.Name) || r.Leg != w.legs[0].name {
		return // only what the authoritative leg accepted is to be delivered
	}
	if !ev.At.IsZero() {
		at = s.nanos(ev.At)
	}
	p := published{
		at: at, id: ev.ID, key: s.hasher.key(ev), user: s.hasher.user(ev.UserID), name: a.events.number(ev.Name), source: a.publisherOf(ev),
		origin: ev.Origin, except: ev.Except, body: s.hold(ev.Data), size: len(ev.Data),
	}
	if p.except == "" {
		p.except = ev.Socket
	}
	if ev.Publisher == proxy.ByClient {
		p.sender = s.hasher.user(string(ev.Socket))
		if r.Leg == proxy.LegVendor {
			a.hooks.caused(telling{kind: proxy.WebhookClientEvent, channel: w.topic, user: ev.UserID, content: p.key}, at)
		}
	}
	if r.Leg == proxy.LegVendor {
		p.held = max(0, s.nanos(r.At)-at)
	}
	p.excludes = p.except != ""
	w.events = append(w.events, p)
	s.open++
	s.bound(a, w, len(w.events), at)
}

func (s *state) delivered(a *appState, w *window, r *proxy.Record, at int64) {
	ev := r.Event
	if ev == nil || internal(ev.Name) {
		return
	}
	if r.Leg == proxy.LegEngine && r.Socket == "" && r.Count == 0 {
		return // handed to nobody
	}
	i := w.leg(r.Leg)
	if i == none {
		return
	}
	heard := a.hears(r.Leg)
	heard.delivered, heard.ids = true, heard.ids || !ev.ID.IsZero()
	v := w.legs[i].view(r.Socket, at, s.config.Views)
	if v == nil {
		return // enough sockets are watched already
	}
	v.arrivals = append(v.arrivals, arrival{
		at: at, id: ev.ID, key: s.hasher.key(ev), user: s.hasher.user(ev.UserID), name: a.events.number(ev.Name),
		body: s.hold(ev.Data), size: len(ev.Data), count: int32(min(r.Count, math.MaxInt32)),
		excludes: ev.Except != "" || ev.Publisher == proxy.ByClient,
	})
	s.open++
	s.bound(a, w, len(v.arrivals), at)
}

func (s *state) answered(a *appState, w *window, r *proxy.Record, at int64) {
	i := w.leg(r.Leg)
	if i == none || r.Event == nil {
		return
	}
	a.hears(r.Leg).answers = true
	if len(w.answers) < s.config.ChannelWindow {
		w.answers = append(w.answers, answer{id: r.Event.ID, at: at, leg: i, code: s.codes.number(r.Text), place: uint32(r.Count)})
	}
}

func (s *state) subscription(a *appState, w *window, r *proxy.Record, at int64) {
	i := w.leg(r.Leg)
	if i == none {
		return
	}
	l := &w.legs[i]
	joined, count := r.Kind == proxy.KindSubscribed, r.Count
	if joined {
		count = max(1, count)
	}
	l.occupied.set(at, count)
	if r.Leg == proxy.LegVendor {
		s.relayedMember(a, w, i, r.UserID, joined, at)
		switch {
		case joined && count == 1:
			a.hooks.caused(telling{kind: proxy.WebhookChannelOccupied, channel: w.topic}, at)
		case !joined && count == 0:
			a.hooks.caused(telling{kind: proxy.WebhookChannelVacated, channel: w.topic}, at)
		}
	}
	if !joined && count == 0 {
		l.emptied()
	}
	if w.kind(i) != kindSockets || r.Socket == "" {
		return
	}
	if joined {
		l.view(r.Socket, at, s.config.Views)
		return
	}
	for _, v := range l.views {
		if v.socket == r.Socket && v.to == 0 {
			v.to = at
		}
	}
}

// bound closes the older half of a window that is full, or that grows while
// all windows together are.
func (s *state) bound(a *appState, w *window, size int, now int64) {
	if size > s.config.ChannelWindow || (s.open > s.config.OpenWindow && size > 64) {
		s.sweepWindow(a, w, now, closeHalf)
	}
}

// hold returns a payload if the budget still has room for it.
func (s *state) hold(body []byte) []byte {
	if s.bodies+len(body) > s.config.Bodies {
		return nil
	}
	s.bodies += len(body)
	return body
}

func (s *state) release(body []byte) { s.bodies -= len(body) }
