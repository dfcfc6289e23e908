package shadow

import (
	"slices"
	"strings"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// maxLegs bounds the legs compared on one channel: the reference, the engine
// and the first backends that take the channel.
const maxLegs = 8

// window holds what is still open on one channel: events published, and what
// arrived on each leg.
type window struct {
	topic   protocol.ChannelName
	typ     string // channel type
	pattern string
	app     *proxy.App // whose legs these are
	legs    []leg      // the reference first
	events  []published
	answers []answer // not assigned to their events yet
	recent  []closedEvent
	charges []charge
	cells   []cellCache
	changes []memberChange
	next    int64 // no sweep is worth it before
}

// published is an event whose publish passed the gateway.
type published struct {
	at       int64
	held     int64 // how long after at the candidates were given it
	id       proxy.EventID
	key      uint64
	user     uint64
	name     uint32
	source   uint32    // who published it
	origin   proxy.Leg // where it entered; it is not sent back there
	sender   uint64    // the client that sent it; 0: a server did
	excludes bool      // one socket is not to get it: its sender, or the one named
	except   protocol.SocketID
	body     []byte // nil when the budget was spent
	size     int
	answers  [maxLegs]uint32 // per leg: number of its result code; 0: none yet
	handed   [maxLegs]uint32 // per leg: when it answered, in order; 0: not yet
}

// arrival is an event that a leg delivered.
type arrival struct {
	at    int64
	id    proxy.EventID
	key   uint64
	user  uint64
	name  uint32
	body  []byte
	size  int
	count int32 // receivers, where the leg says so
	// excludes: it says that one socket is not to get it.
	excludes bool
}

// answer is a backend's result for one event.
type answer struct {
	id    proxy.EventID
	at    int64
	leg   int
	code  uint32
	place uint32 // of the event among what the backend was given
}

// closedEvent is what is remembered of an event after its comparison is
// closed: enough to know a late arrival for what it is.
type closedEvent struct {
	id   proxy.EventID
	key  uint64
	at   int64  // when it was closed
	seen uint16 // bit per leg: it arrived there
}

// leg is one system's side of a channel.
type leg struct {
	name      proxy.Leg
	views     []*view
	gaps      gaps
	slow      int64 // about the longest that events take, lately
	occupied  occupancy
	members   members
	differing differing // candidates only
}

// view is one stream of deliveries: one relayed socket's, or all that a leg
// tells of the channel (its socket is empty then).
type view struct {
	socket   protocol.SocketID
	from, to int64 // when it was there; to is 0 while it is
	arrivals []arrival
}

// newWindow returns a channel's window for an app as configured now.
func newWindow(topic protocol.ChannelName, app *proxy.App, patterns *names) *window {
	w := &window{topic: topic, typ: typeOf(topic)}
	w.pattern = patterns.text(patterns.number(learnPattern(topic)))
	w.configure(app)
	return w
}

// configure sets the legs that the app's configuration gives the channel, and
// keeps what is open on those that stay.
func (w *window) configure(app *proxy.App) {
	if w.app == app {
		return
	}
	w.app = app
	names := legsOf(app, w.topic)
	if slices.EqualFunc(names, w.legs, func(name proxy.Leg, l leg) bool { return name == l.name }) {
		return
	}
	kept := w.legs
	w.legs = make([]leg, len(names))
	for k, name := range names {
		w.legs[k].name = name
		for i := range kept {
			if kept[i].name == name {
				w.legs[k] = kept[i]
			}
		}
	}
	// Answers are by position: those of legs that moved are asked for again
	// from nobody, so the events they belong to are compared by arrival only.
	for i := range w.events {
		w.events[i].answers, w.events[i].handed = [maxLegs]uint32{}, [maxLegs]uint32{}
	}
	w.answers, w.cells, w.charges = nil, nil, nil
}

// legsOf returns the legs to compare on a channel, the reference first. Of
// backends that is who shadows: what a mirror delivers is not observed, and a
// bridge is not shown its own.
func legsOf(app *proxy.App, topic protocol.ChannelName) []proxy.Leg {
	stage := stageOf(app, topic)
	legs := []proxy.Leg{proxy.LegEngine}
	if app.Upstream != nil && stage.Relayed() {
		legs = []proxy.Leg{proxy.LegVendor}
		if stage != proxy.StageObserve {
			legs = append(legs, proxy.LegEngine)
		}
	}
	for _, b := range app.Backends {
		if len(legs) < maxLegs && b.Role != proxy.RoleMirror && b.Role != proxy.RoleBridge && b.Takes(topic) {
			legs = append(legs, proxy.Leg(b.Name))
		}
	}
	return legs
}

// stageOf returns the stage of a channel.
func stageOf(app *proxy.App, topic protocol.ChannelName) proxy.Stage {
	for _, r := range app.Rules {
		if r.Matches(topic) {
			return r.Stage
		}
	}
	return app.Stage
}

func (w *window) leg(name proxy.Leg) int {
	for i := range w.legs {
		if w.legs[i].name == name {
			return i
		}
	}
	return none
}

// view returns the leg's view of a socket, and makes one while fewer than
// limit are open. It returns nil when there are enough.
func (l *leg) view(socket protocol.SocketID, at int64, limit int) *view {
	open := 0
	for _, v := range l.views {
		if v.socket == socket && v.to == 0 {
			return v
		}
		if v.to == 0 {
			open++
		}
	}
	if socket != "" && open >= limit {
		return nil
	}
	v := &view{socket: socket, from: at}
	l.views = append(l.views, v)
	return v
}

// idle reports whether nothing is open or watched on the channel.
func (w *window) idle() bool {
	if len(w.events) > 0 || len(w.recent) > 0 || len(w.answers) > 0 || len(w.charges) > 0 {
		return false
	}
	for i := range w.legs {
		if w.legs[i].occupied.now() > 0 || len(w.legs[i].members.users) > 0 {
			return false
		}
		for _, v := range w.legs[i].views {
			if len(v.arrivals) > 0 || (v.socket != "" && v.to == 0) {
				return false
			}
		}
	}
	return true
}

// occupancy is how many subscribers a leg had over time, as far as it
// matters: none, one, or several.
type occupancy struct {
	count   int
	changes []change
}

type change struct {
	at    int64
	level int // 0, 1 or 2
}

// maxChanges bounds the changes remembered; the oldest go first.
const maxChanges = 1024

func (o *occupancy) set(at int64, count int) {
	o.count = max(0, count)
	level := min(o.count, 2)
	if n := len(o.changes); n > 0 && o.changes[n-1].level == level {
		return
	}
	o.changes = append(o.changes, change{at: at, level: level})
	if len(o.changes) > maxChanges {
		o.changes = append(o.changes[:0], o.changes[maxChanges/2:]...)
	}
}

func (o *occupancy) now() int { return o.count }

// during returns the lowest and highest level within a span; both are 0 when
// nothing is known of it.
func (o *occupancy) during(s span) (low, high int) {
	low = 0
	for i, c := range o.changes {
		if c.at > s.to {
			if i == 0 {
				return 0, 0
			}
			break
		}
		if c.at <= s.from {
			low, high = c.level, c.level
			continue
		}
		low, high = min(low, c.level), max(high, c.level)
	}
	return low, high
}

// forget drops changes that were over before a time.
func (o *occupancy) forget(before int64) {
	first := 0
	for first+1 < len(o.changes) && o.changes[first+1].at <= before {
		first++
	}
	o.changes = o.changes[first:]
}

// internal reports whether an event is the protocol's own: a relayed socket
// shows those too, and they are not anybody's publish.
func internal(name string) bool {
	return strings.HasPrefix(name, "pusher:") || strings.HasPrefix(name, "pusher_internal:")
}
