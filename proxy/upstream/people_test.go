package upstream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const room = "presence-room"

// members lists a presence channel's users at a server.
func (s *server) members(channel string) string {
	s.t.Helper()
	ids, err := s.engine.Users(s.t.Context(), proxy.Topic{App: "1", Channel: protocol.ChannelName(channel)})
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// same waits until both sides have these members.
func (r *rig) same(want string) {
	r.t.Helper()
	eventually(r.t, "members "+want, func() bool {
		return r.gateway.members(room) == want && r.vendor.members(room) == want
	})
}

func TestMembersAreTheSameOnBothSides(t *testing.T) {
	r := open(t, proxy.StageCutover)
	here := map[string]*client{}
	join := func(addr, user string) *client {
		c := dial(t, addr, query)
		c.subscribe(room, user)
		return c
	}
	here["1"], here["2"] = join(r.gateway.addr, "1"), join(r.gateway.addr, "2")
	// Nobody is at the vendor: one ghost is enough to see that.
	eventually(t, "one ghost", func() bool { return len(r.vendor.engine.Connections("1")) == 1 && r.vendor.members(room) != "" })
	there := join(r.vendor.addr, "9")
	here["1"].await("pusher_internal:member_added") // 2
	added := here["1"].await("pusher_internal:member_added")
	if got := added.Get("data").String(); got != `{"user_id":"9","user_info":{}}` && got != `{"user_id":"9"}` {
		t.Errorf("told of %s", got)
	}
	r.same("1 2 9")
	here["3"] = join(r.gateway.addr, "3")
	r.same("1 2 3 9")
	// Events cross, each once, and a client event bears the name of its user.
	everybody := []*client{here["1"], here["2"], here["3"], there}
	for addr, name := range map[string]string{r.vendor.addr: "v", r.gateway.addr: "g"} {
		publish(t, addr, room, name, "1")
		for _, c := range everybody {
			c.only(name, "1")
		}
	}
	here["2"].send(fmt.Sprintf(`{"event":"client-e","channel":%q,"data":"3"}`, room))
	for _, c := range []*client{here["1"], here["3"], there} {
		if f := c.await("client-e"); f.Get("user_id").String() != "2" || f.Get("data").String() != "3" {
			t.Errorf("got %s", f.Raw)
		}
	}
	there.send(fmt.Sprintf(`{"event":"client-back","channel":%q,"data":"4"}`, room))
	here["2"].only("client-back", "4") // and nothing of its own
	if f := here["1"].await("client-back"); f.Get("user_id").String() != "9" {
		t.Errorf("here: %s", f.Raw)
	}
	// One of two goes, and one who is on both sides.
	here["2"].ws.Close()
	r.same("1 3 9")
	both := join(r.vendor.addr, "3")
	r.same("1 3 9")
	here["3"].ws.Close()
	r.same("1 3 9")
	both.ws.Close()
	r.same("1 9")
	there.ws.Close()
	r.same("1")
	here["1"].ws.Close()
	r.same("")
	eventually(t, "no ghost is left", func() bool {
		return len(r.vendor.engine.Connections("1")) == 0 && len(r.gateway.engine.Connections("1")) == 0
	})
}

// TestGhostsGoWithTheStage: when an app is the vendor's again nothing of the
// bridge is left on either side.
func TestGhostsGoWithTheStage(t *testing.T) {
	r := open(t, proxy.StageCutover)
	there := dial(t, r.vendor.addr, query)
	there.subscribe(room, "9")
	c := dial(t, r.gateway.addr, query)
	c.subscribe(room, "1")
	r.same("1 9")
	r.move(proxy.StageObserve)
	comesBack(t, first(c.closed()))
	eventually(t, "only the one who stayed", func() bool {
		return r.vendor.members(room) == "9" && len(r.vendor.engine.Connections("1")) == 1 && len(r.gateway.engine.Connections("1")) == 0
	})
	c = dial(t, r.gateway.addr, query)
	c.subscribe(room, "1")
	if got := r.vendor.members(room); got != "1 9" {
		t.Errorf("members %s", got)
	}
}

func first(code int, _ string) int { return code }
