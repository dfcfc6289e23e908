package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

// Bounds of a bridge. What does not fit is counted and a gap.
const (
	queuedEvents = maxEntries             // as many as are kept on disk
	maxBatch     = 10                     // events of one call (vendor documentation: "Channels HTTP API")
	firstPause   = 100 * time.Millisecond // before a call is made again
	longestPause = 5 * time.Second
	lastCalls    = 5 * time.Second // for what is left when a bridge is closed
	lookEvery    = 5 * time.Second // whether an app still needs its bridge
	lookSoon     = 100 * time.Millisecond
)

// bridge joins the two populations of one app: what is published here goes to
// the vendor as well, and what happens at the vendor on channels that have
// subscribers here comes to the engine, through a tap (tap.go).
//
// Nothing returns to where it came from: events from the tap have their
// origin with them and are not fed to the bridge, and the vendor is asked to
// leave the tap's socket out of what it is sent. Where a call has to leave
// out another socket, the tap expects the echo (echoes.go).
type bridge struct {
	// Set at construction.
	relay *Relay
	id    string
	stop  func()

	left   []*proxy.Event    // by an earlier process, for the vendor's API
	events chan *proxy.Event // for the vendor's API
	tap    *tap              // on all channels but presence
	people *people           // on presence channels
	asked  chan struct{}     // by another gateway, where this one leads to

	circles *circles

	// Owned by the Relay's bridge: where the app is, and was until turned.
	now, before *route.Position
	turned      time.Time

	mu     sync.Mutex
	echoes echoes
}

// bridge runs the bridges of the apps that need one.
func (r *Relay) bridge(ctx context.Context) {
	if r.settings.Feed == nil {
		return
	}
	bridges := make(map[string]*bridge)
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		changed := r.changed()
		for range len(r.settings.Feed.records) { // of before the move
			r.hand(ctx, bridges, &running, <-r.settings.Feed.records)
		}
		r.adjust(ctx, bridges, &running)
		for again := false; !again; {
			select {
			case rec := <-r.settings.Feed.records:
				r.hand(ctx, bridges, &running, rec)
				if rec.Kind == proxy.KindPublished && len(r.settings.Feed.records) == 0 {
					r.settings.Feed.flush(rec.Topic.App) // of a publisher that did not
				}
			case <-changed:
				again = true
			case <-look.C:
				again = true
			case <-r.looking:
				again = true
			case <-ctx.Done():
				for len(r.settings.Feed.records) > 0 {
					r.hand(ctx, bridges, &running, <-r.settings.Feed.records)
				}
				return
			}
		}
	}
}

// hand gives a record to its app's bridge. An event of the first moment after a
// move may be here before its bridge is.
func (r *Relay) hand(ctx context.Context, bridges map[string]*bridge, running *sync.WaitGroup, rec proxy.Record) {
	if bridges[rec.Topic.App] == nil {
		if app, ok := r.settings.Apps.ByID(rec.Topic.App); ok && r.bridged(app) && ctx.Err() == nil {
			r.adjust(ctx, bridges, running)
		}
	}
	b := bridges[rec.Topic.App]
	if b == nil || !b.take(rec) {
		r.settings.Feed.settle(rec)
	}
}

// adjust starts and stops bridges. One outlasts its stage until the engine's
// last client has gone over to the vendor, and the last event as well: also
// those of calls that were under way when the app was moved.
func (r *Relay) adjust(ctx context.Context, bridges map[string]*bridge, running *sync.WaitGroup) {
	needed := make(map[string]bool)
	for _, app := range r.settings.Apps.All() {
		left := r.settings.Feed.unsettled(app.ID) > 0 || r.settings.Engine.Stats(app.ID).Connections > 0
		moving := r.settings.Feed.outdated(app.ID) && bridges[app.ID] != nil
		if !r.bridged(app) && (!left || !r.takes(app)) && !moving || r.stopped(app.ID) {
			continue
		}
		needed[app.ID] = true
		if moving {
			time.AfterFunc(lookSoon, r.look)
		}
		r.settings.Feed.of(app.ID).bridged.Store(true)
		if bridges[app.ID] == nil {
			b := r.newBridge(app.ID)
			bridged, stop := context.WithCancelCause(ctx)
			b.stop = func() { stop(errNotNeeded) }
			running.Go(func() { b.run(bridged) })
			bridges[app.ID] = b
			r.bridges.Store(app.ID, b)
			r.opened()
		}
	}
	for id, b := range bridges {
		if !needed[id] {
			b.stop()
			r.settings.Feed.of(id).bridged.Store(false)
			delete(bridges, id)
			r.parted(id)
			r.bridges.Delete(id)
		}
	}
}

