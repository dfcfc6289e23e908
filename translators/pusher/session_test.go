package pusher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/pusher"
	"github.com/offramp/offramp/translators/translatortest"
)

// scripted is a server whose answers a test chooses.
type scripted struct {
	http http.HandlerFunc      // the API; nil: everything is accepted
	ws   func(*websocket.Conn) // a tap's connection

	mu       sync.Mutex
	requests []string // bodies
}

func (s *scripted) start(t *testing.T) peer {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return peer{addr: strings.TrimPrefix(server.URL, "http://")}
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/app/") {
		upgrader := websocket.Upgrader{}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		s.ws(conn)
		return
	}
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	if r.Method == http.MethodPost {
		s.requests = append(s.requests, string(body))
	}
	s.mu.Unlock()
	if s.http != nil && r.Method == http.MethodPost {
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		s.http(w, r)
		return
	}
	_, _ = io.WriteString(w, "{}")
}

func open(t *testing.T, role proxy.Role, settings translators.Settings) translators.Session {
	t.Helper()
	return translatortest.Open(t, pusher.New(), role, settings)
}

func TestPublishTellsWhatTheAPIMeans(t *testing.T) {
	status := func(code int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			http.Error(w, "because", code)
		}
	}
	oneBad := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"bad"`) {
			http.Error(w, "Invalid event", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, "{}")
	}
	three := []translators.Envelope{translatortest.Item(1, "a", "1"), translatortest.Item(2, "a", "bad"), translatortest.Item(3, "a", "3")}
	for name, tc := range map[string]struct {
		answer   http.HandlerFunc
		batch    []translators.Envelope
		want     string
		requests int
	}{
		"all is well":                           {nil, three, "OK OK OK", 1},
		"credentials are refused":               {status(http.StatusUnauthorized), three, "REJECTED_AUTH REJECTED_AUTH REJECTED_AUTH", 1},
		"over quota":                            {status(http.StatusForbidden), three[:1], "REJECTED_AUTH", 1},
		"too many requests":                     {status(http.StatusTooManyRequests, "Retry-After", "2"), three[:1], "THROTTLED", 1},
		"too large":                             {status(http.StatusRequestEntityTooLarge), three[:1], "REJECTED_SIZE", 1},
		"one that the API minds is found":       {oneBad, three, "OK UNSUPPORTED OK", 4},
		"a failing server stops what is behind": {status(http.StatusBadGateway), repeat(25, "a"), strings.TrimSpace(strings.Repeat("TRANSIENT ", 25)), 1},
		"more than ten are several requests":    {nil, repeat(25, "a"), strings.TrimSpace(strings.Repeat("OK ", 25)), 3},
		"a user's events go alone":              {nil, []translators.Envelope{translatortest.Item(1, "#server-to-user-7", "1"), translatortest.Item(2, "a", "2"), translatortest.Item(3, "a", "3")}, "OK OK OK", 2},
		"a refusal hidden behind status 200": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"error":"The payload size is too big.","code":413}`)
		}, three[:1], "REJECTED_SIZE", 1},
	} {
		t.Run(name, func(t *testing.T) {
			server := &scripted{http: tc.answer}
			s := open(t, proxy.RoleMirror, server.start(t).settings())
			results := s.Publish(t.Context(), tc.batch)
			if got := translatortest.Codes(results); got != tc.want {
				t.Errorf("results %s, want %s", got, tc.want)
			}
			if len(server.requests) != tc.requests {
				t.Errorf("%d requests, want %d", len(server.requests), tc.requests)
			}
			for _, r := range results {
				if strings.Contains(r.Detail, "auth_signature") {
					t.Errorf("the signed URL is shown: %s", r.Detail)
				}
				if r.Code == translators.CodeThrottled && r.RetryAfter != 2*time.Second {
					t.Errorf("retry after %v, want what the API asked for", r.RetryAfter)
				}
			}
		})
	}
}

func repeat(n int, channel string) []translators.Envelope {
	var items []translators.Envelope
	for i := range n {
		items = append(items, translatortest.Item(uint64(i+1), channel, "x"))
	}
	return items
}

func TestPublishRefusesWhatTheOtherSideWould(t *testing.T) {
	server := &scripted{}
	settings := server.start(t).settings()
	settings["event_bytes"], settings["channel_name_length"] = 5, 10
	s := open(t, proxy.RoleMirror, settings)
	alter := func(change func(*translators.Envelope)) translators.Envelope {
		e := translatortest.Item(1, "a", "x")
		change(&e)
		return e
	}
	for name, tc := range map[string]struct {
		item translators.Envelope
		want translators.Code
	}{
		"data of the largest size":   {translatortest.Item(1, "a", "12345"), translators.CodeOK},
		"data that is too large":     {translatortest.Item(1, "a", "123456"), translators.CodeRejectedSize},
		"a name that is too long":    {translatortest.Item(1, "elevenchars", "x"), translators.CodeRejectedName},
		"a name with a space":        {translatortest.Item(1, "a b", "x"), translators.CodeRejectedName},
		"no event name":              {alter(func(e *translators.Envelope) { e.Event = "" }), translators.CodeRejectedName},
		"a long event name":          {alter(func(e *translators.Envelope) { e.Event = strings.Repeat("e", 201) }), translators.CodeRejectedName},
		"data that is not text":      {translatortest.Item(1, "a", "\xff"), translators.CodeUnsupported},
		"a member's arrival":         {alter(func(e *translators.Envelope) { e.Kind = translators.KindPresenceJoin }), translators.CodeUnsupported},
		"a deadline that has passed": {alter(func(e *translators.Envelope) { e.Deadline = time.Now() }), translators.CodeExpired},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.Publish(t.Context(), []translators.Envelope{tc.item}); got[0].Code != tc.want {
				t.Errorf("answered %s (%s), want %s", got[0].Code, got[0].Detail, tc.want)
			}
		})
	}
}

