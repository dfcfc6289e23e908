package upstream_test

import (
	"fmt"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

func TestStateIsThatOfBothSides(t *testing.T) {
	r := open(t, proxy.StageMirror)
	moved := route.Request{App: "1", Channels: "*moved-*", Stage: proxy.StageCutover, Who: "test"}
	if _, err := r.router.Set(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	here, there := dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
	here.subscribe("moved-a", "")
	here.subscribe(room, "1")
	there.subscribe(room, "2")
	there.subscribe("only-there", "")
	for _, c := range []*client{here, there, dial(t, r.vendor.addr, query)} {
		c.subscribe("moved-b", "")
	}
	there.subscribe("moved-c", "")
	here.subscribe("presence-moved-e", "1")
	there.subscribe("presence-moved-e", "2")
	eventually(t, "both have both", func() bool {
		return r.vendor.state("presence-moved-e").UserCount == 2 && r.gateway.state("presence-moved-e").UserCount == 2
	})
	eventually(t, "tapped", func() bool { return r.vendor.state("moved-a").Occupied })
	tests := map[string]struct{ path, params, want string }{
		"a channel that is here":            {"/apps/1/channels/moved-a", "&info=subscription_count", `{"occupied":true,"subscription_count":1}`},
		"one that both sides have":          {"/apps/1/channels/moved-b", "&info=subscription_count", `{"occupied":true,"subscription_count":3}`},
		"one that only stragglers have":     {"/apps/1/channels/moved-c", "", `{"occupied":true}`},
		"one that nobody has":               {"/apps/1/channels/moved-d", "", `{"occupied":false}`},
		"a room of both sides":              {"/apps/1/channels/presence-moved-e", "&info=user_count,subscription_count", `{"occupied":true,"user_count":2,"subscription_count":2}`},
		"its users there":                   {"/apps/1/channels/presence-moved-e/users", "", `{"users":[{"id":"1"},{"id":"2"}]}`},
		"a presence channel there":          {"/apps/1/channels/" + room, "&info=user_count,subscription_count", `{"occupied":true,"user_count":2,"subscription_count":2}`},
		"its users":                         {"/apps/1/channels/" + room + "/users", "", `{"users":[{"id":"2"},{"id":"1"}]}`},
		"all channels":                      {"/apps/1/channels", "", `{"channels":{"moved-a":{},"moved-b":{},"moved-c":{},"only-there":{},"presence-moved-e":{},"presence-room":{}}}`},
		"presence channels and their users": {"/apps/1/channels", "&filter_by_prefix=presence-&info=user_count", `{"channels":{"presence-moved-e":{"user_count":2},"presence-room":{"user_count":2}}}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			status, body := call(t, r.gateway.addr, "GET", tc.path, tc.params, "")
			other := `{"users":[{"id":"1"},{"id":"2"}]}`
			if status != 200 || body != tc.want && (tc.path != "/apps/1/channels/"+room+"/users" || body != other) {
				t.Errorf("%d %s, want %s", status, body, tc.want)
			}
		})
	}
	t.Run("a signature that is wrong", func(t *testing.T) {
		for _, path := range []string{"/apps/1/channels", "/apps/1/channels/" + room, "/apps/1/channels/moved-a"} {
			if status, body := request(t, r.gateway.addr, "GET", path+"?auth_key="+key, ""); status != 401 {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	})
	t.Run("the vendor is down", func(t *testing.T) {
		r.vendor.stop()
		if status, body := call(t, r.gateway.addr, "GET", "/apps/1/channels/"+room, "", ""); status != 502 {
			t.Errorf("its own channel: %d %s", status, body)
		}
		if status, body := call(t, r.gateway.addr, "GET", "/apps/1/channels/moved-a", "", ""); status != 200 {
			t.Errorf("one that is here: %d %s", status, body)
		}
		if status, body := call(t, r.gateway.addr, "GET", "/apps/1/channels", "", ""); status != 200 {
			t.Errorf("the list: %d %s", status, body)
		}
	})
}

func TestAUserIsTerminatedOnBothSides(t *testing.T) {
	r := open(t, proxy.StageCutover)
	clients := []*client{dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)}
	for _, c := range clients {
		user := `{"id":"u"}`
		c.send(fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":"%s:%s","user_data":%q}}`, key, protocol.Sign(secret, protocol.UserString(c.id, user)), user))
		c.await("pusher:signin_success")
	}
	if status, body := call(t, r.gateway.addr, "POST", "/apps/1/users/u/terminate_connections", "", "{}"); status != 200 || body != "{}" {
		t.Fatalf("%d %s", status, body)
	}
	for _, c := range clients {
		if code, _ := c.closed(); code != 4009 {
			t.Errorf("closed with %d", code)
		}
	}
}
