package webhooks

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// there returns a record of the vendor's.
func there(r proxy.Record) proxy.Record {
	r.Leg, r.At = proxy.LegVendor, time.Now()
	if r.From.IsZero() {
		r.From = r.At
	}
	return r
}

func (r *rig) merge(records ...proxy.Record) {
	r.t.Helper()
	for i := range records {
		records[i] = there(records[i])
	}
	if err := r.outbox.Merge(r.t.Context(), records); err != nil {
		r.t.Errorf("Merge: %v", err)
	}
}

func after(d time.Duration) func(*rig) { return func(*rig) { time.Sleep(d) } }

func engine(records ...proxy.Record) func(*rig) { return func(r *rig) { r.offer(records...) } }

func vendor(records ...proxy.Record) func(*rig) { return func(r *rig) { r.merge(records...) } }

// late is a webhook that says what happened a while ago.
func late(ago time.Duration, record proxy.Record) func(*rig) {
	return func(r *rig) {
		record.From = time.Now().Add(-ago)
		r.merge(record)
	}
}

func snapshotOf(occupied ...protocol.ChannelName) func(*rig) {
	return func(r *rig) {
		members := map[protocol.ChannelName][]string{}
		for _, channel := range occupied {
			if channel.Kind() == protocol.Presence {
				members[channel] = []string{"7"}
			}
		}
		if err := r.outbox.Adopt(r.t.Context(), "1", time.Now(), occupied, members); err != nil {
			r.t.Error(err)
		}
	}
}

// TestMerge: a receiver is told of each true change once, whatever either
// side says of it.
func TestMerge(t *testing.T) {
	const room = "presence-room"
	for name, tc := range map[string]struct {
		steps []func(*rig)
		want  []string
		// shared is what is told beside other nodes, where that differs; alone
		// says that nodes know nothing of it.
		shared []string
		alone  bool
	}{
		"a tap at the vendor follows the engine's subscribers": {
			[]func(*rig){
				engine(occupied("1", "x")), vendor(occupied("1", "x")), after(time.Minute),
				engine(vacated("1", "x")), after(3500 * time.Millisecond), vendor(vacated("1", "x")),
			},
			[]string{"channel_occupied x", "channel_vacated x"},
			nil, false,
		},
		"the tap's departure comes after receivers were told": {
			[]func(*rig){
				engine(occupied("1", "x")), after(time.Second), vendor(occupied("1", "x")), after(time.Second),
				engine(vacated("1", "x")), after(9 * time.Second), vendor(vacated("1", "x")), after(9 * time.Second), vendor(vacated("1", "x")),
			},
			[]string{"channel_occupied x", "channel_vacated x"},
			nil, false,
		},
		"a tap whose arrival was never heard of leaves": {
			[]func(*rig){
				vendor(occupied("1", "y")),
				engine(occupied("1", "x")), after(time.Second), engine(vacated("1", "x")), after(4 * time.Second), vendor(vacated("1", "x")),
			},
			[]string{"channel_occupied y", "channel_occupied x", "channel_vacated x"},
			nil, false,
		},
		"a straggler stays at the vendor": {
			[]func(*rig){
				engine(occupied("1", "x")), vendor(occupied("1", "x")), engine(vacated("1", "x")), after(time.Hour),
				engine(occupied("1", "x")), after(time.Hour), vendor(vacated("1", "x")), after(time.Hour), engine(vacated("1", "x")),
			},
			[]string{"channel_occupied x", "channel_vacated x"},
			nil, false,
		},
		"a client moves, without the vendor's patience": {
			[]func(*rig){
				vendor(occupied("1", room), added("1", room, "7")), after(time.Minute),
				vendor(left("1", room, "7"), vacated("1", room)), after(time.Second), engine(occupied("1", room), added("1", room, "7")), after(time.Minute),
				engine(left("1", room, "7"), vacated("1", room)), after(time.Second), vendor(occupied("1", room), added("1", room, "7")),
			},
			[]string{"channel_occupied " + room, "member_added " + room},
			nil, false,
		},
		"a user is there as long as on either side": {
			[]func(*rig){
				engine(added("1", room, "7")), vendor(added("1", room, "7"), added("1", room, "8")), after(time.Minute),
				engine(left("1", room, "7")), after(time.Minute), vendor(left("1", room, "7")),
			},
			[]string{"member_added " + room, "member_added " + room, "member_removed " + room},
			nil, false,
		},
		"the vendor's webhooks overtake each other": {
			[]func(*rig){
				vendor(vacated("1", "x")), late(time.Second, occupied("1", "x")), after(time.Minute),
				vendor(occupied("1", "y")), late(time.Second, vacated("1", "y")),
			},
			[]string{"channel_vacated x", "channel_occupied y"},
			[]string{"channel_occupied y"}, false, // nobody was told that x is occupied
		},
		"what the vendor has is there after a restart, what the engine had is not": {
			[]func(*rig){
				vendor(occupied("1", "x")), engine(occupied("1", "x"), occupied("1", "y")), vendor(occupied("1", "z")), after(time.Second), vendor(vacated("1", "z")),
				after(time.Second), (*rig).restart, after(time.Minute), vendor(vacated("1", "x")),
			},
			[]string{"channel_occupied x", "channel_occupied y", "channel_occupied z", "channel_vacated y", "channel_vacated z", "channel_vacated x"},
			nil, true,
		},
		"counts are the sum": {
			[]func(*rig){
				engine(proxy.Record{Kind: proxy.KindSubscriptionCount, Topic: topic("1", "x"), Count: 2}), after(time.Second),
				vendor(proxy.Record{Kind: proxy.KindSubscriptionCount, Topic: topic("1", "x"), Count: 3}), after(time.Second),
				vendor(proxy.Record{Kind: proxy.KindSubscriptionCount, Topic: topic("1", "x"), Count: 3}), after(time.Second),
				engine(proxy.Record{Kind: proxy.KindSubscriptionCount, Topic: topic("1", "x"), Count: 0}),
			},
			[]string{"subscription_count x 2", "subscription_count x 5", "subscription_count x 3"},
			nil, true,
		},
		"one cache miss, seen by the tap as well": {
			[]func(*rig){
				engine(proxy.Record{Kind: proxy.KindCacheMiss, Topic: topic("1", "cache-x")}), after(500 * time.Millisecond),
				vendor(proxy.Record{Kind: proxy.KindCacheMiss, Topic: topic("1", "cache-x")}),
			},
			[]string{"cache_miss cache-x"},
			nil, false,
		},
		"the first snapshot is known, and later ones make up for losses": {
			[]func(*rig){
				snapshotOf("x", room), after(time.Minute), engine(occupied("1", "x")), snapshotOf("x", room, "lost"), after(time.Minute),
				engine(vacated("1", "x")), after(time.Minute), snapshotOf("x"),
			},
			[]string{"channel_occupied lost", "channel_vacated lost", "member_removed " + room, "channel_vacated " + room},
			nil, false,
		},
		"a snapshot does not know what was heard since it was asked for": {
			[]func(*rig){
				snapshotOf(), vendor(occupied("1", "x")), snapshotOf(), after(time.Minute), snapshotOf(),
			},
			[]string{"channel_occupied x", "channel_vacated x"},
			nil, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				toldAfter(t, newRig(t, newApp("1", everything("http://app.example/hooks"))), tc.steps, tc.want)
			})
			if tc.alone {
				return
			}
			want := tc.want
			if tc.shared != nil {
				want = tc.shared
			}
			synctest.Test(t, func(t *testing.T) {
				toldAfter(t, newSharedRig(t, newApp("1", everything("http://app.example/hooks"))), tc.steps, want)
			})
		})
	}
}

