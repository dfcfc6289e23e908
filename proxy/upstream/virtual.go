package upstream

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// virtual is a relayed client's double in the engine: on the channels that
// the vendor has subscribed the client to, it gets what the engine would have
// sent. Nothing of that leaves the process.
type virtual struct {
	// Set at construction.
	relay  *Relay
	app    *proxy.App
	socket protocol.SocketID // the vendor's
	conn   *engine.Conn

	// Owned by the watcher.
	on map[protocol.ChannelName]bool

	mu        sync.Mutex
	confirmed map[protocol.ChannelName]bool // by the engine; guarded by mu

	client     *proxy.Client
	structures structures // of the engine's frames; guarded by mu
}

var _ engine.Outlet = (*virtual)(nil)

// doubled puts the client's double on a channel, and makes the double first.
func (w *watcher) doubled(sub protocol.Subscribe) {
	if w.relay.settings.Shadow == nil || w.socket == "" {
		return
	}
	if w.double == nil {
		w.double = w.relay.newVirtual(w.current(), w.socket, *w.info)
		if w.double == nil {
			return
		}
		if w.user != "" {
			w.double.signin(w.user)
		}
	}
	w.double.join(sub)
}

func (w *watcher) undouble() {
	if w.double != nil {
		w.double.end(w.code, w.reason)
		w.double = nil
	}
}

func (r *Relay) newVirtual(app *proxy.App, socket protocol.SocketID, info proxy.Client) *virtual {
	v := &virtual{
		relay: r, app: app, socket: socket, client: &info,
		on: make(map[protocol.ChannelName]bool), confirmed: make(map[protocol.ChannelName]bool),
	}
	conn, refused := r.settings.Shadow.Connect(app, info, v)
	if refused != nil {
		r.offer(proxy.Record{
			Kind: proxy.KindRefused, At: time.Now(), Leg: proxy.LegEngine, Topic: proxy.Topic{App: app.ID}, Socket: socket,
			Code: refused.Code, Text: refused.Message, Action: "connect",
		})
		return nil
	}
	v.conn = conn
	r.mu.Lock()
	r.sockets[socket] = v
	r.mu.Unlock()
	return v
}

// engineID returns the engine's id for a relayed client; a foreign id stays as
// it is, and is nobody's.
func (r *Relay) engineID(id protocol.SocketID) protocol.SocketID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.sockets[id]; v != nil {
		return v.conn.SocketID()
	}
	return id
}

// join subscribes the double, with a signature for its own id.
func (v *virtual) join(sub protocol.Subscribe) {
	if v.on[sub.Channel] {
		return
	}
	v.on[sub.Channel] = true
	v.conn.Handle(subscribeFrame(v.app, v.conn.SocketID(), sub))
}

// signin signs the double in as the client's user.
func (v *virtual) signin(userData string) {
	v.conn.Handle(signinFrame(v.app, v.conn.SocketID(), userData))
}

// say sends a client event that the vendor accepted.
func (v *virtual) say(channel protocol.ChannelName, frame []byte) {
	if v.on[channel] {
		v.conn.Handle(frame)
	}
}

func (v *virtual) leave(channel protocol.ChannelName) {
	if !v.on[channel] {
		return
	}
	delete(v.on, channel)
	v.conn.Handle(unsubscribeFrame(channel))
	v.left(channel)
}

func (v *virtual) left(channel protocol.ChannelName) {
	if !v.confirm(channel, false) {
		return // the engine had refused it
	}
	topic := proxy.Topic{App: v.app.ID, Channel: channel}
	v.offer(proxy.Record{Kind: proxy.KindUnsubscribed, Topic: topic, Count: v.relay.rooms.double(topic, -1)})
}

// confirm notes whether the engine has the double on a channel, and returns
// what was noted before.
func (v *virtual) confirm(channel protocol.ChannelName, on bool) (before bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before = v.confirmed[channel]
	if on {
		v.confirmed[channel] = true
	} else {
		delete(v.confirmed, channel)
	}
	return before
}

// end takes the double out of the engine.
func (v *virtual) end(code int, reason string) {
	v.relay.mu.Lock()
	delete(v.relay.sockets, v.socket)
	v.relay.mu.Unlock()
	v.conn.Close(code, reason)
	channels := make([]protocol.ChannelName, 0, len(v.on))
	for channel := range v.on {
		channels = append(channels, channel)
	}
	slices.Sort(channels)
	for _, channel := range channels {
		v.left(channel)
	}
}

// Send implements fanout.Outlet: what the engine would have sent.
func (v *virtual) Send(b *fanout.Batch, from int) bool {
	now := time.Now()
	for i := from; i < b.Len(); i++ {
		v.see(b.Payload(i), now)
	}
	return true
}

func (v *virtual) see(text []byte, now time.Time) {
	f, ok := readServerFrame(text)
	if ok {
		for _, r := range v.sample(text, f) {
			r.At, r.Client = now, v.client
			v.offer(r)
		}
	}
	switch {
	case !ok:
	case f.event == "pusher_internal:subscription_succeeded":
		topic := proxy.Topic{App: v.app.ID, Channel: f.channel}
		v.confirm(f.channel, true)
		v.offer(proxy.Record{Kind: proxy.KindSubscribed, At: now, Topic: topic, Count: v.relay.rooms.double(topic, 1)})
	case f.event == "pusher:error":
		v.offer(proxy.Record{Kind: proxy.KindRefused, At: now, Text: string(f.content()), Action: "subscribe"})
	case f.internal():
	default:
		ev := f.delivered(v.app.ID)
		ev.At = now
		v.offer(proxy.Record{Kind: proxy.KindDelivered, At: now, Topic: ev.Topic, Event: ev, UserID: f.userID, Count: 1})
	}
}

func (v *virtual) sample(text []byte, f serverFrame) []proxy.Record {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.structures.see(text, f)
}

func (v *virtual) offer(r proxy.Record) {
	if r.At.IsZero() {
		r.At = time.Now()
	}
	r.Leg, r.Socket, r.Topic.App = proxy.LegEngine, v.socket, v.app.ID
	v.relay.offer(r)
}

// Close implements engine.Outlet. The engine may refuse the double what the
// vendor grants the client, who is not told.
func (v *virtual) Close(code int, reason string) {
	v.offer(proxy.Record{Kind: proxy.KindRefused, Code: code, Text: strings.TrimSpace(reason), Action: "stay connected"})
}
