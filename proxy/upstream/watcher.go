package upstream

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// side is who said something.
type side uint8

const (
	fromClient side = iota
	fromVendor
)

// note is one text message that passed.
type note struct {
	from side
	at   time.Time
	text []byte
}

// queuedNotes is how many messages of one client may wait to be looked at.
const queuedNotes = 256

// acceptedAfter is how long the vendor has for an error before a client event
// counts as accepted: it answers good ones with nothing.
const acceptedAfter = 200 * time.Millisecond

// maxUnanswered bounds the commands of one client that are remembered until
// the vendor answers.
const maxUnanswered = 256

// watcher understands what one relayed client and the vendor say, and tells
// the others that watch. It only ever reads copies.
type watcher struct {
	relay *Relay
	app   *proxy.App
	info  *proxy.Client
	notes chan note
	lost  atomic.Int64 // when a message was first passed over, Unix nanoseconds; 0: none was

	// Set before done is closed.
	code   int
	reason string

	// Owned by run.
	socket  protocol.SocketID // the vendor's; empty: not connected yet
	asked   []protocol.Subscribe
	joined  map[protocol.ChannelName]protocol.Subscribe
	sent    []clientEvent
	signin  *protocol.Signin // not answered yet
	user    string           // user_data of the accepted sign-in
	double  *virtual         // nil: none
	accepts *time.Timer      // for the first of sent

	structures structures // of the vendor's frames
}

// clientEvent is an event from the client that the vendor may still refuse.
type clientEvent struct {
	at    time.Time
	frame protocol.Frame
	text  []byte
}

func newWatcher(r *Relay, app *proxy.App, info *proxy.Client) *watcher {
	timer := time.NewTimer(0)
	timer.Stop()
	return &watcher{
		relay: r, app: app, info: info, notes: make(chan note, queuedNotes),
		joined: make(map[protocol.ChannelName]protocol.Subscribe), accepts: timer,
	}
}

// note queues a message; when too many wait it is passed over, which becomes
// a gap in the evidence.
func (w *watcher) note(from side, text []byte) {
	select {
	case w.notes <- note{from, time.Now(), text}:
	default:
		w.lost.CompareAndSwap(0, time.Now().UnixNano())
		w.relay.metrics.lost.WithLabelValues(w.app.ID).Inc()
	}
}

// run looks at messages until done is closed and all have been seen.
func (w *watcher) run(done <-chan struct{}) {
	defer w.end()
	changed := w.relay.changed()
	for {
		select {
		case n := <-w.notes:
			w.see(n)
		case <-w.accepts.C:
			w.accept(time.Now())
		case <-changed:
			changed = w.relay.changed()
			w.follow()
		case <-done:
			for len(w.notes) > 0 {
				w.see(<-w.notes)
			}
			return
		}
	}
}

func (w *watcher) see(n note) {
	if n.from == fromClient {
		w.seeClient(n)
	} else {
		w.seeVendor(n)
	}
	if since := w.lost.Swap(0); since != 0 {
		for channel := range w.joined {
			w.offer(proxy.Record{
				Kind: proxy.KindGap, From: time.Unix(0, since), Topic: w.topic(channel),
				Text: "relayed frames came faster than they could be looked at",
			})
		}
	}
}

func (w *watcher) topic(c protocol.ChannelName) proxy.Topic {
	return proxy.Topic{App: w.app.ID, Channel: c}
}

// offer shows a record of the vendor's, now unless it says when.
func (w *watcher) offer(r proxy.Record) {
	if r.At.IsZero() {
		r.At = time.Now()
	}
	if r.Leg == "" {
		r.Leg = proxy.LegVendor
	}
	if r.Topic.App == "" {
		r.Topic.App = w.app.ID
	}
	r.Socket = w.socket
	w.relay.offer(r)
}

// current returns the app as it is configured now.
func (w *watcher) current() *proxy.App {
	if app, ok := w.relay.settings.Apps.ByID(w.app.ID); ok {
		return app
	}
	return w.app
}

// end takes the client out of everything.
func (w *watcher) end() {
	w.accepts.Stop()
	w.accept(time.Now().Add(acceptedAfter))
	for _, channel := range sorted(w.joined) {
		w.left(channel)
	}
	w.undouble()
	if w.socket != "" {
		w.offer(proxy.Record{Kind: proxy.KindDisconnected, Client: w.info, Code: w.code, Text: w.reason})
	}
}

// left notes that the client is no longer on a channel.
func (w *watcher) left(channel protocol.ChannelName) {
	sub, ok := w.joined[channel]
	if !ok {
		return
	}
	delete(w.joined, channel)
	w.offer(proxy.Record{
		Kind: proxy.KindUnsubscribed, Topic: w.topic(channel), UserID: w.userID(sub), Count: w.relay.rooms.leave(w.topic(channel)),
	})
	if w.double != nil {
		w.double.leave(channel)
	}
}

// userID returns who a subscription makes of the client on its channel.
func (w *watcher) userID(sub protocol.Subscribe) string {
	if sub.Channel.Kind() != protocol.Presence || sub.ChannelData == nil {
		return ""
	}
	m, err := protocol.DecodeMember(sub.Channel, *sub.ChannelData, len(*sub.ChannelData))
	if err != nil {
		return ""
	}
	return m.UserID
}

// follow does what the stage of the client's channels asks for now.
func (w *watcher) follow() {
	position := w.relay.position(w.current())
	for _, channel := range sorted(w.joined) {
		switch shadowed := position.Shadowed(channel); {
		case shadowed:
			w.doubled(w.joined[channel])
		case w.double != nil:
			w.double.leave(channel)
		}
	}
}

func sorted(m map[protocol.ChannelName]protocol.Subscribe) []protocol.ChannelName {
	names := make([]protocol.ChannelName, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
