package upstream

import (
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
)

// seeClient looks at what the client said. What it means is up to the
// vendor's answer.
func (w *watcher) seeClient(n note) {
	f, err := protocol.Decode(n.text)
	if err != nil {
		return
	}
	switch {
	case f.Event == protocol.EventSubscribe:
		if sub, err := protocol.DecodeSubscribe(f.Data); err == nil && len(w.asked) < maxUnanswered {
			w.asked = append(w.asked, sub)
			w.judge(sub)
		}
	case f.Event == protocol.EventUnsubscribe:
		if sub, err := protocol.DecodeSubscribe(f.Data); err == nil {
			w.left(sub.Channel)
		}
	case f.Event == protocol.EventSignin:
		if in, err := protocol.DecodeSignin(f.Data); err == nil {
			w.signin = &in
		}
	case f.IsClientEvent() && len(w.sent) < maxUnanswered:
		w.sent = append(w.sent, clientEvent{n.at, f, n.text})
		if len(w.sent) == 1 {
			w.accepts.Reset(acceptedAfter)
		}
	}
}

// judge compares our own verdict on a signature with the vendor's to come.
func (w *watcher) judge(sub protocol.Subscribe) {
	if !sub.Channel.NeedsAuth() {
		return
	}
	r := proxy.Record{Kind: proxy.KindAllowed, Leg: proxy.LegEngine, Topic: w.topic(sub.Channel), Action: "subscribe"}
	if err := engine.VerifySubscribe(w.current(), w.socket, sub); err != nil {
		r.Kind, r.Code, r.Text = proxy.KindRefused, err.Code, err.Message
	}
	w.offer(r)
}

// accept takes client events for accepted that the vendor has not refused in
// time.
func (w *watcher) accept(now time.Time) {
	for len(w.sent) > 0 && now.Sub(w.sent[0].at) >= acceptedAfter {
		sent := w.sent[0]
		w.sent = slices.Delete(w.sent, 0, 1)
		w.published(sent)
	}
	if len(w.sent) > 0 {
		w.accepts.Reset(acceptedAfter - now.Sub(w.sent[0].at))
	}
}

func (w *watcher) published(sent clientEvent) {
	channel := protocol.ChannelName(sent.frame.Channel)
	sub, on := w.joined[channel]
	if !on || len(sent.frame.Data) == 0 {
		return
	}
	w.offer(proxy.Record{Kind: proxy.KindPublished, Topic: w.topic(channel), UserID: w.userID(sub), Event: &proxy.Event{
		ID: w.relay.nextID(), Topic: w.topic(channel), Name: sent.frame.Event, Data: contentOf(sent.frame.Data), UserID: w.userID(sub),
		Socket: w.socket, Publisher: proxy.ByClient, Origin: proxy.LegVendor, At: sent.at,
	}})
	if w.double != nil {
		w.double.say(channel, sent.text)
	}
}
