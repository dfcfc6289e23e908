package upstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
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
