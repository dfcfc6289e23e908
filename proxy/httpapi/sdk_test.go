package httpapi_test

import (
	"net"
	"testing"

	pusher "github.com/pusher/pusher-http-go/v5"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/httpapi"
)

// TestGoSDK lets the vendor's own Go library judge, over a real listener.
func TestGoSDK(t *testing.T) {
	g := open(t, nil)
	registry, err := apps.New([]*proxy.App{g.app})
	if err != nil {
		t.Fatal(err)
	}
	api := httpapi.New(httpapi.Settings{Apps: registry, Engine: g.engine, Log: zerolog.Nop()})
	client := &pusher.Client{AppID: "3", Key: testKey, Secret: testSecret, Host: listen(t, api)}
	t.Run("publishes", func(t *testing.T) { sdkPublishes(t, g, client) })
	t.Run("asks", func(t *testing.T) { sdkAsks(t, g, client) })
	t.Run("is refused", func(t *testing.T) { sdkRefused(t, *client) })
}

func listen(t *testing.T, api *httpapi.API) (host string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: api.Handler}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func sdkPublishes(t *testing.T, g *gateway, client *pusher.Client) {
	a, b := g.connect().join("c", "").join("presence-x", "1"), g.connect().join("c", "")
	if err := client.Trigger("c", "one", map[string]string{"hello": "world"}); err != nil {
		t.Error(err)
	}
	if err := client.TriggerExclusive("c", "two", "2", string(a.conn.SocketID())); err != nil {
		t.Error(err)
	}
	info := "user_count,subscription_count"
	got, err := client.TriggerMultiWithParams([]string{"c", "presence-x"}, "three", "3", pusher.TriggerParams{Info: &info})
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Channels["c"]; c.UserCount != nil || c.SubscriptionCount == nil || *c.SubscriptionCount != 2 {
		t.Errorf("info of c: %+v", c)
	}
	if x := got.Channels["presence-x"]; x.UserCount == nil || *x.UserCount != 1 {
		t.Errorf("info of presence-x: %+v", x)
	}
	batch, err := client.TriggerBatch([]pusher.Event{
		{Channel: "c", Name: "four", Data: "4", Info: &info}, {Channel: "c", Name: "five", Data: map[string]int{"n": 5}},
	})
	if err != nil || len(batch.Batch) != 2 || *batch.Batch[0].SubscriptionCount != 2 {
		t.Errorf("batch: %+v, %v", batch, err)
	}
	for _, want := range []string{`one c {"hello":"world"}`, "two c 2", "three c 3", "four c 4", `five c {"n":5}`} {
		if frame := short(b.awaitPublished()); frame != want {
			t.Errorf("delivered %q, want %q", frame, want)
		}
	}
}

func sdkAsks(t *testing.T, g *gateway, client *pusher.Client) {
	g.connect().join("presence-a=@,;", "1")
	g.connect().join("presence-a=@,;", "2")
	prefix, info := "presence-a", "user_count"
	channels, err := client.Channels(pusher.ChannelsParams{FilterByPrefix: &prefix, Info: &info})
	if err != nil || channels.Channels["presence-a=@,;"].UserCount != 2 {
		t.Errorf("Channels() = %+v, %v", channels, err)
	}
	info = "user_count,subscription_count"
	channel, err := client.Channel("presence-a=@,;", pusher.ChannelParams{Info: &info})
	if err != nil || !channel.Occupied || channel.UserCount != 2 || channel.SubscriptionCount != 2 {
		t.Errorf("Channel() = %+v, %v", channel, err)
	}
	users, err := client.GetChannelUsers("presence-a=@,;")
	if err != nil || len(users.List) != 2 || users.List[0].ID != "1" {
		t.Errorf("GetChannelUsers() = %+v, %v", users, err)
	}
	if err := client.SendToUser("u", "e", "1"); err != nil {
		t.Error(err)
	}
}

func sdkRefused(t *testing.T, client pusher.Client) {
	client.Secret = "wrong"
	err := client.Trigger("c", "e", "1")
	if err == nil {
		t.Error("a wrong secret is accepted")
	}
}
