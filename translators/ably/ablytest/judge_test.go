package ablytest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ably/ably-go/ably"

	"github.com/offramp/offramp/translators/ably/ablytest"
)

// These tests let Ably's own Go library judge the stand-in.

func start(t *testing.T, o ablytest.Options) *ablytest.Server {
	t.Helper()
	server, err := ablytest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func options(server *ablytest.Server, more ...ably.ClientOption) []ably.ClientOption {
	return append([]ably.ClientOption{
		ably.WithKey(server.Key()), ably.WithUseTokenAuth(true), ably.WithTLS(false), ably.WithRESTHost(server.Addr()),
		ably.WithRealtimeHost(server.Addr()), ably.WithDefaultTokenParams(ably.TokenParams{ClientID: "*"}), ably.WithLogLevel(ably.LogNone),
		ably.WithDisconnectedRetryTimeout(100 * time.Millisecond), ably.WithAutoConnect(false),
	}, more...)
}

func realtime(t *testing.T, server *ablytest.Server, more ...ably.ClientOption) *ably.Realtime {
	t.Helper()
	client, err := ably.NewRealtime(options(server, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	reached := make(chan struct{}, 1)
	off := client.Connection.On(ably.ConnectionEventConnected, func(ably.ConnectionStateChange) { reached <- struct{}{} })
	defer off()
	client.Connect()
	t.Cleanup(client.Close)
	select {
	case <-reached:
	case <-time.After(10 * time.Second):
		t.Fatal("not connected")
	}
	return client
}

func rest(t *testing.T, server *ablytest.Server, more ...ably.ClientOption) *ably.REST {
	t.Helper()
	client, err := ably.NewREST(options(server, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func wantCode(t *testing.T, err error, code ably.ErrorCode) {
	t.Helper()
	info, ok := errors.AsType[*ably.ErrorInfo](err)
	if !ok || info.Code != code {
		t.Errorf("answered %v, want code %d", err, code)
	}
}

func TestAblyGo(t *testing.T) {
	for _, binary := range []bool{true, false} {
		encoding := ably.WithUseBinaryProtocol(binary)
		t.Run(fmt.Sprintf("binary=%v/messages pass between encodings", binary), func(t *testing.T) {
			server := start(t, ablytest.Options{})
			a, b := realtime(t, server, encoding), realtime(t, server, ably.WithUseBinaryProtocol(!binary))
			got := make(chan *ably.Message, 10)
			if _, err := b.Channels.Get("c").SubscribeAll(t.Context(), func(m *ably.Message) { got <- m }); err != nil {
				t.Fatal(err)
			}
			if err := a.Channels.Get("c").Publish(t.Context(), "text", "h\u00e9llo"); err != nil {
				t.Fatal(err)
			}
			if m := next(t, got, "text"); m.Name != "text" || m.Data != "h\u00e9llo" || m.ConnectionID != a.Connection.ID() || m.Timestamp == 0 {
				t.Errorf("got %+v", m)
			}
			if err := rest(t, server, encoding).Channels.Get("c").Publish(t.Context(), "binary", []byte{0, 255}); err != nil {
				t.Fatal(err)
			}
			m := next(t, got, "binary")
			// The library undoes neither base64 nor its own idea of raw strings.
			if raw := fmt.Sprintf("%s", m.Data); raw != "\x00\xff" && (raw != "AP8=" || m.Encoding != "base64") {
				t.Errorf("got %#v, encoding %q", m.Data, m.Encoding)
			}
		})
		t.Run(fmt.Sprintf("binary=%v/members are synchronised", binary), func(t *testing.T) {
			server := start(t, ablytest.Options{MembersPerChannel: 2})
			a, b := realtime(t, server, encoding), realtime(t, server, encoding)
			presence := a.Channels.Get("c").Presence
			for _, user := range []string{"u", "v"} {
				if err := presence.EnterClient(t.Context(), user, "info of "+user); err != nil {
					t.Fatal(err)
				}
			}
			wantCode(t, presence.EnterClient(t.Context(), "w", ""), 91003)
			members, err := b.Channels.Get("c").Presence.Get(t.Context())
			if err != nil || len(members) != 2 || members[0].Data != "info of "+members[0].ClientID {
				t.Errorf("members %v, %v", members, err)
			}
			left := make(chan *ably.PresenceMessage, 2)
			if _, err := b.Channels.Get("c").Presence.Subscribe(t.Context(), ably.PresenceActionLeave,
				func(m *ably.PresenceMessage) { left <- m }); err != nil {
				t.Fatal(err)
			}
			a.Close()
			if who := next(t, left, "a leave").ClientID + next(t, left, "another").ClientID; who != "uv" && who != "vu" {
				t.Errorf("%s left, want u and v", who)
			}
		})
		t.Run(fmt.Sprintf("binary=%v/history is paged", binary), func(t *testing.T) {
			server := start(t, ablytest.Options{})
			channel := rest(t, server, encoding).Channels.Get("c")
			for i := range 5 {
				if err := channel.Publish(t.Context(), fmt.Sprint(i), map[string]int{"n": i}); err != nil {
					t.Fatal(err)
				}
			}
			pages, err := channel.History(ably.HistoryWithLimit(2)).Pages(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			names := ""
			for pages.Next(t.Context()) {
				for _, m := range pages.Items() {
					names += m.Name
				}
				names += " "
			}
			if names != "43 21 0 " || pages.Err() != nil {
				t.Errorf("pages %q, %v", names, pages.Err())
			}
		})
	}
}

func TestLimits(t *testing.T) {
	server := start(t, ablytest.Options{PublishesPerSecond: 3, ChannelsPerConnection: 2, MaxMessageSize: 2000})
	client := realtime(t, server)
	c := client.Channels.Get("c")
	var err error
	for range 4 {
		err = c.Publish(t.Context(), "e", "x")
	}
	wantCode(t, err, 42911)
	wantCode(t, client.Channels.Get("other").Publish(t.Context(), "e", string(make([]byte, 2001))), 40009)
	for i := range 2 {
		if err := client.Channels.Get(fmt.Sprint(i)).Attach(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, client.Channels.Get("2").Attach(t.Context()), 90010)
	server.Deny("denied")
	wantCode(t, client.Channels.Get("denied").Publish(t.Context(), "e", ""), 40160)
	if server.Publishes() != 3 || len(server.Messages("c")) != 3 {
		t.Errorf("%d publishes, %d messages, want 3 each", server.Publishes(), len(server.Messages("c")))
	}
}

func TestClientIDsOfMessages(t *testing.T) {
	server := start(t, ablytest.Options{})
	several := func(ids ...string) []*ably.Message {
		var all []*ably.Message
		for _, id := range ids {
			all = append(all, &ably.Message{ID: id, Name: "e", Data: "x"})
		}
		return all
	}
	for name, tc := range map[string]struct {
		messages []*ably.Message
		code     ably.ErrorCode
	}{
		"one id":            {several("a"), 0},
		"numbered ids":      {several("b:0", "b:1"), 0},
		"ids of two bases":  {several("c:0", "d:1"), 40031},
		"ids out of order":  {several("e:1", "e:0"), 40031},
		"only some have id": {several("f:0", ""), 40031},
	} {
		t.Run(name, func(t *testing.T) {
			err := rest(t, server).Channels.Get("c").PublishMultiple(t.Context(), tc.messages)
			if tc.code == 0 && err != nil {
				t.Error(err)
			}
			if tc.code != 0 {
				wantCode(t, err, tc.code)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	t.Run("a token outlives the server that made it", func(t *testing.T) {
		first := start(t, ablytest.Options{})
		token, err := rest(t, first).Auth.RequestToken(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		second := start(t, ablytest.Options{})
		client, err := ably.NewREST(ably.WithTokenDetails(token), ably.WithTLS(false), ably.WithRESTHost(second.Addr()), ably.WithLogLevel(ably.LogNone))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Channels.Get("c").Publish(t.Context(), "e", "x"); err != nil {
			t.Error(err)
		}
		second.ExpireTokens()
		wantCode(t, client.Channels.Get("c").Publish(t.Context(), "e", "x"), 40142)
	})
	t.Run("a connection gets a new token when its own expires", func(t *testing.T) {
		server := start(t, ablytest.Options{TokenTTL: 300 * time.Millisecond})
		client := realtime(t, server)
		again := make(chan struct{}, 10)
		client.Connection.On(ably.ConnectionEventConnected, func(ably.ConnectionStateChange) { again <- struct{}{} })
		next(t, again, "another connection")
	})
	t.Run("a request is good once", func(t *testing.T) {
		server := start(t, ablytest.Options{})
		client := rest(t, server)
		request, err := client.Auth.CreateTokenRequest(nil)
		if err != nil {
			t.Fatal(err)
		}
		use := func(r *ably.TokenRequest) error {
			_, err := client.Auth.RequestToken(context.Background(), nil, ably.AuthWithCallback(
				func(context.Context, ably.TokenParams) (ably.Tokener, error) { return r, nil }))
			return err
		}
		if err := use(request); err != nil {
			t.Fatal(err)
		}
		wantCode(t, use(request), 40105)
		forged := *request
		forged.Nonce, forged.Capability = "0123456789abcdef", `{"secret":["*"]}`
		wantCode(t, use(&forged), 40101)
	})
}