// look has the bridges looked at again.
func (r *Relay) look() {
	select {
	case r.looking <- struct{}{}:
	default: // it is about to happen
	}
}

func (r *Relay) newBridge(app string) *bridge {
	b := &bridge{relay: r, id: app, events: make(chan *proxy.Event, queuedEvents), asked: make(chan struct{}, 1)}
	b.tap, b.people = newTap(r, app, b.arrived), newPeople(b)
	b.circles = newCircles(b.cross, b.giveUp, func(channel protocol.ChannelName, why string) { r.trip(app, channel, why) })
	b.takeUp(time.Now())
	return b
}

func (b *bridge) run(ctx context.Context) {
	b.relay.settings.Log.Info().Str("app", b.id).Msg("bridge to the upstream opened")
	defer b.relay.settings.Log.Info().Str("app", b.id).Msg("bridge to the upstream closed")
	// Channels that were occupied before the bridge was there.
	states, err := b.relay.settings.Engine.Channels(ctx, b.id, "")
	if err != nil {
		b.relay.settings.Log.Error().Err(err).Str("app", b.id).Msg("occupied channels are not known: not tapped until they are occupied anew")
	}
	for _, s := range states {
		b.want(s.Name, true)
	}
	var parts sync.WaitGroup
	sending, nothingHeld := context.WithCancelCause(context.WithoutCancel(ctx))
	parts.Go(func() {
		b.circles.run(ctx)
		nothingHeld(context.Cause(ctx))
	})
	parts.Go(func() { b.explore(ctx) })
	parts.Go(func() { b.send(sending) })
	parts.Go(func() { b.tap.run(ctx) })
	parts.Go(func() { b.people.run(ctx) })
	parts.Wait()
}

// want notes whether a channel has subscribers here. Who is on a presence
// channel is the business of people; and to be told what a single user is,
// the tap would have to be that user.
func (b *bridge) want(channel protocol.ChannelName, wanted bool) {
	switch k := channel.Kind(); {
	case k == protocol.Presence, k == protocol.ServerToUser:
	case wanted && b.shared(channel):
		b.tap.want(channel, nil)
	default:
		b.tap.leave(channel)
	}
}

// app returns the app as it is configured now; ok is false when it is gone.
func (b *bridge) app() (app *proxy.App, ok bool) {
	app, ok = b.relay.settings.Apps.ByID(b.id)
	return app, ok && app.Upstream != nil
}

// take takes in what the engine did, and reports whether an event is on its
// way to the vendor. It never waits.
func (b *bridge) take(rec proxy.Record) bool {
	switch rec.Kind {
	case proxy.KindPublished:
		return rec.Event != nil && b.publish(rec.Event)
	case proxy.KindOccupied, proxy.KindVacated:
		b.want(rec.Topic.Channel, rec.Kind == proxy.KindOccupied)
	case proxy.KindSubscribed, proxy.KindUnsubscribed:
		if rec.Topic.Channel.Kind() == protocol.Presence && (rec.Kind == proxy.KindUnsubscribed || b.shared(rec.Topic.Channel)) {
			b.people.take(rec)
		}
	}
	return false
}

// shared reports whether the vendor may still have clients or publishers of a
// channel.
func (b *bridge) shared(channel protocol.ChannelName) bool {
	app, ok := b.app()
	return ok && b.relay.position(app).Rule(channel).Stage != proxy.StageExited
}

