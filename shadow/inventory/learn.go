package inventory

import (
	"hash/maphash"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Names of features, as documents and assessments use them.
const (
	FeaturePresence     = "presence"
	FeatureEncrypted    = "encrypted channels"
	FeatureCache        = "cache channels"
	FeatureServerToUser = "server to user"
	FeatureClientEvents = "client events"
	FeatureExclusion    = "socket_id exclusion"
	FeatureBatch        = "batch publishes"
	FeatureQueries      = "channel queries"
	FeatureTerminate    = "terminate connections"
	FeatureSignin       = "user sign-in"
	FeatureFallback     = "HTTP fallback transports"
)

// see learns from one record.
func (a *app) see(r *proxy.Record) {
	a.dirty = true
	if a.From.IsZero() {
		a.From = r.At
	}
	if r.At.After(a.To) {
		a.To = r.At
	}
	switch r.Kind {
	case proxy.KindConnected:
		a.connected(r)
	case proxy.KindDisconnected:
		delete(a.open, r.Socket)
	case proxy.KindSubscribed, proxy.KindUnsubscribed:
		a.subscribed(r)
	case proxy.KindMemberAdded, proxy.KindMemberRemoved:
		a.feature(FeaturePresence, r.At)
		a.day(r.At).Presence += int64(a.seats[r.Topic.Channel])
	case proxy.KindPublished:
		a.published(r)
	case proxy.KindDelivered:
		a.delivered(r)
	case proxy.KindAllowed:
		a.allowed(r)
	case proxy.KindRefused:
		a.refused(r)
	}
}

func (a *app) connected(r *proxy.Record) {
	if len(a.open) < maxTracked {
		a.open[r.Socket] = true
	}
	a.Peaks.Connections = max(a.Peaks.Connections, len(a.open))
	if r.Client == nil {
		return
	}
	k := clientKey{r.Client.Library, r.Client.Version, r.Client.Transport, r.Client.Protocol}
	c := a.clients[k]
	if c == nil && len(a.clients) >= maxRows {
		k = clientKey{library: other}
		c = a.clients[k]
	}
	if c == nil {
		c = &Client{Library: k.library, Version: k.version, Protocol: k.protocol, Transport: k.transport}
		a.clients[k] = c
		a.Clients = append(a.Clients, c)
	}
	c.Connections++
	c.LastSeen = r.At
	if strings.HasPrefix(r.Client.Transport, "xhr") {
		a.feature(FeatureFallback, r.At)
	}
}

var seed = maphash.MakeSeed()

func (a *app) subscribed(r *proxy.Record) {
	name := r.Topic.Channel
	if r.Count == 0 {
		delete(a.seats, name)
	} else if _, known := a.seats[name]; known || len(a.seats) < maxTracked {
		a.seats[name] = r.Count
	}
	if r.Kind == proxy.KindUnsubscribed {
		return
	}
	c := a.pattern(name)
	c.Subscriptions++
	c.LastSeen = r.At
	c.PeakMembers = max(c.PeakMembers, r.Count)
	a.Peaks.SubscriptionsOfOneChannel = max(a.Peaks.SubscriptionsOfOneChannel, r.Count)
	names := a.distinct[c.Pattern]
	if names == nil {
		names = make(map[uint64]struct{})
		a.distinct[c.Pattern] = names
	}
	if len(names) < maxDistinct {
		names[maphash.String(seed, string(name))] = struct{}{}
	}
	c.Distinct = max(c.Distinct, len(names))
	a.kindOf(name, r.At)
}

// kindOf notes the features that a channel's name shows.
func (a *app) kindOf(name protocol.ChannelName, at time.Time) {
	if name.Cached() {
		a.feature(FeatureCache, at)
	}
	switch name.Kind() {
	case protocol.Presence:
		a.feature(FeaturePresence, at)
	case protocol.Encrypted:
		a.feature(FeatureEncrypted, at)
	case protocol.ServerToUser:
		a.feature(FeatureServerToUser, at)
	case protocol.Public, protocol.Private:
	}
}

func (a *app) published(r *proxy.Record) {
	ev := r.Event
	if ev == nil {
		return
	}
	c := a.pattern(r.Topic.Channel)
	c.Events++
	c.BytesTotal += int64(len(ev.Data))
	c.BytesMax = max(c.BytesMax, len(ev.Data))
	c.LastSeen = r.At
	a.kindOf(r.Topic.Channel, r.At)
	if ev.Except != "" && ev.Publisher == proxy.ByServer {
		a.feature(FeatureExclusion, r.At)
	}

	publisher := "server"
	if ev.Publisher == proxy.ByClient {
		publisher = "client"
		a.feature(FeatureClientEvents, r.At)
		a.day(r.At).ClientEvents++
	} else if r.Leg == proxy.LegEngine {
		a.day(r.At).APICalls++ // the relay shows its calls themselves
	}
	a.rates(r)
	e := a.event(ev.Name, publisher)
	e.Count++
	e.BytesMax = max(e.BytesMax, len(ev.Data))
	e.LastSeen = r.At
}

// rates keeps the peaks per second.
func (a *app) rates(r *proxy.Record) {
	if s := r.At.Unix(); s != a.second {
		a.second, a.publishes = s, 0
		clear(a.typed)
	}
	if r.Event.Publisher == proxy.ByServer {
		a.publishes++
		a.Peaks.PublishesPerSecond = max(a.Peaks.PublishesPerSecond, a.publishes)
		return
	}
	if len(a.typed) < maxTracked {
		a.typed[r.Event.Socket]++
		a.Peaks.ClientEventsPerSecond = max(a.Peaks.ClientEventsPerSecond, a.typed[r.Event.Socket])
	}
}

func (a *app) event(name, publisher string) *Event {
	k := eventKey{name, publisher}
	e := a.events[k]
	if e == nil && len(a.events) >= maxRows {
		k.name = other
		e = a.events[k]
	}
	if e == nil {
		e = &Event{Name: strings.Clone(k.name), Publisher: publisher}
		a.events[k] = e
		a.Events = append(a.Events, e)
	}
	return e
}

func (a *app) delivered(r *proxy.Record) {
	switch {
	case r.Leg == proxy.LegVendor:
		a.day(r.At).Deliveries++
	case r.Socket == "": // the engine to its own clients; a relayed client's double has a socket
		a.day(r.At).Deliveries += int64(r.Count)
	}
}

func (a *app) allowed(r *proxy.Record) {
	resource, isCall := strings.CutPrefix(r.Action, "http ")
	switch {
	case isCall && r.Leg == proxy.LegVendor:
		a.day(r.At).APICalls++
		switch {
		case strings.HasPrefix(resource, "batch"):
			a.feature(FeatureBatch, r.At)
		case strings.HasPrefix(resource, "channel"), resource == "users":
			a.feature(FeatureQueries, r.At)
		case strings.HasPrefix(resource, "terminate"):
			a.feature(FeatureTerminate, r.At)
		}
	case r.Action == "signin":
		a.feature(FeatureSignin, r.At)
	}
}

// maxRefusal bounds the text kept of a refusal.
const maxRefusal = 200

func (a *app) refused(r *proxy.Record) {
	text := r.Text
	if len(text) > maxRefusal {
		text = text[:maxRefusal]
	}
	k := refusalKey{r.Action, text, r.Code}
	f := a.refusals[k]
	if f == nil && len(a.refusals) >= maxRows {
		k = refusalKey{action: other}
		f = a.refusals[k]
	}
	if f == nil {
		f = &Refusal{Action: k.action, Code: k.code, Text: k.text}
		a.refusals[k] = f
		a.Refusals = append(a.Refusals, f)
	}
	f.Count++
	f.LastSeen = r.At
}

func (a *app) feature(name string, at time.Time) {
	f := a.features[name]
	if f == nil {
		f = &Feature{Name: name, FirstSeen: at}
		a.features[name] = f
		a.Features = append(a.Features, f)
	}
	f.Count++
	f.LastSeen = at
}
