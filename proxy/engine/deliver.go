package engine

import (
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// deliver takes an event from the broker to the channel's subscribers here.
// Events of one topic come one after the other, so their records are in the
// order in which subscribers see them.
func (e *Engine) deliver(ev *proxy.Event) {
	t := e.tenant(ev.Topic.App)
	if ev.Publisher == proxy.ByEngine {
		e.deliverNews(t, ev)
		return
	}
	if ev.ID.Node == e.node && e.wants(proxy.KindPublished) {
		e.offer(proxy.Record{
			Kind: proxy.KindPublished, Topic: ev.Topic, Event: ev, Socket: ev.Socket, UserID: ev.UserID,
		})
	}
	ch := t.find(ev.Topic.Channel)
	switch {
	case ch == nil:
	case ev.Keeps():
		e.deliverKept(ch, ev)
	default:
		e.fanOut(ch, ev)
	}
}

// frames lends the memory in which an event's frame is encoded: the group
// copies it at once.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled is the largest buffer that goes back to the pool.
const maxPooled = 64 << 10

// fanOut encodes the event once and queues it for the channel's subscribers.
func (e *Engine) fanOut(ch *channel, ev *proxy.Event) {
	buf := frames.Get().(*[]byte)
	frame := protocol.AppendEvent((*buf)[:0], ch.name, ev.Name, ev.Data, ev.UserID)
	var mark any
	if e.wants(proxy.KindDelivered) {
		mark = ev
	}
	receivers := ch.group.Append(e.flusher, frame, e.excepted(ch, ev.Except), mark)
	ch.tenant.deliveries.Add(uint64(receivers))
	if cap(frame) <= maxPooled {
		*buf = frame
		frames.Put(buf)
	}
}

// excepted returns the membership of a socket that is to be skipped, or nil
// if it is not on the channel here.
func (e *Engine) excepted(ch *channel, id protocol.SocketID) *fanout.Member {
	if id == "" {
		return nil
	}
	c := e.conns.get(id)
	if c == nil || c.tenant != ch.tenant {
		return nil
	}
	if sub := c.subscription(ch.name); sub != nil {
		return &sub.member
	}
	return nil
}

// delivered records that an event has been handed to a channel's subscribers.
// The flusher calls it.
func (e *Engine) delivered(mark any, receivers int, at time.Time) {
	ev, ok := mark.(*proxy.Event)
	if !ok {
		return
	}
	e.tap.Offer(proxy.Record{
		Kind: proxy.KindDelivered, At: at, Leg: proxy.LegEngine, Topic: ev.Topic, Event: ev, Count: receivers,
	})
}

// deliverNews acts on news from an engine, perhaps this one.
func (e *Engine) deliverNews(t *tenant, ev *proxy.Event) {
	ch := t.find(ev.Topic.Channel)
	switch {
	case ch == nil:
	case ev.Name == newsCount:
		e.deliverCount(ch, ev)
	case ev.Name == newsLook && ev.ID.Node != e.node:
		e.repairs.add(ev.Topic, false)
	}
	if ch == nil || ch.rare == nil {
		return
	}
	switch ev.Name {
	case newsMemberAdded, newsMemberRemoved:
		e.deliverMember(ch, ev)
	case newsOnline:
		e.deliverStanding(ch, ev.UserID, true)
	case newsOffline:
		e.deliverStanding(ch, ev.UserID, false)
	case newsTerminate:
		ch.terminate()
	}
}