// sharedAt reports whether the vendor had clients of a channel when an event
// was accepted, or has them now. Owned by the Relay's bridge.
func (b *bridge) sharedAt(channel protocol.ChannelName, at time.Time) bool {
	app, ok := b.app()
	if !ok {
		return false
	}
	if now := b.relay.position(app); now != b.now {
		b.before, b.now, b.turned = b.now, now, time.Now()
	}
	return b.now.Rule(channel).Stage != proxy.StageExited ||
		b.before != nil && at.Before(b.turned) && b.before.Rule(channel).Stage != proxy.StageExited
}

// publish queues an event for the vendor.
func (b *bridge) publish(ev *proxy.Event) bool {
	if !b.sharedAt(ev.Topic.Channel, ev.At) {
		return false
	}
	if b.barred(ev.Topic.Channel) {
		b.relay.lose(ev, "not brought to the upstream: it goes in a circle")
		return false
	}
	x := crossing{way: up, channel: ev.Topic.Channel, name: ev.Name, data: ev.Data, event: ev}
	return b.circles.holds(x, time.Now()) || b.enqueue(ev)
}

// cross brings an event over that was held.
func (b *bridge) cross(ctx context.Context, x crossing) {
	if x.way == down {
		b.bring(ctx, x)
	} else if !b.enqueue(x.event) {
		b.settle(x.event)
	}
}

// giveUp drops an event that goes in a circle.
func (b *bridge) giveUp(x crossing) {
	b.barred(x.channel) // which counts it
	if x.way == up {
		b.relay.lose(x.event, "not brought to the upstream: it goes in a circle")
		b.settle(x.event)
	}
}

// enqueue hands an event to the connection that brings it to the vendor.
func (b *bridge) enqueue(ev *proxy.Event) bool {
	queue := b.events
	if ev.Publisher == proxy.ByClient {
		if c := b.relay.splitOf(ev.Socket); c != nil && fromGateway(c.info.Via) {
			// Its tap spoke for clients of another gateway. What a tap says has
			// no mark of its own, so it is never said by a second one.
			b.relay.metrics.loops.WithLabelValues(b.id).Inc()
			return false
		}
		t := b.speaker(ev)
		if t == nil {
			return false // nobody is there to be told
		}
		queue = t.says
		if t != b.listener(ev.Topic.Channel) {
			b.mu.Lock()
			b.echoes.expect(ev, time.Now()) // the vendor leaves out who says it, and nobody else
			b.mu.Unlock()
		}
	}
	select {
	case queue <- ev:
		return true
	default:
		b.relay.lose(ev, "more events than the upstream takes")
		return false
	}
}

// speaker returns the connection that says a client event at the vendor: on a
// presence channel that of the user who says it.
func (b *bridge) speaker(ev *proxy.Event) *tap {
	if ev.Topic.Channel.Kind() != protocol.Presence {
		return b.tap
	}
	if g := b.people.voice(ev.UserID); g != nil {
		return g.tap
	}
	return nil
}

// bridgeOf returns the bridge of an app; nil: it has none now.
func (r *Relay) bridgeOf(app string) *bridge {
	if b, ok := r.bridges.Load(app); ok {
		return b.(*bridge)
	}
	return nil
}

// listener returns the connection that hears a channel at the vendor.
func (b *bridge) listener(channel protocol.ChannelName) *tap {
	if channel.Kind() != protocol.Presence {
		return b.tap
	}
	if g := b.people.eye(channel); g != nil {
		return g.tap
	}
	return b.tap
}

// settle notes that nothing more is done about an event.
func (b *bridge) settle(events ...*proxy.Event) {
	b.relay.settings.Feed.of(b.id).done(events...)
	b.relay.settings.Feed.flush(b.id)
}

