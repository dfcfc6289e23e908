package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tidwall/gjson"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/backend/memory"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/httpapi"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/tap"
)

const (
	testKey    = "278d425bdf160c739803"
	testSecret = "7ad3773142a6692b25b8"
	frozen     = 1353088179 // the clock of the vendor's signature vectors
)

func testApp() *proxy.App {
	app := proxy.Defaults()
	app.ID = "3"
	app.Credentials = []proxy.Credential{{Key: testKey, Secret: proxy.NewSecret(testSecret)}}
	app.SubscriptionCounting = true
	app.ClientEvents = true
	return &app
}

// gateway is the API on a real engine, at a frozen time.
type gateway struct {
	t      *testing.T
	app    *proxy.App
	engine *engine.Engine
	api    *httpapi.API
	seen   *records
}

// open returns a running gateway of app, changed by edit, and of the other
// apps.
func open(t *testing.T, edit func(*proxy.App), others ...*proxy.App) *gateway {
	t.Helper()
	app := testApp()
	if edit != nil {
		edit(app)
	}
	registry, err := apps.New(append([]*proxy.App{app}, others...))
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, app: app, seen: &records{}}
	g.engine = engine.New(engine.Settings{Node: 7, Apps: registry.ByID, Broker: memory.NewBroker(), Presence: memory.NewPresence(), Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	g.api = httpapi.New(httpapi.Settings{
		Apps: registry, Engine: g.engine, Now: func() time.Time { return time.Unix(frozen, 0) }, Log: zerolog.Nop(),
		Tap: tap.New(tap.Watcher{Name: "test", Sink: g.seen, Kinds: proxy.KindsOf(proxy.KindRefused)}),
	})
	return g
}

type records struct {
	mu  sync.Mutex
	all []proxy.Record
}

func (r *records) Offer(rec proxy.Record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
	return true
}

// answer is what a caller sees.
type answer struct {
	status      int
	body        string
	contentType string
	header      *fasthttp.ResponseHeader
}

// raw sends a request exactly as given.
func (g *gateway) raw(method, target, body string) answer {
	return handle(g.api, method, target, body)
}

func handle(api *httpapi.API, method, target, body string) answer {
	var ctx fasthttp.RequestCtx
	var req fasthttp.Request
	req.Header.SetMethod(method)
	req.Header.SetRequestURI(target)
	req.SetBodyString(body)
	ctx.Init(&req, nil, nil)
	api.Handler(&ctx)
	header := &ctx.Response.Header
	return answer{ctx.Response.StatusCode(), string(ctx.Response.Body()), string(header.ContentType()), header}
}

// do sends a correctly signed request. query holds further parameters,
// "k=v&k=v", escaped as they go over the wire.
func (g *gateway) do(method, path, query, body string) answer {
	return g.raw(method, sign(method, path, query, body), body)
}

func (g *gateway) post(path, body string) answer { return g.do("POST", path, "", body) }
func (g *gateway) get(path, query string) answer { return g.do("GET", path, query, "") }

// sign returns the target of a request signed with the test credential.
func sign(method, path, query, body string) string {
	params := "auth_key=" + testKey + "&auth_timestamp=" + strconv.Itoa(frozen) + "&auth_version=1.0"
	if query != "" {
		params += "&" + query
	}
	if body != "" {
		params += "&body_md5=" + protocol.BodyMD5([]byte(body))
	}
	return seal(testSecret, method, path, params)
}

// seal appends the signature of the decoded parameters.
func seal(secret, method, path, params string) string {
	signed := path
	if decoded, err := url.PathUnescape(path); err == nil {
		signed = decoded
	}
	return path + "?" + params + "&auth_signature=" + protocol.Sign(secret, protocol.RequestString(method, signed, protocol.ParseQuery(params)))
}

// socket is a client of the engine.
type socket struct {
	t      *testing.T
	conn   *engine.Conn
	frames chan []byte
	closed chan int
}

var _ engine.Outlet = (*socket)(nil)

func (s *socket) Send(b *fanout.Batch, from int) bool {
	for i := from; i < b.Len(); i++ {
		select {
		case s.frames <- bytes.Clone(b.Payload(i)):
		default:
			return false
		}
	}
	return true
}

func (s *socket) Close(code int, _ string) {
	select {
	case s.closed <- code:
	default:
	}
}

func (g *gateway) connect() *socket {
	g.t.Helper()
	s := &socket{t: g.t, frames: make(chan []byte, 1000), closed: make(chan int, 1)}
	var refused *protocol.Error
	if s.conn, refused = g.engine.Connect(g.app, proxy.Client{Protocol: 7}, s); refused != nil {
		g.t.Fatal(refused)
	}
	return s
}

// join subscribes to a channel; on a presence channel as userID.
func (s *socket) join(channel, userID string) *socket {
	s.t.Helper()
	data := `{"channel":` + strconv.Quote(channel)
	if name := protocol.ChannelName(channel); name.NeedsAuth() {
		var channelData *string
		if name.Kind() == protocol.Presence {
			text := `{"user_id":` + strconv.Quote(userID) + `}`
			channelData = &text
			data += `,"channel_data":` + strconv.Quote(text)
		}
		data += `,"auth":"` + testKey + ":" + protocol.Sign(testSecret, protocol.ChannelString(s.conn.SocketID(), name, channelData)) + `"`
	}
	s.conn.Handle([]byte(`{"event":"pusher:subscribe","data":` + data + `}}`))
	s.await("pusher_internal:subscription_succeeded")
	return s
}

func (s *socket) signin(userID string) *socket {
	s.t.Helper()
	user := `{"id":` + strconv.Quote(userID) + `}`
	auth := testKey + ":" + protocol.Sign(testSecret, protocol.UserString(s.conn.SocketID(), user))
	s.conn.Handle([]byte(`{"event":"pusher:signin","data":{"auth":"` + auth + `","user_data":` + strconv.Quote(user) + `}}`))
	s.await("pusher:signin_success")
	return s
}

// await returns the next frame of that event name.
func (s *socket) await(event string) []byte {
	s.t.Helper()
	for {
		if frame := s.next(); gjson.GetBytes(frame, "event").String() == event {
			return frame
		}
	}
}

// awaitPublished returns the next frame that is no part of the protocol.
func (s *socket) awaitPublished() []byte {
	s.t.Helper()
	for {
		if frame := s.next(); !strings.HasPrefix(gjson.GetBytes(frame, "event").String(), "pusher") {
			return frame
		}
	}
}

func (s *socket) next() []byte {
	s.t.Helper()
	select {
	case frame := <-s.frames:
		return frame
	case <-time.After(5 * time.Second):
		s.t.Fatal("no frame came")
		return nil
	}
}

// events returns the frames of published events up to the one named "end",
// in short form: event, channel, data.
func (g *gateway) events(s *socket, channel string) []string {
	g.t.Helper()
	if a := g.post("/apps/3/events", fmt.Sprintf(`{"name":"end","channel":%q,"data":""}`, channel)); a.status != 200 {
		g.t.Fatalf("publish the end: %d %s", a.status, a.body)
	}
	var got []string
	for {
		frame := gjson.ParseBytes(s.next())
		switch name := frame.Get("event").String(); {
		case name == "end":
			return got
		case !strings.HasPrefix(name, "pusher"):
			got = append(got, short([]byte(frame.Raw)))
		}
	}
}

// short returns a frame as "event channel data".
func short(frame []byte) string {
	f := gjson.ParseBytes(frame)
	return f.Get("event").String() + " " + f.Get("channel").String() + " " + f.Get("data").String()
}

// check compares an answer's status and body.
func check(t *testing.T, got answer, status int, body string) {
	t.Helper()
	if got.status != status || got.body != body {
		t.Errorf("got %d %q, want %d %q", got.status, got.body, status, body)
	}
}
