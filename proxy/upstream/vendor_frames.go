package upstream

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// serverFrame is one frame from a server. Its slices share the memory of the
// text that it was read from.
type serverFrame struct {
	event   string
	channel protocol.ChannelName
	data    []byte // raw JSON value; nil when absent
	userID  string
}

// readServerFrame reads a frame from a server, ours or the vendor's.
func readServerFrame(text []byte) (f serverFrame, ok bool) {
	if !protocol.ValidJSON(text) {
		return f, false
	}
	for key, value := range protocol.Fields(text) {
		switch string(key) {
		case "event":
			f.event = textOf(value)
		case "channel":
			f.channel = protocol.ChannelName(textOf(value))
		case "data":
			f.data = value
		case "user_id":
			f.userID = textOf(value)
		}
	}
	return f, f.event != ""
}

// textOf returns the text of a JSON string, and nothing for other values.
func textOf(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return string(protocol.AppendText(nil, value))
}

// content returns what the data is: the text of a string, or the JSON text.
func (f serverFrame) content() []byte { return contentOf(f.data) }

func contentOf(data []byte) []byte {
	if len(data) > 0 && data[0] == '"' {
		return protocol.AppendText(make([]byte, 0, len(data)), data)
	}
	return data
}

// internal reports whether the frame is the protocol's own.
func (f serverFrame) internal() bool {
	return strings.HasPrefix(f.event, "pusher:") || strings.HasPrefix(f.event, "pusher_internal:")
}

// delivered returns the event that the frame brings.
func (f serverFrame) delivered(app string) *proxy.Event {
	ev := &proxy.Event{Topic: proxy.Topic{App: app, Channel: f.channel}, Name: f.event, Data: f.content(), UserID: f.userID}
	if strings.HasPrefix(f.event, protocol.ClientEventPrefix) {
		ev.Publisher = proxy.ByClient
	}
	return ev
}

// seeVendor looks at what the vendor said.
func (w *watcher) seeVendor(n note) {
	f, ok := readServerFrame(n.text)
	if !ok {
		return
	}
	switch f.event {
	case "pusher:connection_established":
		w.socket = protocol.SocketID(gjson.GetBytes(f.content(), "socket_id").String())
		w.offer(proxy.Record{Kind: proxy.KindConnected, At: n.at, Client: w.info})
	case "pusher_internal:subscription_succeeded":
		w.succeeded(n, f)
	case "pusher:subscription_error", "pusher_internal:subscription_error":
		w.refused(n, f.channel, 0, string(f.content()))
	case "pusher:error":
		e := gjson.ParseBytes(f.content())
		w.failed(n, int(e.Get("code").Int()), e.Get("message").String())
	case "pusher:signin_success":
		w.signedIn()
	case "pusher_internal:member_added":
		w.member(n, f, proxy.KindMemberAdded, w.relay.rooms.arrive)
	case "pusher_internal:member_removed":
		w.member(n, f, proxy.KindMemberRemoved, w.relay.rooms.depart)
	case "pusher_internal:subscription_count":
		count := int(gjson.GetBytes(f.content(), "subscription_count").Int())
		w.offer(proxy.Record{Kind: proxy.KindSubscriptionCount, At: n.at, Topic: w.topic(f.channel), Count: count})
	case "pusher:cache_miss":
		w.offer(proxy.Record{Kind: proxy.KindCacheMiss, At: n.at, Topic: w.topic(f.channel)})
	default:
		if f.channel != "" && !f.internal() {
			ev := f.delivered(w.app.ID)
			ev.At = n.at
			w.offer(proxy.Record{Kind: proxy.KindDelivered, At: n.at, Topic: ev.Topic, Event: ev, UserID: f.userID, Count: 1})
		}
	}
	for _, r := range w.structures.see(n.text, f) {
		r.At, r.Client = n.at, w.info
		w.offer(r)
	}
}

