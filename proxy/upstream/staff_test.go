package upstream_test

import (
	"fmt"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

// signin signs the client in as a user.
func (c *client) signin(user string) {
	c.t.Helper()
	data := fmt.Sprintf(`{"id":%q}`, user)
	c.send(fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":"%s:%s","user_data":%q}}`, key, protocol.Sign(secret, protocol.UserString(c.id, data)), data))
	c.await("pusher:signin_success")
}

// TestStaffAreServedByTheEngineAtMirror, on all their channels, also on those
// that they asked for before they had signed in; everybody else is not, and
// they hear and see each other.
func TestStaffAreServedByTheEngineAtMirror(t *testing.T) {
	r := open(t, proxy.StageMirror)
	staff, other, there := dial(t, r.gateway.addr, query), dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
	staff.subscribe("private-before", "")
	there.subscribe("presence-room", "outsider")
	if r.gateway.state("private-before").Occupied {
		t.Fatal("somebody unknown is served by the engine")
	}
	staff.signin("staff")
	other.signin("other")
	eventually(t, "the engine's", func() bool { return r.gateway.state("private-before").SubscriptionCount == 1 })
	staff.await("pusher_internal:subscription_succeeded") // once more
	staff.subscribe("private-after", "")
	staff.subscribe("presence-room", "staff")
	there.await("pusher_internal:member_added") // staff, by a ghost
	other.subscribe("private-after", "")
	other.subscribe("private-before", "")
	there.subscribe("private-before", "")
	if n := r.gateway.state("private-after").SubscriptionCount; n != 1 {
		t.Errorf("%d of the engine's subscribers, want staff alone", n)
	}
	eventually(t, "the vendor's", func() bool {
		return r.vendor.state("private-before").SubscriptionCount == 3 && r.gateway.state("presence-room").UserCount == 2
	})
	publish(t, r.gateway.addr, "private-before", "g", "1")
	publish(t, r.vendor.addr, "private-before", "v", "2")
	for _, c := range []*client{staff, other, there} {
		c.only("g", "1")
		c.only("v", "2")
	}
	staff.send(`{"event":"client-s","channel":"private-before","data":"3"}`)
	other.only("client-s", "3")
	there.only("client-s", "3")
	other.send(`{"event":"client-o","channel":"private-before","data":"4"}`)
	staff.only("client-o", "4")
	there.only("client-o", "4")
	// They stay when nothing moves.
	publish(t, r.gateway.addr, "private-before", "end", "5")
	staff.only("end", "5")
}

// TestWhatIsSentToAUserReachesBothSides: by send_to_user through the gateway,
// and terminating the user's connections ends them on both.
func TestWhatIsSentToAUserReachesBothSides(t *testing.T) {
	r := open(t, proxy.StageMirror)
	if _, err := r.router.Set(t.Context(), route.Request{App: "1", Channels: "#server-to-user-*", Stage: proxy.StageCutover, Who: "test"}); err != nil {
		t.Fatal(err)
	}
	here, there := dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
	for _, c := range []*client{here, there} {
		c.signin("u")
		c.subscribe("#server-to-user-u", "")
	}
	publish(t, r.gateway.addr, "#server-to-user-u", "mine", "1")
	here.only("mine", "1")
	there.only("mine", "1")
	if status, text := call(t, r.gateway.addr, "POST", "/apps/1/users/u/terminate_connections", "", "{}"); status != 200 {
		t.Fatal(text)
	}
	for _, c := range []*client{here, there} {
		if code, _ := c.closed(); code != 4009 {
			t.Errorf("closed with %d", code)
		}
	}
}
