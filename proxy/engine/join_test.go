package engine

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

func TestManySubscriptionsOfOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{})
		c := n.dial()
		for i := range 500 {
			c.subscribe(fmt.Sprintf("c%d", i), "")
		}
		for i, got := range c.take() {
			want := fmt.Sprintf(`{"event":"pusher_internal:subscription_succeeded","channel":"c%d","data":"{}"}`, i)
			if got != want {
				t.Fatalf("frame %d = %s, want %s", i, got, want)
			}
		}
		if got := n.Stats(testApp); got.Subscriptions != 500 || got.Channels != 500 {
			t.Errorf("Stats = %+v, want 500 of each", got)
		}
		for i := range 500 {
			n.publish(fmt.Sprintf("c%d", i), "e", "{}")
		}
		synctest.Wait()
		if got := c.take(); len(got) != 500 {
			t.Errorf("got %d events, want 500", len(got))
		}
		for i := range 250 {
			c.unsubscribe(fmt.Sprintf("c%d", 2*i))
		}
		c.unsubscribe("c0")
		if got := c.take(); len(got) != 1 || !strings.Contains(got[0], "No current subscription") {
			t.Errorf("got %q, want one error", got)
		}
		c.conn.Close(1000, "")
		if got := n.Stats(testApp); got.Subscriptions != 0 || got.Channels != 0 {
			t.Errorf("Stats = %+v after the end, want 0 of each", got)
		}
	})
}

func TestPresenceLimits(t *testing.T) {
	full := func(n *node) {
		for i := range 100 {
			n.dial().subscribe("presence-a", fmt.Sprintf(`{"user_id":"%d"}`, i))
		}
	}
	for name, tc := range map[string]struct {
		before func(*node)
		member string
		want   string // error text; empty: joins
	}{
		"the 100th user":                     {before: func(n *node) { n.change(func(a *proxy.App) { a.Limits.PresenceMembers = 1 }) }, member: `{"user_id":"x"}`},
		"the 101st user":                     {before: full, member: `{"user_id":"x"}`, want: "Presence channel presence-a is full: at most 100 members"},
		"a second socket of a user":          {before: full, member: `{"user_id":"1"}`},
		"an id of 128 characters":            {member: `{"user_id":"` + strings.Repeat("ä", 128) + `"}`},
		"an id of 129 characters":            {member: `{"user_id":"` + strings.Repeat("x", 129) + `"}`, want: "Invalid channel_data for subscription to presence-a: user_id must have at most 128 characters"},
		"a user object of 1024 bytes":        {member: `{"user_id":"7","user_info":{"x":"` + strings.Repeat("x", 1024-36) + `"}}`},
		"a user object of more":              {member: `{"user_id":"7","user_info":{"x":"` + strings.Repeat("x", 1024-35) + `"}}`, want: "Invalid channel_data for subscription to presence-a: it has 1025 bytes, at most 1024 are allowed"},
		"an empty id":                        {member: `{"user_id":""}`, want: "Invalid channel_data for subscription to presence-a: user_id must not be empty"},
		"an id that is neither":              {member: `{"user_id":true}`, want: "Invalid channel_data for subscription to presence-a: it must have a user_id"},
		"channel_data that is not an object": {member: `[1]`, want: "Invalid channel_data for subscription to presence-a: it must be a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := run(t, nodeSettings{})
				if tc.before != nil {
					tc.before(n)
				}
				synctest.Wait()
				before, _ := n.Users(t.Context(), n.topic("presence-a"))
				c := n.dial()
				c.subscribe("presence-a", tc.member)
				got := c.take()
				if tc.want == "" {
					if !succeeded(got) {
						t.Errorf("got %q, want a confirmation", got)
					}
					return
				}
				if !hasError(got, protocol.CodeNone, tc.want) {
					t.Errorf("got %q, want the error %q", got, tc.want)
				}
				if after, _ := n.Users(t.Context(), n.topic("presence-a")); len(after) != len(before) {
					t.Errorf("%d users after, %d before", len(after), len(before))
				}
				if code, _ := c.closed(); code != 0 {
					t.Errorf("closed with %d", code)
				}
			})
		})
	}
}

