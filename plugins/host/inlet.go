package host

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

const (
	// inboundQueue is how many events may wait to be brought to the gateway's
	// clients. What does not fit is withheld, counted and told as a gap.
	inboundQueue = 4096
	// nameless is the name of events that were published on a backend without
	// one: clients bind to names.
	nameless = "message"
)

// Why an event of the backend's is not brought in.
const (
	withheldEcho     = "echo"     // it went out from here
	withheldChannel  = "channel"  // nobody asked for it, or another backend's rules do
	withheldKind     = "kind"     // it is no event for clients
	withheldHops     = "hops"     // it has been through too many gateways
	withheldLoop     = "loop"     // the breaker is open
	withheldInvalid  = "invalid"  // the app's limits, or what clients can read
	withheldOverflow = "overflow" // more at a time than clients are given
	withheldFailed   = "failed"   // the gateway could not publish it
	withheldNode     = "node"     // another node brings it in
)

// inlet brings to the gateway's clients what a backend delivers. What went
// out from here does not come in again: the plugin leaves it out or its origin
// tells, and where neither is possible it is known by what it contains. What
// came in is published with the backend as its origin, so that it is never
// sent back there.
type inlet struct {
	link    *link
	breaker *breaker
	queue   chan *proxy.Event
	echoes  *echoes
	custody *custody // of the channels that several nodes observe; nil: there is one node
	// guessing: the backend neither leaves out nor marks what went out from
	// here.
	guessing atomic.Bool

	mu        sync.Mutex
	published uint64
	withheld  map[string]uint64
	last      string // the last event withheld for what it is
	failing   bool
	missed    gap // what did not fit since it was last told; zero: nothing
}

func newInlet(l *link, b *breaker) *inlet {
	in := &inlet{
		link: l, breaker: b, queue: make(chan *proxy.Event, inboundQueue), echoes: newEchoes(), withheld: map[string]uint64{},
	}
	if l.settings.Owners != nil {
		in.custody = newCustody()
	}
	return in
}

// meet learns how the plugin that runs now keeps echoes away.
func (in *inlet) meet(d translators.Description) {
	if in == nil {
		return
	}
	marked := d.Features[translators.FeatureIdentity].Level >= translators.Emulated
	in.guessing.Store(d.Echo == translators.EchoNone || d.Echo == translators.EchoTagged && !marked)
	if in.custody != nil && !marked {
		in.link.log.Warn().Msg("this backend's messages carry no origin: a bridge to it is for one node, as with cluster.redis the other " +
			"nodes bring in again what one has sent there")
	}
}

// handed notes items on their way to the backend.
func (in *inlet) handed(items []item) {
	if in != nil && in.guessing.Load() {
		in.echoes.expect(items)
	}
}

// answered notes what the backend said to them.
func (in *inlet) answered(items []item, results []translators.Result) {
	if in == nil || !in.guessing.Load() {
		return
	}
	now := time.Now()
	for i, it := range items {
		in.echoes.settle(it.seq, results[i].Code.Accepted(), now)
	}
}

// take takes an event that the backend delivered. It never waits.
func (in *inlet) take(e translators.Envelope, now time.Time) {
	why, detail := in.judge(&e, now)
	if why == "" {
		select {
		case in.queue <- in.event(e):
			return
		default:
			why = withheldOverflow
			in.overflow(now)
		}
	}
	if detail != "" {
		detail = fmt.Sprintf("event %.200q on %s: %s", e.Event, e.Channel, detail)
	}
	in.withhold(why, detail)
}

// overflow notes that an event did not fit.
func (in *inlet) overflow(now time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.missed.from.IsZero() {
		in.missed = gap{from: now, why: "more events came than the bridge brings in"}
	}
	in.missed.to = now
}

// tellMissed tells what did not fit, once there is room again.
func (in *inlet) tellMissed() {
	in.mu.Lock()
	missed := in.missed
	in.missed = gap{}
	in.mu.Unlock()
	if !missed.from.IsZero() {
		in.link.tell([]gap{missed})
	}
}

func (in *inlet) withhold(why, detail string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.withheld[why]++
	if detail != "" {
		in.last = detail
	}
}

