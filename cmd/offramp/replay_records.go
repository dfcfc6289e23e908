package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/report"
)

// exhibitApp is an app whose channels have an exhibit's two legs.
func exhibitApp(x *report.Exhibit) *proxy.App {
	app := proxy.Defaults()
	app.ID = "exhibit"
	if proxy.Leg(x.Reference) == proxy.LegVendor {
		app.Upstream, app.Stage = new(proxy.Upstream), proxy.StageShadow
	}
	if proxy.Leg(x.Candidate) != proxy.LegEngine {
		app.Backends = []proxy.Backend{{Name: x.Candidate, Role: proxy.RoleShadow, Channels: []string{"*"}, Sample: 1}}
	}
	return &app
}

// before is for how long clients have been subscribed when the first frame of
// an exhibit comes.
const before = time.Minute

// judgeExhibit compares an exhibit's frames anew.
func judgeExhibit(x *report.Exhibit) (shadow.Evidence, error) {
	app := exhibitApp(x)
	records := exhibitRecords(app, x)
	if !hasEvents(x) {
		records = otherRecords(app, x)
	}
	return shadow.Replay(shadow.Settings{Apps: oneApp(app)}, app.ID, func() (r proxy.Record, err error) {
		if len(records) == 0 {
			return r, io.EOF
		}
		r, records = records[0], records[1:]
		return r, nil
	})
}

// exhibitRecords returns what the comparator was shown, as far as the exhibit
// tells.
func exhibitRecords(app *proxy.App, x *report.Exhibit) []proxy.Record {
	topic := proxy.Topic{App: app.ID, Channel: protocol.ChannelName(x.Channel)}
	reference, candidate := proxy.Leg(x.Reference), proxy.Leg(x.Candidate)
	// The vendor is seen through a relayed socket, and the engine beside it
	// through that socket's double.
	socket := func(leg proxy.Leg) protocol.SocketID {
		if leg == proxy.LegVendor || (leg == proxy.LegEngine && reference == proxy.LegVendor) {
			return "1.1"
		}
		return ""
	}
	var records []proxy.Record
	for _, leg := range []proxy.Leg{reference, candidate} {
		if leg == proxy.LegVendor || leg == proxy.LegEngine {
			records = append(records, proxy.Record{
				Kind: proxy.KindSubscribed, At: x.Frames[0].At.Add(-before), Leg: leg, Topic: topic, Socket: "1.1", Count: 2,
			})
		}
	}
	backend := candidate != proxy.LegEngine && candidate != proxy.LegVendor
	handed := 0
	for i := range x.Frames {
		f := &x.Frames[i]
		ev := standIn(topic, f)
		if f.Leg != "" {
			records = append(records, proxy.Record{
				Kind: proxy.KindDelivered, At: f.At, Leg: proxy.Leg(f.Leg), Topic: topic, Event: ev, Socket: socket(proxy.Leg(f.Leg)), Count: 1,
			})
			continue
		}
		ev.At = f.At
		records = append(records, proxy.Record{Kind: proxy.KindPublished, At: f.At, Leg: reference, Topic: topic, Event: ev})
		if backend {
			handed++
			records = append(records, proxy.Record{
				Kind: proxy.KindMirrored, At: f.At, Leg: candidate, Topic: topic, Event: ev, Text: cmp.Or(f.Text, "OK"), Count: handed,
			})
		}
	}
	return records
}

// standIn returns an event with a payload in the place of the one that an
// exhibit does not hold: as long as that one, and equal to others with the
// same digest.
func standIn(topic proxy.Topic, f *report.Step) *proxy.Event {
	payload := fmt.Sprintf(`{"stands_in_for":%q}`, f.Digest)
	if missing := f.Bytes - len(payload); missing > 0 {
		payload += strings.Repeat(" ", missing)
	}
	ev := &proxy.Event{Topic: topic, Name: f.Event, Data: []byte(payload)}
	if id, ok := proxy.ParseEventID(f.EventID); ok {
		ev.ID = id
	}
	return ev
}

// exhibitPublishes are the publishes among an exhibit's frames; where none
// passed the gateway, what the reference delivered.
func exhibitPublishes(x *report.Exhibit) publications {
	leg := ""
	if !slices.ContainsFunc(x.Frames, func(f report.Step) bool { return f.Leg == "" }) {
		leg = x.Reference
	}
	return func(yield func(publication) error) error {
		for i := range x.Frames {
			f := &x.Frames[i]
			if f.Leg != leg {
				continue
			}
			ev := standIn(proxy.Topic{Channel: protocol.ChannelName(x.Channel)}, f)
			if err := yield(publication{at: f.At, event: *ev}); err != nil {
				return err
			}
		}
		return nil
	}
}

// hasEvents reports whether an exhibit is about events.
func hasEvents(x *report.Exhibit) bool {
	return slices.ContainsFunc(x.Frames, func(f report.Step) bool { return f.Kind == "" })
}

// otherRecords returns what the comparator was shown of members, decisions,
// webhooks or frames, as far as the exhibit tells.
func otherRecords(app *proxy.App, x *report.Exhibit) []proxy.Record {
	topic := proxy.Topic{App: app.ID, Channel: protocol.ChannelName(x.Channel)}
	s := staging{exhibit: x, topic: topic, began: x.Frames[0].At.Add(-before)}
	s.set()
	for i := range x.Frames {
		s.play(&x.Frames[i])
	}
	return s.records
}

// staging makes records of the steps of an exhibit that is not about events.
type staging struct {
	exhibit *report.Exhibit
	topic   proxy.Topic
	began   time.Time
	seats   int // relayed clients on the channel
	records []proxy.Record
}

