package upstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// TestAConfirmedClientHearsBothSides: what is published straight at the vendor
// right after the first client here was confirmed on a channel reaches it.
func TestAConfirmedClientHearsBothSides(t *testing.T) {
	r := open(t, proxy.StageCutover)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("warm", "")
	eventually(t, "the bridge is open", func() bool { return r.vendor.state("warm").Occupied })
	for i := range 50 {
		channel := fmt.Sprint("private-", i)
		c.subscribe(channel, "")
		publish(t, r.vendor.addr, channel, "e", fmt.Sprint(i))
		c.only("e", fmt.Sprint(i))
	}
}

// TestAConfirmedMemberHearsBothSides: the same on presence channels, also for
// what the vendor's clients say, and with the user's info at both sides.
func TestAConfirmedMemberHearsBothSides(t *testing.T) {
	r := open(t, proxy.StageCutover)
	c, there := dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
	c.subscribe("warm", "")
	eventually(t, "the bridge is open", func() bool { return r.vendor.state("warm").Occupied })
	for i := range 30 {
		channel := fmt.Sprint("presence-", i)
		there.subscribe(channel, "2")
		c.subscribe(channel, "1")
		publish(t, r.vendor.addr, channel, "e", fmt.Sprint(i))
		c.only("e", fmt.Sprint(i))
		if i < 5 { // the vendor takes no more than 10 in a second
			there.send(fmt.Sprintf(`{"event":"client-e","channel":%q,"data":"%d"}`, channel, i))
			c.only("client-e", fmt.Sprint(i))
		}
	}
	c.send(c.subscription("presence-no", "") + " ") // refused: it has no user
	c.await("pusher:error")
	c.ws.Close()
	eventually(t, "nobody is shown at the vendor any more", func() bool {
		for i := range 30 {
			members, err := r.vendor.engine.Members(t.Context(), proxy.Topic{App: "1", Channel: protocol.ChannelName(fmt.Sprint("presence-", i))})
			if err != nil || len(members) != 1 {
				return false
			}
		}
		return !r.vendor.state("presence-no").Occupied
	})
}

// TestAClientDoesNotWaitForAVendorThatIsAway: one waits once, for a second,
// and no other after it.
func TestAClientDoesNotWaitForAVendorThatIsAway(t *testing.T) {
	r, w := openWired(t, proxy.StageCutover)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("warm", "")
	eventually(t, "the bridge is open", func() bool { return r.vendor.state("warm").Occupied })
	w.cut()
	started := time.Now()
	for i := range 60 { // a minute, if each waited
		c.subscribe(fmt.Sprint("channel-", i), "")
	}
	if took := time.Since(started); took > 30*time.Second {
		t.Errorf("60 subscriptions took %v", took)
	}
}