// answered takes a subscription out of those that wait for the vendor.
func (w *watcher) answered(channel protocol.ChannelName) (protocol.Subscribe, bool) {
	i := slices.IndexFunc(w.asked, func(s protocol.Subscribe) bool { return s.Channel == channel })
	if i < 0 {
		return protocol.Subscribe{Channel: channel}, false
	}
	sub := w.asked[i]
	w.asked = slices.Delete(w.asked, i, i+1)
	return sub, true
}

// succeeded notes that the vendor subscribed the client.
func (w *watcher) succeeded(n note, f serverFrame) {
	sub, _ := w.answered(f.channel)
	if _, again := w.joined[f.channel]; again {
		return
	}
	w.joined[f.channel] = sub
	if f.channel.NeedsAuth() {
		w.offer(proxy.Record{Kind: proxy.KindAllowed, At: n.at, Topic: w.topic(f.channel), Action: "subscribe"})
	}
	self := w.userID(sub)
	count, arrived := w.relay.rooms.join(w.topic(f.channel), self, memberIDs(f))
	w.offer(proxy.Record{Kind: proxy.KindSubscribed, At: n.at, Topic: w.topic(f.channel), UserID: self, Count: count})
	for _, id := range arrived {
		w.offer(proxy.Record{Kind: proxy.KindMemberAdded, At: n.at, Topic: w.topic(f.channel), UserID: id})
	}
	if w.relay.position(w.current()).Shadowed(f.channel) {
		w.doubled(sub)
	}
}

// memberIDs returns the users that a presence channel's confirmation lists.
func memberIDs(f serverFrame) []string {
	if f.channel.Kind() != protocol.Presence {
		return nil
	}
	var ids []string
	gjson.GetBytes(f.content(), "presence.ids").ForEach(func(_, id gjson.Result) bool {
		ids = append(ids, id.String())
		return true
	})
	return ids
}

// member notes a join or leave that no other client was told of before.
func (w *watcher) member(n note, f serverFrame, kind proxy.Kind, news func(proxy.Topic, string) bool) {
	id := gjson.GetBytes(f.content(), "user_id").String()
	if id != "" && news(w.topic(f.channel), id) {
		w.offer(proxy.Record{Kind: kind, At: n.at, Topic: w.topic(f.channel), UserID: id})
	}
}

// failed finds the command that an error answers: the vendor names none. A
// text that holds the channel of an open subscription is about that; one
// about client events is about the oldest; any other about the command that
// waits longest.
func (w *watcher) failed(n note, code int, text string) {
	for _, sub := range w.asked {
		if strings.Contains(text, string(sub.Channel)) {
			w.refused(n, sub.Channel, code, text)
			return
		}
	}
	switch {
	case len(w.sent) > 0 && (code == protocol.CodeClientEventRate || strings.Contains(strings.ToLower(text), "client event") || len(w.asked) == 0):
		sent := w.sent[0]
		w.sent = slices.Delete(w.sent, 0, 1)
		w.offer(proxy.Record{
			Kind: proxy.KindRefused, At: n.at, Topic: w.topic(protocol.ChannelName(sent.frame.Channel)), Code: code, Text: text, Action: "client event",
		})
	case len(w.asked) > 0:
		w.refused(n, w.asked[0].Channel, code, text)
	default:
		w.signin = nil
		w.offer(proxy.Record{Kind: proxy.KindRefused, At: n.at, Code: code, Text: text})
	}
}

func (w *watcher) refused(n note, channel protocol.ChannelName, code int, text string) {
	w.answered(channel)
	w.offer(proxy.Record{Kind: proxy.KindRefused, At: n.at, Topic: w.topic(channel), Code: code, Text: text, Action: "subscribe"})
}

// signedIn signs the double in as well, or makes one that is.
func (w *watcher) signedIn() {
	in := w.signin
	w.signin = nil
	w.offer(proxy.Record{Kind: proxy.KindAllowed, Action: "signin"})
	if in != nil {
		w.user = in.UserData
		if w.double != nil {
			w.double.signin(w.user)
		}
	}
}
