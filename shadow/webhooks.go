package shadow

import (
	"slices"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// webhookEvent begins the names of the cells of webhooks: their type follows.
const webhookEvent = "pusher:webhook "

// Webhooks is how the webhooks of two legs agree: what the reference told the
// app's own servers, and what the candidate would have told them.
type Webhooks struct {
	Told    int64 // by the reference, as far as they came in here; of a reference alone
	Matched int64 // told by both, at most Config.Window apart
	Missing int64 // told by the reference only, of what a relayed client did
	Extra   int64 // told by the candidate only, and untrue or surely not told
	Flaps   int64 // a departure and the return at once, told by one leg only
	// Unknown: told by one leg only, of what may be somebody's doing who is not
	// relayed, or of a type that the reference was never heard to tell.
	Unknown int64
	// Foreign are those of Unknown that told of a user who came to the
	// reference on another way than through here.
	Foreign int64

	Delay        float64 // seconds by which the candidate told later, summed over Matched
	LongestDelay float64 // seconds
}

// Add adds other's figures to h.
func (h *Webhooks) Add(o Webhooks) {
	h.Told += o.Told
	h.Matched += o.Matched
	h.Missing += o.Missing
	h.Extra += o.Extra
	h.Flaps += o.Flaps
	h.Unknown += o.Unknown
	h.Foreign += o.Foreign
	h.Delay += o.Delay
	h.LongestDelay = max(h.LongestDelay, o.LongestDelay)
}

// Webhooked reports whether a cell is about webhooks, and of which type.
func Webhooked(k Key) (kind proxy.WebhookType, ok bool) {
	name, ok := strings.CutPrefix(k.Event, webhookEvent)
	return proxy.WebhookType(name), ok
}

// leaveDelay is how long a channel must stay empty, or a member away, before
// that is told (vendor documentation: webhook delays).
const leaveDelay = int64(3 * time.Second)

// maxTellings bounds the webhooks and their causes that are remembered per
// app; what comes beyond is not compared.
const maxTellings = 1 << 16

// telling is what a webhook tells. Equal tellings of two legs are the same.
type telling struct {
	kind    proxy.WebhookType
	channel protocol.ChannelName
	user    string
	content uint64 // of a client event
}

// opposite returns what ends or begins what the telling tells of.
func (t telling) opposite() telling {
	switch t.kind {
	case proxy.WebhookChannelOccupied:
		t.kind = proxy.WebhookChannelVacated
	case proxy.WebhookChannelVacated:
		t.kind = proxy.WebhookChannelOccupied
	case proxy.WebhookMemberAdded:
		t.kind = proxy.WebhookMemberRemoved
	case proxy.WebhookMemberRemoved:
		t.kind = proxy.WebhookMemberAdded
	}
	return t
}

// arrival and departure report whether the telling is of somebody who came, or
// of the last who went.
func (t telling) arrival() bool {
	return t.kind == proxy.WebhookChannelOccupied || t.kind == proxy.WebhookMemberAdded
}

func (t telling) departure() bool {
	return t.kind == proxy.WebhookChannelVacated || t.kind == proxy.WebhookMemberRemoved
}

// told are the webhooks of one content that only one leg told yet.
type told struct{ reference, candidate []tale }

// tale is a webhook that waits for the other leg's.
type tale struct {
	at    int64
	wrong bool // the candidate's: not as the relayed clients are
	why   []Step
}

// hooks compares the webhooks of the vendor with those that the engine would
// have sent for the doubles of relayed clients. The vendor also tells of
// clients who are not relayed, so what it tells counts against the engine only
// where a relayed client was the cause.
type hooks struct {
	limit  int
	heard  map[proxy.WebhookType]int64 // when the vendor was first heard to tell of a type
	open   map[telling]*told
	causes map[telling]int64 // when a relayed client last did it
	gone   map[telling]int64 // arrivals whose end the vendor told last, and when
	there  map[telling]bool  // arrivals that the engine told, and not their end
	leaves map[telling]int64 // departures that the engine will tell, and when
	said   map[telling]saying
	full   int64 // when a cause was last not kept
}

// saying is when the vendor put a webhook together, and when it first came in.
// One that was put together at the same time and comes in later is sent again.
type saying struct{ from, at int64 }

// retries is how long the vendor may send a webhook again.
const retries = int64(10 * time.Minute)

func newHooks() *hooks {
	return &hooks{
		limit: maxTellings,
		heard: make(map[proxy.WebhookType]int64), open: make(map[telling]*told), causes: make(map[telling]int64),
		gone: make(map[telling]int64), there: make(map[telling]bool), leaves: make(map[telling]int64),
		said: make(map[telling]saying),
	}
}

// Doubles returns a sink for the records of the engine in which relayed
// clients have their doubles: who is on presence channels, and what the engine
// would tell by webhook.
func (c *Comparator) Doubles() proxy.Sink { return doubles{c} }

// DoublesKinds are the kinds that the sink uses.
const DoublesKinds = proxy.Kinds(1<<proxy.KindMemberAdded | 1<<proxy.KindMemberRemoved | 1<<proxy.KindOccupied |
	1<<proxy.KindVacated | 1<<proxy.KindCacheMiss | 1<<proxy.KindPublished)

type doubles struct{ comparator *Comparator }

// Offer implements proxy.Sink. A double publishes a second time what its
// client published: that is no event of the engine's own, and only worth a
// webhook.
func (d doubles) Offer(r proxy.Record) bool {
	if r.Kind == proxy.KindPublished {
		if r.Event == nil || r.Event.Publisher != proxy.ByClient {
			return true
		}
		r.Kind, r.Action = proxy.KindWebhook, string(proxy.WebhookClientEvent)
	}
	return d.comparator.Offer(r)
}

// tells returns what a record of a leg is told as by webhook.
func (s *state) tells(r *proxy.Record, channel protocol.ChannelName) (t telling, ok bool) {
	t = telling{channel: channel}
	switch r.Kind {
	case proxy.KindOccupied:
		t.kind = proxy.WebhookChannelOccupied
	case proxy.KindVacated:
		t.kind = proxy.WebhookChannelVacated
	case proxy.KindMemberAdded:
		t.kind, t.user = proxy.WebhookMemberAdded, r.UserID
	case proxy.KindMemberRemoved:
		t.kind, t.user = proxy.WebhookMemberRemoved, r.UserID
	case proxy.KindCacheMiss:
		t.kind = proxy.WebhookCacheMiss
	case proxy.KindWebhook:
		t.kind, t.user = proxy.WebhookType(r.Action), r.UserID
	default:
		return t, false
	}
	if t.kind == proxy.WebhookClientEvent {
		if r.Event == nil {
			return t, false
		}
		t.content = s.hasher.key(r.Event)
	}
	return t, slices.Contains(comparedWebhooks, t.kind)
}

// comparedWebhooks are the types that are compared. Subscription counts are
// not: the vendor counts clients who are not relayed, and tells of every so
// many changes only.
var comparedWebhooks = []proxy.WebhookType{
	proxy.WebhookChannelOccupied, proxy.WebhookChannelVacated, proxy.WebhookMemberAdded, proxy.WebhookMemberRemoved,
	proxy.WebhookClientEvent, proxy.WebhookCacheMiss,
}

// hooked takes in a record that the webhooks of a leg follow from.
func (s *state) hooked(a *appState, r *proxy.Record, channel protocol.ChannelName, at int64) {
	t, ok := s.tells(r, channel)
	switch {
	case !ok || !hooksCompared(a.app, channel):
	case r.Leg == proxy.LegEngine:
		s.engineTells(a, t, at)
	case r.Leg != proxy.LegVendor:
	case r.Kind == proxy.KindCacheMiss:
		a.hooks.caused(t, at)
	case r.Kind == proxy.KindWebhook:
		if from := r.From.UnixNano(); r.From.IsZero() || !a.hooks.again(t, saying{from, at}) {
			s.vendorTells(a, t, at)
		}
	}
}

// again reports whether the vendor has sent a webhook before.
func (h *hooks) again(t telling, x saying) bool {
	before, known := h.said[t]
	if known && before.from == x.from {
		return before.at != x.at
	}
	if known || len(h.said) < h.limit {
		h.said[t] = x
	}
	return false
}

// hooksCompared reports whether a channel is the vendor's and the engine has
// doubles on it.
func hooksCompared(app *proxy.App, channel protocol.ChannelName) bool {
	legs := legsOf(app, channel)
	return legs[0] == proxy.LegVendor && slices.Contains(legs, proxy.LegEngine)
}

// caused notes that a relayed client did what is told as t.
func (h *hooks) caused(t telling, at int64) {
	if _, known := h.causes[t]; !known && len(h.causes) >= h.limit {
		h.full = at
		return
	}
	h.causes[t] = at
}

// relayed reports whether relayed clients are what t, an arrival, tells, and
// since when: that was the last that they did.
func (h *hooks) relayed(t telling) (since int64, there bool) {
	since, there = h.causes[t]
	left, went := h.causes[t.opposite()]
	return since, there && (!went || left < since)
}

func (s *state) vendorTells(a *appState, t telling, at int64) {
	h := a.hooks
	if _, known := h.heard[t.kind]; !known {
		h.heard[t.kind] = at
	}
	reference := pairKey{App: a.id, Reference: proxy.LegVendor}
	s.webhookCell(a, reference, t, at, s.ledger).Told++
	switch {
	case t.arrival():
		delete(h.gone, t)
	case t.departure() && len(h.gone) < h.limit:
		h.gone[t.opposite()] = at
	}
	if o := h.waiting(t); o != nil {
		s.pairTales(a, t, o, &o.reference, &o.candidate, tale{at: at})
	}
}

// engineTells notes what the doubles did. A departure is told once it lasted.
func (s *state) engineTells(a *appState, t telling, at int64) {
	h := a.hooks
	switch {
	case t.departure():
		if h.there[t.opposite()] {
			h.leaves[t] = at + leaveDelay
		}
		return
	case t.arrival():
		if due, left := h.leaves[t.opposite()]; left {
			if at < due {
				delete(h.leaves, t.opposite())
				return
			}
			s.engineLeft(a, t.opposite(), due)
		}
		if h.there[t] || len(h.there) >= h.limit {
			return
		}
		h.there[t] = true
	}
	// A double says only what its client said, and the vendor accepted.
	wrong := t.kind == proxy.WebhookClientEvent
	if t.arrival() {
		_, there := h.relayed(t)
		unsure := h.full != 0 && at-h.full <= int64(s.config.Window)
		_, gone := h.gone[t]
		wrong = !there && !unsure || gone
	}
	s.engineTold(a, t, tale{at: at, wrong: wrong, why: s.whyWrong(h, t, wrong)})
}

// engineLeft tells of a departure that lasted.
func (s *state) engineLeft(a *appState, t telling, due int64) {
	h := a.hooks
	delete(h.leaves, t)
	delete(h.there, t.opposite())
	since, there := h.relayed(t.opposite())
	wrong := there && since < due-int64(s.config.Edge)-leaveDelay
	s.engineTold(a, t, tale{at: due, wrong: wrong, why: s.whyWrong(h, t, wrong)})
}

func (s *state) engineTold(a *appState, t telling, x tale) {
	if o := a.hooks.waiting(t); o != nil {
		s.pairTales(a, t, o, &o.candidate, &o.reference, x)
	}
}

// waiting returns the tales of a content; nil when too many wait.
func (h *hooks) waiting(t telling) *told {
	o := h.open[t]
	if o == nil && len(h.open) < h.limit {
		o = new(told)
		h.open[t] = o
	}
	return o
}

// pairTales matches a new tale with the other leg's latest, or has it wait.
func (s *state) pairTales(a *appState, t telling, o *told, mine, others *[]tale, x tale) {
	n := len(*others)
	if n == 0 || x.at-(*others)[n-1].at > int64(s.config.Window) {
		if len(*mine) < a.hooks.limit {
			*mine = append(*mine, x)
		}
		return
	}
	y := (*others)[n-1]
	*others = (*others)[:n-1]
	delay := x.at - y.at
	if mine == &o.reference {
		delay = -delay
	}
	h := s.webhookCell(a, hookPair(a), t, x.at, s.ledger)
	h.Matched++
	h.Delay += seconds(delay)
	h.LongestDelay = max(h.LongestDelay, seconds(delay))
}

func seconds(nanos int64) float64 { return float64(nanos) / float64(time.Second) }

func hookPair(a *appState) pairKey {
	return pairKey{App: a.id, Reference: proxy.LegVendor, Candidate: proxy.LegEngine}
}

func (s *state) webhookCell(a *appState, pair pairKey, t telling, at int64, into *ledger) *Webhooks {
	key := Key{
		Type: typeOf(t.channel), Pattern: a.patterns.text(a.patterns.number(learnPattern(t.channel))), Event: webhookEvent + string(t.kind),
	}
	e, _ := into.entries(pair, key, at)
	return &e.counts.Webhooks
}

// sweepHooks tells of departures that lasted, and gives up waiting for what
// only one leg told until a time. Some of it may yet come if the end is not
// quiet.
func (s *state) sweepHooks(a *appState, now, until int64, quiet bool) {
	h := a.hooks
	for t, due := range h.leaves {
		if due <= now {
			s.engineLeft(a, t, due)
		}
	}
	for t := range h.open { // a flap is known by its departure, so those first
		if t.departure() {
			s.expireTales(a, t, until, quiet)
		}
	}
	for t := range h.open {
		s.expireTales(a, t, until, quiet)
	}
	for t, x := range h.said {
		if x.at < now-retries {
			delete(h.said, t)
		}
	}
	for t, at := range h.causes {
		if at < until-int64(s.config.Window) && !h.needed(t) {
			delete(h.causes, t)
		}
	}
}

// needed reports whether a cause still says that relayed clients are there, or
// that they are not.
func (h *hooks) needed(t telling) bool {
	if t.departure() {
		_, arrived := h.causes[t.opposite()]
		return arrived
	}
	_, there := h.relayed(t)
	return t.arrival() && there
}

func (s *state) expireTales(a *appState, t telling, until int64, quiet bool) {
	h := a.hooks
	o := h.open[t]
	o.reference = slices.DeleteFunc(o.reference, func(x tale) bool {
		if x.at > until {
			return false
		}
		s.countTale(a, t, x, quiet, true)
		return true
	})
	o.candidate = slices.DeleteFunc(o.candidate, func(x tale) bool {
		if x.at > until {
			return false
		}
		s.countTale(a, t, x, quiet, false)
		return true
	})
	if len(o.reference)+len(o.candidate) == 0 {
		delete(h.open, t)
	}
}

// countTale counts what only one leg told.
func (s *state) countTale(a *appState, t telling, x tale, quiet, reference bool) {
	if !hooksCompared(a.app, t.channel) {
		return // moved on since
	}
	h, c := a.hooks, s.webhookCell(a, hookPair(a), t, x.at, s.ledger)
	heard, hears := h.heard[t.kind]
	switch {
	case !quiet || s.hooksUnseen(a, t.channel, x.at):
		c.Unknown++
	case t.departure() && h.flapped(t, x, reference, int64(s.config.Edge)):
		c.Flaps++
	case reference && s.relayedCause(h, t, x.at):
		c.Missing++
		s.webhookExhibit(a, t, x, true)
	case !reference && x.wrong && hears && heard <= x.at:
		c.Extra++
		s.webhookExhibit(a, t, x, false)
	default:
		c.Unknown++
		// Beyond shadow, the vendor also tells of those whom the gateway shows it.
		if reference && t.kind == proxy.WebhookMemberAdded && h.full == 0 && stageOf(a.app, t.channel) == proxy.StageShadow {
			c.Foreign++
		}
	}
}

// flapped takes out the return that one leg told together with a departure:
// the other leg counted the absence as shorter than the delay.
func (h *hooks) flapped(t telling, x tale, reference bool, edge int64) bool {
	back := h.open[t.opposite()]
	if back == nil {
		return false
	}
	tales := &back.candidate
	if reference {
		tales = &back.reference
	}
	i := slices.IndexFunc(*tales, func(y tale) bool { return distance64(x.at, y.at) <= edge })
	if i < 0 {
		return false
	}
	*tales = slices.Delete(*tales, i, i+1)
	return true
}

// relayedCause reports whether a relayed client did, around a time, what the
// vendor told.
func (s *state) relayedCause(h *hooks, t telling, at int64) bool {
	cause, ok := h.causes[t]
	return ok && distance64(cause, at) <= int64(s.config.Window)
}

// hooksUnseen reports whether one of the legs could not be observed around a
// time.
func (s *state) hooksUnseen(a *appState, channel protocol.ChannelName, at int64) bool {
	around := span{from: at - int64(s.config.Edge) - leaveDelay, to: at + int64(s.config.Edge)}
	for _, leg := range []proxy.Leg{proxy.LegVendor, proxy.LegEngine} {
		if g := a.gaps[leg]; g != nil && g.overlap(around) {
			return true
		}
		if w := a.windows[channel]; w != nil {
			if i := w.leg(leg); i != none && w.legs[i].gaps.overlap(around) {
				return true
			}
		}
	}
	return false
}