func TestRateIsKeptAndToldApart(t *testing.T) {
	server := &scripted{}
	settings := server.start(t).settings()
	settings["publishes_per_second"] = 10
	s := open(t, proxy.RoleMirror, settings)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	got := translatortest.Codes(s.Publish(ctx, repeat(30, "a")))
	if want := strings.TrimSpace(strings.Repeat("OK ", 10) + strings.Repeat("THROTTLED ", 20)); got != want {
		t.Errorf("results %s, want %s", got, want)
	}
}

// hello is what a server says first.
const hello = `{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\",\"activity_timeout\":120}"}`

// confirm answers subscriptions until the connection ends.
func confirm(conn *websocket.Conn) {
	for {
		var f struct {
			Event string `json:"event"`
			Data  struct {
				Channel string `json:"channel"`
			} `json:"data"`
		}
		if conn.ReadJSON(&f) != nil {
			return
		}
		if f.Event == "pusher:subscribe" {
			_ = conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil,
				`{"event":"pusher_internal:subscription_succeeded","channel":%q,"data":"{}"}`, f.Data.Channel))
		}
	}
}

func TestTap(t *testing.T) {
	t.Run("a connection that ends is a hole, told from when something was last heard", func(t *testing.T) {
		cut := make(chan struct{}, 1)
		server := &scripted{ws: func(conn *websocket.Conn) {
			_ = conn.WriteMessage(websocket.TextMessage, []byte(hello))
			go func() {
				<-cut
				_ = conn.Close()
			}()
			confirm(conn)
		}}
		s := open(t, proxy.RoleShadow, server.start(t).settings())
		w := &translatortest.Watcher{}
		stop, err := s.(translators.Subscriber).Subscribe(t.Context(), "private-a", w)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		before := time.Now()
		cut <- struct{}{}
		translatortest.WaitFor(t, "the reconnection", func() bool { return len(w.Told()) == 2 })
		states := w.Told()
		if states[0].State != translators.StateDetached || states[1].State != translators.StateAttached || states[0].From.After(before) {
			t.Errorf("told %+v, want DETACHED from before %v and ATTACHED", states, before)
		}
		cut <- struct{}{}
	})

	for name, refusal := range map[string]string{
		"a subscription error": `{"event":"pusher:subscription_error","channel":"private-a","data":{"type":"AuthError","error":"no such luck","status":401}}`,
		"an error in words":    `{"event":"pusher:error","data":{"code":null,"message":"no such luck: private-a"}}`,
	} {
		t.Run("a refused subscription: "+name, func(t *testing.T) {
			server := &scripted{ws: func(conn *websocket.Conn) {
				_ = conn.WriteMessage(websocket.TextMessage, []byte(hello))
				_, _, _ = conn.ReadMessage()
				_ = conn.WriteMessage(websocket.TextMessage, []byte(refusal))
				_, _, _ = conn.ReadMessage()
			}}
			s := open(t, proxy.RoleShadow, server.start(t).settings())
			_, err := s.(translators.Subscriber).Subscribe(t.Context(), "private-a", &translatortest.Watcher{})
			if err == nil || !strings.Contains(err.Error(), "no such luck") {
				t.Errorf("Subscribe: %v, want what the server said", err)
			}
		})
	}

	t.Run("a presence channel without a user id for the tap", func(t *testing.T) {
		settings := (&scripted{}).start(t).settings()
		delete(settings, "tap_user_id")
		s := open(t, proxy.RoleShadow, settings)
		_, err := s.(translators.Subscriber).Subscribe(t.Context(), "presence-a", &translatortest.Watcher{})
		if err == nil || !strings.Contains(err.Error(), "settings.tap_user_id") {
			t.Errorf("Subscribe: %v, want the setting's name", err)
		}
	})

	t.Run("a session that is closed leaves nothing behind", func(t *testing.T) {
		server := &scripted{ws: func(conn *websocket.Conn) {
			_ = conn.WriteMessage(websocket.TextMessage, []byte(hello))
			confirm(conn)
		}}
		p := server.start(t)
		before := goleak.IgnoreCurrent()
		s := open(t, proxy.RoleShadow, p.settings())
		if _, err := s.(translators.Subscriber).Subscribe(t.Context(), "a", &translatortest.Watcher{}); err != nil {
			t.Fatal(err)
		}
		s.Publish(t.Context(), repeat(3, "a"))
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		goleak.VerifyNone(t, before)
	})
}