// toldAfter takes steps, and compares what the receiver was told with what it
// is to be told.
func toldAfter(t *testing.T, r *rig, steps []func(*rig), want []string) {
	t.Helper()
	var got []string
	for _, step := range steps {
		step(r)
		got = append(got, described(r.got())...)
	}
	time.Sleep(time.Minute)
	if got = append(got, described(r.got())...); !slices.Equal(byChannel(got), byChannel(want)) {
		t.Errorf("told %q, want %q (shared: %t)", got, want, r.shared != nil)
	}
	r.stop()
}

// byChannel sorts what was told by channel, each one's in its order: requests
// about different channels are on their way at the same time.
func byChannel(told []string) []string {
	return slices.SortedStableFunc(slices.Values(told), func(a, b string) int {
		return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1])
	})
}

func described(all []delivered) (list []string) {
	for _, d := range all {
		for _, e := range d.Events {
			text := e["name"].(string) + " " + e["channel"].(string)
			if n, ok := e["subscription_count"]; ok {
				text += " " + string(rune('0'+int(n.(float64))))
			}
			list = append(list, text)
		}
	}
	return list
}

// TestPass: what the vendor signed arrives as it was, and the vendor is told
// how that went.
func TestPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		existence := proxy.Webhook{URL: "http://one.example/hooks", Events: []proxy.WebhookType{proxy.WebhookChannelOccupied, proxy.WebhookChannelVacated}}
		members := proxy.Webhook{URL: "http://two.example/hooks", Events: []proxy.WebhookType{proxy.WebhookMemberAdded}}
		app := newApp("1", existence, members)
		r := newRig(t, app)
		synctest.Wait()
		header := http.Header{"X-Pusher-Key": {"k"}, "X-Pusher-Signature": {"s"}, "Content-Type": {"application/json"}}
		body := `{ "time_ms": 1, "events": [ {"name":"channel_occupied", "channel":"x"} ] }`
		pass := func(records ...proxy.Record) int {
			t.Helper()
			for i := range records {
				records[i] = there(records[i])
			}
			status, err := r.outbox.Pass(t.Context(), app, header, []byte(body), records)
			if err != nil {
				t.Fatal(err)
			}
			return status
		}
		r.receiver.behave(status(http.StatusServiceUnavailable))
		if got := pass(occupied("1", "x")); got != http.StatusServiceUnavailable {
			t.Errorf("the receiver's answer came as %d", got)
		}
		r.receiver.behave(nil)
		if got := pass(occupied("1", "x")); got != http.StatusOK {
			t.Errorf("the receiver's answer came as %d", got)
		}
		for i, d := range r.got() {
			if d.raw != body || d.header.Get("X-Pusher-Signature") != "s" || d.header.Get("X-Pusher-Key") != "k" || d.host != "one.example" {
				t.Errorf("request %d: %s to %s with %v", i, d.raw, d.host, d.header)
			}
		}
		// Receivers know of x, and who comes next is told so.
		r.offer(occupied("1", "x"))
		r.merge(vacated("1", "x"))
		time.Sleep(time.Minute)
		r.offer(vacated("1", "x"))
		time.Sleep(time.Minute)
		if got := names(r.got()); !slices.Equal(got, []string{"channel_vacated x"}) {
			t.Errorf("told %q after what was passed on", got)
		}
		pass(occupied("1", "y"))
		pass(vacated("1", "y"))
		r.got()
		r.merge(vacated("1", "y"))
		time.Sleep(time.Minute)
		if got := r.got(); len(got) != 0 {
			t.Errorf("told %q of what was passed on", names(got))
		}
		r.stop()
	})
}
