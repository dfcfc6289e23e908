package capture

import (
	"fmt"
	"slices"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Format names the version of the file format.
const Format = "offramp.capture/v1"

// header is the first line.
type header struct {
	Format   string    `json:"format"`
	Redacted bool      `json:"redacted"`
	Began    time.Time `json:"began"`
	App      *appLine  `json:"app,omitempty"`
}

// appLine is what of an app decides which legs its channels have.
type appLine struct {
	ID       string        `json:"id"`
	Stage    proxy.Stage   `json:"stage"`
	Upstream bool          `json:"upstream,omitempty"` // it has one; which is nobody's business here
	Rules    []ruleLine    `json:"rules,omitempty"`
	Backends []backendLine `json:"backends,omitempty"`
}

type ruleLine struct {
	Channels string      `json:"channels"`
	Stage    proxy.Stage `json:"stage"`
}

type backendLine struct {
	Name     string     `json:"name"`
	Role     proxy.Role `json:"role"`
	Channels []string   `json:"channels"`
	Sample   float64    `json:"sample"`
}

func describe(app *proxy.App) *appLine {
	if app == nil {
		return nil
	}
	l := &appLine{ID: app.ID, Stage: app.Stage, Upstream: app.Upstream != nil}
	for _, r := range app.Rules {
		l.Rules = append(l.Rules, ruleLine{Channels: r.Channels, Stage: r.Stage})
	}
	for _, b := range app.Backends {
		l.Backends = append(l.Backends, backendLine{Name: b.Name, Role: b.Role, Channels: b.Channels, Sample: b.Sample})
	}
	return l
}

func (l *appLine) app() *proxy.App {
	app := proxy.Defaults()
	app.ID, app.Stage = l.ID, l.Stage
	if l.Upstream {
		app.Upstream = new(proxy.Upstream)
	}
	for _, r := range l.Rules {
		app.Rules = append(app.Rules, proxy.Rule{Channels: r.Channels, Stage: r.Stage})
	}
	for _, b := range l.Backends {
		app.Backends = append(app.Backends, proxy.Backend{Name: b.Name, Role: b.Role, Channels: b.Channels, Sample: b.Sample})
	}
	return &app
}

// line is one record. Times are Unix nanoseconds.
type line struct {
	Kind    string `json:"k"`
	At      int64  `json:"t"`
	From    int64  `json:"from,omitempty"`
	Leg     string `json:"leg,omitempty"`
	App     string `json:"app,omitempty"`
	Channel string `json:"ch,omitempty"`
	Socket  string `json:"sock,omitempty"`
	User    string `json:"user,omitempty"`
	Count   int    `json:"n,omitempty"`
	Code    int    `json:"code,omitempty"`
	Action  string `json:"act,omitempty"`
	Text    string `json:"text,omitempty"`
	Library string `json:"lib,omitempty"` // of the client
	Version string `json:"ver,omitempty"` // of the library
	Event   *event `json:"ev,omitempty"`
}

type event struct {
	Node      uint64 `json:"node,omitempty"`
	Seq       uint64 `json:"seq,omitempty"`
	Name      string `json:"name"`
	Data      []byte `json:"data"`
	Except    string `json:"except,omitempty"`
	User      string `json:"user,omitempty"`
	Socket    string `json:"sock,omitempty"`
	Publisher uint8  `json:"by,omitempty"`
	Caller    string `json:"caller,omitempty"` // key and User-Agent
	Origin    string `json:"origin,omitempty"`
	At        int64  `json:"at,omitempty"`
}

// encode turns a record into its line. base anchors monotonic clock readings,
// so that the file's times keep their distances even if the wall clock jumps.
func encode(r *proxy.Record, base time.Time) line {
	nanos := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return base.UnixNano() + int64(t.Sub(base))
	}
	l := line{
		Kind: r.Kind.String(), At: nanos(r.At), From: nanos(r.From), Leg: string(r.Leg), App: r.Topic.App, Channel: string(r.Topic.Channel),
		Socket: string(r.Socket), User: r.UserID, Count: r.Count, Code: r.Code, Action: r.Action, Text: r.Text,
	}
	if c := r.Client; c != nil {
		l.Library, l.Version = c.Library, c.Version
	}
	if ev := r.Event; ev != nil {
		l.Event = &event{
			Node: ev.ID.Node, Seq: ev.ID.Seq, Name: ev.Name, Data: ev.Data, Except: string(ev.Except), User: ev.UserID,
			Socket: string(ev.Socket), Publisher: uint8(ev.Publisher), Caller: ev.By, Origin: string(ev.Origin), At: nanos(ev.At),
		}
	}
	return l
}

// kindOf returns the kind of a name.
func kindOf(name string) (proxy.Kind, bool) {
	for k := proxy.Kind(0); proxy.AllKinds.Has(k); k++ {
		if k.String() == name {
			return k, true
		}
	}
	return 0, false
}

func (l *line) decode() (proxy.Record, error) {
	kind, ok := kindOf(l.Kind)
	if !ok {
		return proxy.Record{}, fmt.Errorf("unknown kind of record %q", l.Kind)
	}
	at := func(nanos int64) time.Time {
		if nanos == 0 {
			return time.Time{}
		}
		return time.Unix(0, nanos).UTC()
	}
	r := proxy.Record{
		Kind: kind, At: at(l.At), From: at(l.From), Leg: proxy.Leg(l.Leg),
		Topic:  proxy.Topic{App: l.App, Channel: protocol.ChannelName(l.Channel)},
		Socket: protocol.SocketID(l.Socket), UserID: l.User, Count: l.Count, Code: l.Code, Action: l.Action, Text: l.Text,
	}
	if l.Library != "" || l.Version != "" {
		r.Client = &proxy.Client{Library: l.Library, Version: l.Version}
	}
	if ev := l.Event; ev != nil {
		r.Event = &proxy.Event{
			ID: proxy.EventID{Node: ev.Node, Seq: ev.Seq}, Topic: r.Topic, Name: ev.Name, Data: slices.Clone(ev.Data),
			Except: protocol.SocketID(ev.Except), UserID: ev.User, Socket: protocol.SocketID(ev.Socket),
			Publisher: proxy.Publisher(ev.Publisher), By: ev.Caller, Origin: proxy.Leg(ev.Origin), At: at(ev.At),
		}
	}
	return r, nil
}