// judge returns why an event is withheld; empty: it is not. It gives an event
// without a name one.
func (in *inlet) judge(e *translators.Envelope, now time.Time) (why, detail string) {
	switch {
	case e.Origin == in.link.settings.Gateway:
		return withheldEcho, ""
	case !in.link.takes(e.Channel) || !in.link.book.asksFor(e.Channel):
		return withheldChannel, "the gateway did not ask for this channel"
	case in.guessing.Load() && in.echoes.take(e.Channel, e.Event, e.Data, now):
		return withheldEcho, ""
	case e.Kind != translators.KindServer && e.Kind != translators.KindClientEvent:
		return withheldKind, ""
	case e.Hops >= maxHops:
		in.breaker.stray(e.Channel, now)
		return withheldHops, fmt.Sprintf("%d gateways have passed it on, and the most is %d", e.Hops, maxHops)
	}
	if e.Event == "" {
		e.Event = nameless
	}
	if detail = in.fault(*e); detail != "" {
		return withheldInvalid, detail
	}
	if !in.breaker.arrive(e.Channel, e.Event, e.Data, now) {
		return withheldLoop, ""
	}
	return "", ""
}

// fault says what of an event clients could not be given, and what to change.
func (in *inlet) fault(e translators.Envelope) string {
	app, ok := in.link.settings.Apps(in.link.binding.App)
	switch {
	case !ok:
		return "the app is not configured any more"
	case !e.Channel.Valid(app.Limits.ChannelNameLength):
		return "the channel's name is not legal, or longer than limits.channel_name_length"
	case len(e.Data) > app.Limits.EventBytes:
		return fmt.Sprintf("%d bytes of data, and limits.event_bytes is %d", len(e.Data), app.Limits.EventBytes)
	case !utf8.Valid(e.Data) || !utf8.ValidString(e.Event):
		return "frames are text, and this is not UTF-8"
	case utf8.RuneCountInString(e.Event) > protocol.MaxEventNameLength:
		return fmt.Sprintf("an event's name has at most %d characters", protocol.MaxEventNameLength)
	case strings.HasPrefix(e.Event, "pusher:") || strings.HasPrefix(e.Event, "pusher_internal:"):
		return "its name is reserved for the protocol"
	case len(e.UserID) > 4*protocol.MaxUserIDLength || !utf8.ValidString(e.UserID):
		return fmt.Sprintf("a user id has at most %d characters", protocol.MaxUserIDLength)
	}
	return ""
}

// event returns an event as it is published here. A client's is one only
// under the prefix, on channels where clients may speak.
func (in *inlet) event(e translators.Envelope) *proxy.Event {
	ev := &proxy.Event{
		Topic: proxy.Topic{App: in.link.binding.App, Channel: e.Channel}, Name: e.Event, Data: e.Data, Origin: in.link.leg,
		Via: protocol.Via(e.Origin, e.Hops),
	}
	if e.Except.Valid() {
		ev.Except = e.Except
	}
	if e.Kind == translators.KindClientEvent && strings.HasPrefix(e.Event, protocol.ClientEventPrefix) && e.Channel.NeedsAuth() {
		ev.Publisher = proxy.ByClient
		if e.Channel.Kind() == protocol.Presence {
			ev.UserID = e.UserID
		}
	}
	return ev
}

// run publishes what was taken, in its order, until ctx ends.
func (in *inlet) run(ctx context.Context) {
	if in.custody != nil {
		in.share(ctx)
		return
	}
	for {
		select {
		case ev := <-in.queue:
			in.done(ev, in.link.settings.Publish(ctx, ev))
			in.tellMissed()
		case <-ctx.Done():
			return
		}
	}
}

func (in *inlet) done(ev *proxy.Event, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err == nil {
		in.published++
		in.failing = false
		return
	}
	in.withheld[withheldFailed]++
	in.last = fmt.Sprintf("event %.200q on %s: %v", ev.Name, ev.Topic.Channel, err)
	if !in.failing { // once, until it works again
		in.failing = true
		in.link.log.Warn().Err(err).Msg("event of the backend not brought to clients")
	}
}

// fill fills in a status.
func (in *inlet) fill(s *Status, now time.Time) {
	if in == nil {
		return
	}
	open, openings := in.breaker.state(now)
	in.mu.Lock()
	defer in.mu.Unlock()
	s.Bridge = &BridgeStatus{
		Published: in.published, Withheld: cloneCounts(in.withheld), LastWithheld: in.last, Queued: len(in.queue), Loops: openings, Open: open,
	}
}