// lose notes that the vendor will not have an event.
func (r *Relay) lose(ev *proxy.Event, why string) {
	r.metrics.lost.WithLabelValues(ev.Topic.App).Inc()
	r.settings.Feed.of(ev.Topic.App).lost.Add(1)
	r.offer(proxy.Record{Kind: proxy.KindGap, From: ev.At, At: time.Now(), Leg: proxy.LegVendor, Topic: ev.Topic, Text: why})
}

// send brings events to the vendor, in their order, as many in one call as
// have gathered. When ctx ends it brings what is left, for as long as that
// may take.
func (b *bridge) send(ctx context.Context) {
	batch := make([]*proxy.Event, 0, maxBatch)
	last, cancel := outlasting(ctx)
	defer cancel()
	for left := range slices.Chunk(b.left, maxBatch) {
		b.postAll(last, left)
	}
	b.left = nil
	for {
		select {
		case ev := <-b.events:
			batch = b.gather(append(batch[:0], ev))
			b.postAll(last, batch)
		case <-ctx.Done():
			for batch = b.gather(batch[:0]); len(batch) > 0; batch = b.gather(batch[:0]) {
				b.postAll(last, batch)
			}
			return
		}
	}
}

// gather adds the events that wait, up to a full batch.
func (b *bridge) gather(batch []*proxy.Event) []*proxy.Event {
	for len(batch) < maxBatch {
		select {
		case ev := <-b.events:
			batch = append(batch, ev)
		default:
			return batch
		}
	}
	return batch
}

// postAll makes one call, or several where events came by different ways.
func (b *bridge) postAll(ctx context.Context, batch []*proxy.Event) {
	for len(batch) > 0 {
		n := 1
		for n < len(batch) && batch[n].Via == batch[0].Via {
			n++
		}
		b.post(ctx, batch[:n])
		batch = batch[n:]
	}
}