func (s *staging) add(r proxy.Record) {
	if r.Topic.App == "" {
		r.Topic = s.topic
	}
	s.records = append(s.records, r)
}

// set sets the scene: that both sides tell of members, which shows by one who
// is on both all along; and that the vendor tells of the webhook.
func (s *staging) set() {
	x := s.exhibit
	switch x.Finding {
	case "presence":
		for _, leg := range []string{x.Reference, x.Candidate} {
			s.member(leg, "somebody on both sides", true, s.began)
		}
	case "webhooks":
		elsewhere := proxy.Topic{App: s.topic.App, Channel: "presence-elsewhere"}
		s.add(proxy.Record{
			Kind: proxy.KindWebhook, At: s.began, Leg: proxy.LegVendor, Topic: elsewhere, Action: x.Event, UserID: "somebody", Event: s.clientEvent(s.began),
		})
	}
}

func (s *staging) play(f *report.Step) {
	leg := proxy.Leg(f.Leg)
	switch f.Kind {
	case shadow.StepMember, shadow.StepJoined:
		s.member(f.Leg, f.User, true, f.At)
	case shadow.StepLeft:
		s.member(f.Leg, f.User, false, f.At)
	case shadow.StepLasted: // nothing happened until then
		s.add(proxy.Record{Kind: proxy.KindDisconnected, At: f.At, Leg: leg})
	case shadow.StepDecided:
		r := proxy.Record{Kind: proxy.KindAllowed, At: f.At, Leg: leg, Socket: "1.1", Action: f.Event}
		if code, refused := strings.CutPrefix(f.Text, "deny"); refused {
			r.Kind = proxy.KindRefused
			r.Code, _ = strconv.Atoi(strings.TrimSpace(code)) // without a code it is 0
		}
		s.add(r)
	case shadow.StepRelayed:
		s.relayed(f)
	case shadow.StepTold:
		s.told(f)
	case shadow.StepFrame:
		s.add(proxy.Record{Kind: proxy.KindFrame, At: f.At, Leg: leg, Client: &proxy.Client{Library: s.exhibit.Pattern}, Action: f.Event, Text: f.Text})
	}
}

// member has a user come or go on a leg: at the vendor, as a relayed client.
func (s *staging) member(leg, user string, joined bool, at time.Time) {
	r := proxy.Record{Kind: proxy.KindMemberRemoved, At: at, Leg: proxy.Leg(leg), UserID: user}
	if joined {
		r.Kind = proxy.KindMemberAdded
	}
	if r.Leg == proxy.LegVendor {
		r.Socket = protocol.SocketID(user)
		if s.seats--; joined {
			s.seats += 2
		}
		if r.Kind, r.Count = proxy.KindUnsubscribed, s.seats; joined {
			r.Kind = proxy.KindSubscribed
		}
	}
	s.add(r)
}

// relayed has a relayed client do what webhooks of a type tell of.
func (s *staging) relayed(f *report.Step) {
	switch kind := proxy.WebhookType(f.Text); kind {
	case proxy.WebhookCacheMiss:
		s.add(proxy.Record{Kind: proxy.KindCacheMiss, At: f.At, Leg: proxy.LegVendor, Socket: "1.1"})
	case proxy.WebhookClientEvent:
		ev := s.clientEvent(f.At)
		ev.UserID = f.User
		s.add(proxy.Record{Kind: proxy.KindPublished, At: f.At, Leg: proxy.LegVendor, Event: ev})
	case proxy.WebhookChannelOccupied, proxy.WebhookMemberAdded:
		s.member(string(proxy.LegVendor), f.User, true, f.At)
		if s.exhibit.Event != f.Text {
			// The engine, which is to tell of the departure, knew that it came.
			s.add(engineTells(kind, f.User, f.At))
		}
	default:
		if s.seats == 0 {
			s.seats = 1 // it came before
		}
		s.member(string(proxy.LegVendor), f.User, false, f.At)
	}
}

// told has a leg tell by webhook; the engine by what would make it do so.
func (s *staging) told(f *report.Step) {
	kind := proxy.WebhookType(f.Text)
	if proxy.Leg(f.Leg) == proxy.LegVendor || kind == proxy.WebhookClientEvent {
		s.add(proxy.Record{
			Kind: proxy.KindWebhook, At: f.At, Leg: proxy.Leg(f.Leg), Action: f.Text, UserID: f.User, Event: s.clientEvent(f.At),
		})
		return
	}
	s.add(engineTells(kind, f.User, f.At))
}

func engineTells(kind proxy.WebhookType, user string, at time.Time) proxy.Record {
	r := proxy.Record{At: at, Leg: proxy.LegEngine, UserID: user}
	switch kind {
	case proxy.WebhookChannelOccupied:
		r.Kind = proxy.KindOccupied
	case proxy.WebhookChannelVacated:
		r.Kind, r.At = proxy.KindVacated, at.Add(-leaveDelay)
	case proxy.WebhookMemberAdded:
		r.Kind = proxy.KindMemberAdded
	case proxy.WebhookMemberRemoved:
		r.Kind, r.At = proxy.KindMemberRemoved, at.Add(-leaveDelay)
	default:
		r.Kind = proxy.KindCacheMiss
	}
	return r
}

// leaveDelay is how long after a departure a webhook tells of it.
const leaveDelay = 3 * time.Second

// clientEvent stands in for a client event, of which an exhibit of webhooks
// holds nothing but that there was one.
func (s *staging) clientEvent(at time.Time) *proxy.Event {
	return &proxy.Event{Topic: s.topic, Name: "client-event", Data: []byte("{}"), Publisher: proxy.ByClient, Socket: "1.1", At: at}
}