func TestSubscriptionCountIsToldSparinglyAbove100(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{app: func(a *proxy.App) { a.SubscriptionCounting = true }})
		watcher := n.dial()
		watcher.subscribe("c", "")
		for range 149 {
			n.dial().subscribe("c", "")
		}
		time.Sleep(time.Minute)
		if got := lastCount(t, watcher.take()); got != 150 {
			t.Fatalf("last count = %d, want 150", got)
		}
		time.Sleep(20 * time.Second)
		if got := watcher.take(); len(got) != 0 {
			t.Errorf("without a change: %q", got)
		}
		for range 10 {
			n.dial().subscribe("c", "")
			time.Sleep(100 * time.Millisecond)
		}
		if got := n.counts.len(); got != 1 {
			t.Errorf("%d counts are filed for one channel", got)
		}
		time.Sleep(3 * time.Second)
		if got := watcher.take(); len(got) != 1 {
			t.Errorf("within 4 s of ten joins: %d counts, want 1", len(got))
		}
		time.Sleep(time.Minute)
		if got := watcher.take(); len(got) != 1 || lastCount(t, got) != 160 {
			t.Errorf("then %q, want one count of 160", got)
		}
	})
}

func TestSubscriptionCountUpTo100IsToldEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{app: func(a *proxy.App) { a.SubscriptionCounting = true }})
		watcher := n.dial()
		watcher.subscribe("c", "")
		var others []*client
		for range 100 {
			c := n.dial()
			c.subscribe("c", "")
			others = append(others, c)
		}
		synctest.Wait()
		if got := watcher.take(); len(got) != 102 || lastCount(t, got) != 101 {
			t.Errorf("%d frames, last count %d; want a confirmation and 101 counts", len(got), lastCount(t, got))
		}
		others[0].unsubscribe("c")
		others[1].conn.Close(1000, "")
		synctest.Wait()
		if got := watcher.take(); len(got) != 2 || lastCount(t, got) != 99 {
			t.Errorf("after two have left: %q, want counts of 100 and 99", got)
		}
	})
}

func lastCount(t *testing.T, frames []string) int {
	t.Helper()
	if len(frames) == 0 {
		return -1
	}
	f := parse(t, frames[len(frames)-1])
	var data struct {
		Count int `json:"subscription_count"`
	}
	f.data(t, &data)
	return data.Count
}

// TestAConfirmedClientIsExcluded: a client may publish with its socket id the
// moment it is confirmed, and is not sent that itself.
func TestAConfirmedClientIsExcluded(t *testing.T) {
	n := run(t, nodeSettings{})
	seen := &watchedOutlet{client: client{n: n}}
	seen.see = func(frame string) {
		if strings.Contains(frame, "subscription_succeeded") && n.excepted(n.tenant(testApp).find("private-a"), seen.conn.SocketID()) == nil {
			t.Error("confirmed, and what it publishes would come back")
		}
		seen.confirmed = seen.confirmed || strings.Contains(frame, "subscription_succeeded")
	}
	conn, refused := n.Connect(n.app.Load(), proxy.Client{Key: testKey, Protocol: 7}, seen)
	if refused != nil {
		t.Fatal(refused)
	}
	seen.conn = conn
	seen.subscribe("private-a", "")
	if !seen.confirmed {
		t.Error("not confirmed")
	}
}

// watchedOutlet sees frames on the goroutine that sends them.
type watchedOutlet struct {
	client
	see       func(frame string)
	confirmed bool
}

func (o *watchedOutlet) Send(b *fanout.Batch, from int) bool {
	for i := from; i < b.Len(); i++ {
		o.see(string(b.Payload(i)))
	}
	return o.client.Send(b, from)
}