// post makes one call, again and again where it is sure that the vendor has
// not done it, and a few times where it is not (doubt.go). Meanwhile events
// queue, up to the bound.
func (b *bridge) post(ctx context.Context, batch []*proxy.Event) {
	kept := false
	defer func() {
		if kept {
			b.relay.settings.Feed.of(b.id).settle(batch...) // by this process
		} else {
			b.settle(batch...)
		}
	}()
	doubts := 0
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		app, ok := b.app()
		if !ok {
			return
		}
		status, err := b.call(ctx, app, batch)
		if err == nil && status < 300 {
			b.relay.metrics.bridged.WithLabelValues(b.id, "up").Add(float64(len(batch)))
			return
		}
		if pause == firstPause || !undone(status, err) {
			b.relay.settings.Log.Warn().Err(err).Int("status", status).Str("app", b.id).Int("events", len(batch)).Msg("events not accepted by the upstream")
		}
		if status == http.StatusLoopDetected {
			b.relay.circle(b.id, "the upstream says that calls lead back to it: HTTP status 508")
		}
		again := undone(status, err)
		if doubtful(status, err) && doubts < maxDoubts {
			doubts++
			again = b.mayRepeat(ctx, batch)
		}
		if kept = b.keeps(ctx, status, err); kept {
			return
		}
		if !again || ctx.Err() != nil {
			for _, ev := range batch {
				b.relay.lose(ev, "not accepted by the upstream")
			}
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// undone reports whether a failed call surely had no effect: the vendor said
// that it cannot serve, or could not be connected to at all.
func undone(status int, err error) bool {
	var dial *net.OpError
	switch {
	case err == nil:
		return status == http.StatusServiceUnavailable || status == http.StatusBadGateway
	case errors.As(err, &dial) && dial.Op == "dial":
		return true
	default:
		kind := trouble(err)
		return kind == "dns" || kind == "tls"
	}
}

func (b *bridge) call(ctx context.Context, app *proxy.App, batch []*proxy.Event) (status int, err error) {
	path := "/apps/" + app.ID + "/batch_events"
	body := []byte(`{"batch":[`)
	var returning []*proxy.Event
	for i, ev := range batch {
		if i > 0 {
			body = append(body, ',')
		}
		id := b.excluded(ev)
		body = appendEvent(body, ev, id)
		if b.expect(ev, id) {
			returning = append(returning, ev)
		}
	}
	body = append(body, "]}"...)
	answer, err := b.relay.callOnward(ctx, app, batch[0].Via, http.MethodPost, path, body)
	status = answer.status
	b.returned(returning, status, err)
	return status, err
}

// returned no longer expects events that will not return after all: the
// vendor did not take them, or has done so before the listener was there.
func (b *bridge) returned(expected []*proxy.Event, status int, err error) {
	for _, ev := range expected {
		listener := b.listener(ev.Topic.Channel)
		_, on := listener.at(ev.Topic.Channel)
		b.mu.Lock()
		switch {
		case undone(status, err) || status >= 300, !on && !listener.wants(ev.Topic.Channel):
			b.echoes.take(ev.Topic.Channel, ev.Name, ev.Data, time.Now())
		case !on, ev.Topic.Channel.Kind() == protocol.Presence:
			b.echoes.doubt(ev, time.Now())
		}
		b.mu.Unlock()
	}
}

func appendEvent(dst []byte, ev *proxy.Event, except protocol.SocketID) []byte {
	dst = protocol.AppendString(append(dst, `{"name":`...), ev.Name)
	dst = protocol.AppendString(append(dst, `,"channel":`...), ev.Topic.Channel)
	dst = protocol.AppendString(append(dst, `,"data":`...), ev.Data)
	if except != "" {
		dst = protocol.AppendString(append(dst, `,"socket_id":`...), except)
	}
	return append(dst, '}')
}

// excluded returns the socket that the vendor is to leave out: the one that
// the publisher named, if the vendor knows that client, else the one that
// listens.
func (b *bridge) excluded(ev *proxy.Event) protocol.SocketID {
	if c := b.relay.splitOf(ev.Except); c != nil && c.vendorSocket() != "" {
		return c.vendorSocket()
	}
	id, _ := b.listener(ev.Topic.Channel).at(ev.Topic.Channel)
	return id
}

// expect reports whether an event may return though the vendor leaves a socket
// out, and expects it then: another one listens, or there is none yet. One
// that begins to listen during the call may be given the event; on a presence
// channel another ghost may become its eye.
func (b *bridge) expect(ev *proxy.Event, out protocol.SocketID) (returns bool) {
	channel := ev.Topic.Channel
	own, _ := b.listener(channel).at(channel)
	if returns = own == "" || out != own || channel.Kind() == protocol.Presence; returns {
		b.mu.Lock()
		b.echoes.expect(ev, time.Now())
		b.mu.Unlock()
	}
	return returns
}

// arrived takes in what the vendor says about a channel.
func (b *bridge) arrived(ctx context.Context, f serverFrame) {
	if f.internal() {
		return
	}
	data := f.content()
	b.mu.Lock()
	echo := b.echoes.take(f.channel, f.event, data, time.Now())
	b.mu.Unlock()
	if echo || f.kept && b.stale(ctx, f, data) || b.barred(f.channel) {
		return
	}
	x := crossing{way: down, channel: f.channel, name: f.event, data: data, user: f.userID}
	if !b.circles.holds(x, time.Now()) {
		b.bring(ctx, x)
	}
}

// bring brings an event of the vendor's to the engine.
func (b *bridge) bring(ctx context.Context, x crossing) {
	app, ok := b.app()
	if !ok {
		return
	}
	p := engine.Publication{
		Channels: []protocol.ChannelName{x.channel}, Name: x.name, Data: x.data, Origin: proxy.LegVendor, UserID: x.user,
	}
	if strings.HasPrefix(x.name, protocol.ClientEventPrefix) {
		p.Publisher = proxy.ByClient
	}
	if err := b.relay.settings.Engine.Publish(ctx, app, p); err != nil {
		b.relay.settings.Log.Error().Err(err).Str("app", b.id).Msg("event of the upstream not brought to the engine")
		return
	}
	b.relay.metrics.bridged.WithLabelValues(b.id, "down").Inc()
}