func TestBridgeExcludesItsTap(t *testing.T) {
	p := secondOfframp(t)
	bridge := open(t, proxy.RoleBridge, p.settings())
	other := open(t, proxy.RoleMirror, p.settings())
	w := &translatortest.Watcher{}
	stop, err := bridge.(translators.Subscriber).Subscribe(t.Context(), "private-a", w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, s := range []translators.Session{bridge, other} {
		data := fmt.Sprint(s == other)
		if got := translatortest.Codes(s.Publish(t.Context(), []translators.Envelope{translatortest.Item(1, "private-a", data)})); got != "OK" {
			t.Fatalf("results %s", got)
		}
	}
	translatortest.WaitFor(t, "the foreign event", func() bool { return len(w.Delivered()) > 0 })
	if items := w.Delivered(); string(items[0].Data) != "true" {
		t.Errorf("first was delivered %q: the bridge's own", items[0].Data)
	}
}

func TestRequestsSayWhatTheyCameThrough(t *testing.T) {
	var via []string
	s := &scripted{}
	s.http = func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		via = append(via, r.Header.Get("CDN-Loop"))
		_, _ = io.WriteString(w, "{}")
	}
	session := open(t, proxy.RoleBridge, s.start(t).settings())
	near, far := translatortest.Item(1, "private-a", "1"), translatortest.Item(2, "private-a", "2")
	near.Origin, near.Hops, far.Origin, far.Hops = "offramp-1", 1, "offramp-2", 3
	sealed := translatortest.Item(3, "private-encrypted-a", "3")
	sealed.Origin, sealed.Hops = "offramp-1", 2
	for _, batch := range [][]translators.Envelope{{near, far}, {sealed}} {
		if got := translatortest.Codes(session.Publish(t.Context(), batch)); strings.Trim(got, "OK ") != "" {
			t.Fatalf("results %s", got)
		}
	}
	if want := []string{"offramp-2;hops=3", "offramp-1;hops=2"}; !slices.Equal(via, want) {
		t.Errorf("requests came through %q, want %q", via, want)
	}
}

func TestQuery(t *testing.T) {
	for name, start := range map[string]func(*testing.T) peer{"a second Offramp": secondOfframp, "soketi": soketi} {
		t.Run(name, func(t *testing.T) {
			s := open(t, proxy.RoleShadow, start(t).settings())
			q := s.(translators.Querier)
			if o, err := q.Query(t.Context(), "presence-a"); err != nil || o.Occupied {
				t.Errorf("an empty channel: %+v, %v", o, err)
			}
			stop, err := s.(translators.Subscriber).Subscribe(t.Context(), "presence-a", &translatortest.Watcher{})
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			o, err := q.Query(t.Context(), "presence-a")
			if err != nil || !o.Occupied || len(o.Members) != 1 || o.Members[0].UserID != "offramp-tap" {
				t.Errorf("a channel with the tap on it: %+v, %v", o, err)
			}
		})
	}
}

func TestOpenSaysWhatToChange(t *testing.T) {
	good := (&scripted{}).start(t).settings()
	with := func(changes translators.Settings) translators.Settings {
		s := translators.Settings{}
		for _, from := range []translators.Settings{good, changes} {
			for name, value := range from {
				s[name] = value
			}
		}
		return s
	}
	gateway := secondOfframp(t).settings()
	gateway["secret"] = proxy.NewSecret("wrong-one")
	for name, tc := range map[string]struct {
		settings translators.Settings
		want     string
	}{
		"no settings":              {translators.Settings{}, "settings.app_id: is required"},
		"neither host nor cluster": {with(translators.Settings{"host": ""}), "settings.host: set either this"},
		"both host and cluster":    {with(translators.Settings{"cluster": "eu"}), "settings.host: set either this"},
		"a host that is a URL":     {with(translators.Settings{"host": "http://x/"}), "settings.host: is \"http://x/\"; it must be a name"},
		"too large a batch":        {with(translators.Settings{"batch": 11}), "settings.batch: is 11; it must be at most 10"},
		"no server there":          {with(translators.Settings{"host": "127.0.0.1:1"}), "ask 127.0.0.1:1 about app " + harness.AppID},
		"a wrong secret":           {gateway, "are settings app_id, key, secret and host right?"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pusher.New().Open(t.Context(), translators.Binding{App: "app", Settings: tc.settings, Log: zerolog.Nop()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: %v, want %q in it", err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), "wrong-one") || strings.Contains(err.Error(), "auth_signature")) {
				t.Errorf("the error shows the secret or a signed URL: %v", err)
			}
			var problems translators.Problems
			if strings.HasPrefix(tc.want, "settings.") && !errors.As(err, &problems) {
				t.Errorf("Open: %T, want translators.Problems", err)
			}
		})
	}
}

func TestDescriptionIsInOrder(t *testing.T) {
	d := pusher.New().Describe()
	if err := d.Check(); err != nil {
		t.Error(err)
	}
	if _, err := json.Marshal(d.Settings); err != nil {
		t.Error(err)
	}
}
