package webhooks

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const hookURL = "http://hooks.test/in"

// cases runs each case in a bubble of its own, with one app "1" whose webhook
// asks for everything.
func cases(t *testing.T, all map[string]func(*testing.T, *rig)) {
	t.Helper()
	for name, run := range all {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, newRig(t, newApp("1", everything(hookURL)))) })
		})
	}
}

func wantNames(t *testing.T, got []delivered, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, names(got)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestOccupancy(t *testing.T) {
	cases(t, map[string]func(*testing.T, *rig){
		"T202 the first subscription is told, in the documented form": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "my-channel"))
			got := r.got()
			wantNames(t, got, "channel_occupied my-channel")
			d := got[0]
			if want := fmt.Sprintf(`{"time_ms":%d,"events":[{"name":"channel_occupied","channel":"my-channel"}]}`, d.at.UnixMilli()); d.raw != want {
				t.Errorf("body = %s, want %s", d.raw, want)
			}
			if ct := d.header["Content-Type"]; len(ct) != 1 || ct[0] != "application/json" {
				t.Errorf("Content-Type = %q, want exactly application/json", ct)
			}
			if key := d.header.Get("X-Pusher-Key"); key != "key-1" {
				t.Errorf("X-Pusher-Key = %q", key)
			}
			if sig := d.header.Get("X-Pusher-Signature"); !protocol.Verify("secret-1", d.raw, sig) {
				t.Errorf("X-Pusher-Signature = %q does not sign the body", sig)
			}
		},
		"T204 a further subscriber is not told": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "c"), proxy.Record{Kind: proxy.KindSubscribed, Topic: topic("1", "c")})
			wantNames(t, r.got(), "channel_occupied c")
		},
		"T205 last subscriber leaves and another joins within 3 s": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "c"))
			r.got()
			r.offer(vacated("1", "c"))
			time.Sleep(2999 * time.Millisecond)
			r.offer(occupied("1", "c"))
			time.Sleep(time.Minute)
			wantNames(t, r.got())
		},
		"T206 last subscriber leaves and nobody returns": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "c"))
			r.got()
			r.offer(vacated("1", "c"))
			time.Sleep(2999 * time.Millisecond)
			wantNames(t, r.got())
			time.Sleep(time.Millisecond)
			wantNames(t, r.got(), "channel_vacated c")
			time.Sleep(time.Minute)
			wantNames(t, r.got())
		},
		"a channel that flaps is vacated 3 s after its last departure": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "c"))
			for range 4 {
				r.offer(vacated("1", "c"))
				time.Sleep(2 * time.Second)
				r.offer(occupied("1", "c"))
			}
			r.offer(vacated("1", "c"))
			wantNames(t, r.got(), "channel_occupied c")
			time.Sleep(2999 * time.Millisecond)
			wantNames(t, r.got())
			time.Sleep(time.Millisecond)
			wantNames(t, r.got(), "channel_vacated c")
		},
		"a channel that is back after 3 s is told as vacated and occupied": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "c"), vacated("1", "c"))
			time.Sleep(3001 * time.Millisecond)
			r.offer(occupied("1", "c"))
			wantNames(t, r.got(), "channel_occupied c", "channel_vacated c", "channel_occupied c")
		},
		"a channel is joined and left at once": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "c"), vacated("1", "c"))
			time.Sleep(3 * time.Second)
			wantNames(t, r.got(), "channel_occupied c", "channel_vacated c")
		},
		"T207 a presence member is back within 3 s": func(t *testing.T, r *rig) {
			r.offer(added("1", "presence-a", "7"))
			r.got()
			r.offer(left("1", "presence-a", "7"))
			time.Sleep(time.Second)
			r.offer(added("1", "presence-a", "7"))
			time.Sleep(time.Minute)
			wantNames(t, r.got())
		},
		"T208 a presence user comes and goes": func(t *testing.T, r *rig) {
			r.offer(added("1", "presence-a", "7"), left("1", "presence-a", "7"))
			time.Sleep(3 * time.Second)
			got := r.got()
			want := []map[string]any{
				{"name": "member_added", "channel": "presence-a", "user_id": "7"},
				{"name": "member_removed", "channel": "presence-a", "user_id": "7"},
			}
			var events []map[string]any
			for _, d := range got {
				events = append(events, d.Events...)
			}
			if diff := cmp.Diff(want, events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		},
		"two members of a channel have their own delays": func(t *testing.T, r *rig) {
			r.offer(added("1", "presence-a", "7"), added("1", "presence-a", "8"))
			r.got()
			r.offer(left("1", "presence-a", "7"), left("1", "presence-a", "8"))
			time.Sleep(time.Second)
			r.offer(added("1", "presence-a", "8"))
			time.Sleep(time.Minute)
			got := r.got()
			wantNames(t, got, "member_removed presence-a")
			if user := got[0].Events[0]["user_id"]; user != "7" {
				t.Errorf("user_id = %v, want 7", user)
			}
		},
	})
}

func TestOtherEvents(t *testing.T) {
	event := func(t *testing.T, r *rig) map[string]any {
		t.Helper()
		got := r.got()
		if len(got) != 1 || len(got[0].Events) != 1 {
			t.Fatalf("got %v, want one event", names(got))
		}
		return got[0].Events[0]
	}
	cases(t, map[string]func(*testing.T, *rig){
		"T209 a client event on a presence channel": func(t *testing.T, r *rig) {
			r.offer(clientEvent("1", "presence-a", `{"who":"<Ann>"}`))
			want := map[string]any{
				"name": "client_event", "channel": "presence-a", "event": "client-typing",
				"data": `{"who":"<Ann>"}`, "socket_id": "1234.5678", "user_id": "7",
			}
			if diff := cmp.Diff(want, event(t, r)); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		},
		"T210 a client event on a private channel has no user_id": func(t *testing.T, r *rig) {
			r.offer(clientEvent("1", "private-a", `"hello"`))
			want := map[string]any{
				"name": "client_event", "channel": "private-a", "event": "client-typing",
				"data": `"hello"`, "socket_id": "1234.5678",
			}
			if diff := cmp.Diff(want, event(t, r)); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		},
		"an event of a server is not told": func(t *testing.T, r *rig) {
			record := clientEvent("1", "private-a", "{}")
			record.Event.Publisher = proxy.ByServer
			r.offer(record)
			wantNames(t, r.got())
		},
		"T211 two clients miss an empty cache channel together": func(t *testing.T, r *rig) {
			miss := proxy.Record{Kind: proxy.KindCacheMiss, Topic: topic("1", "cache-a"), Socket: "1.1"}
			r.offer(miss)
			time.Sleep(100 * time.Millisecond)
			r.offer(miss)
			wantNames(t, r.got(), "cache_miss cache-a")
			time.Sleep(time.Second)
			r.offer(miss, proxy.Record{Kind: proxy.KindCacheMiss, Topic: topic("1", "cache-b")})
			got := names(r.got())
			slices.Sort(got)
			if diff := cmp.Diff([]string{"cache_miss cache-a", "cache_miss cache-b"}, got); diff != "" {
				t.Errorf("later (-want +got):\n%s", diff)
			}
		},
		"T212 a subscription count": func(t *testing.T, r *rig) {
			r.offer(proxy.Record{Kind: proxy.KindSubscriptionCount, Topic: topic("1", "c"), Count: 3})
			want := map[string]any{"name": "subscription_count", "channel": "c", "subscription_count": float64(3)}
			if diff := cmp.Diff(want, event(t, r)); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		},
		"what the vendor serves is not told a second time": func(t *testing.T, r *rig) {
			r.outbox.Offer(proxy.Record{Kind: proxy.KindOccupied, Leg: proxy.LegVendor, Topic: topic("1", "c")})
			wantNames(t, r.got())
		},
	})
}

func TestOnlyEnabledTypesAreSent(t *testing.T) {
	records := []proxy.Record{
		occupied("1", "presence-cache-a"), added("1", "presence-cache-a", "7"), clientEvent("1", "presence-cache-a", "{}"),
		{Kind: proxy.KindCacheMiss, Topic: topic("1", "presence-cache-a")},
		{Kind: proxy.KindSubscriptionCount, Topic: topic("1", "presence-cache-a"), Count: 1},
		vacated("1", "presence-cache-a"), left("1", "presence-cache-a", "7"),
	}
	for _, typ := range proxy.WebhookTypes() {
		t.Run(string(typ), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newApp("1", proxy.Webhook{URL: hookURL, Events: []proxy.WebhookType{typ}}))
				r.offer(records...)
				time.Sleep(4 * time.Second)
				wantNames(t, r.got(), string(typ)+" presence-cache-a")
			})
		})
	}
}

func TestRetries(t *testing.T) {
	cases(t, map[string]func(*testing.T, *rig){
		"T213 receiver answers 500": func(t *testing.T, r *rig) {
			r.receiver.behave(status(500))
			start := time.Now()
			r.offer(occupied("1", "c"))
			time.Sleep(10 * time.Minute)
			got := r.got()
			if len(got) < 8 {
				t.Fatalf("%d tries, want about 11", len(got))
			}
			var gap time.Duration
			for i, d := range got[1:] {
				if d.raw != got[0].raw || d.header.Get("X-Pusher-Signature") != got[0].header.Get("X-Pusher-Signature") {
					t.Errorf("try %d has another body:\n%s\n%s", i+2, d.raw, got[0].raw)
				}
				next := d.at.Sub(got[i].at)
				last := i+2 == len(got)
				if next > lastRetry || next < gap && gap < lastRetry*3/4 && !last {
					t.Errorf("gap before try %d = %s after %s, want growing gaps of at most a minute", i+2, next, gap)
				}
				gap = next
			}
			if end := got[len(got)-1].at.Sub(start); end != giveUpAfter {
				t.Errorf("last try after %s, want %s", end, giveUpAfter)
			}
			dead, err := r.outbox.Dead(Filter{})
			if err != nil || len(dead) != 1 || dead[0].Attempts != len(got) || !strings.Contains(dead[0].Reason, "HTTP status 500") {
				t.Errorf("dead letters = %+v, %v", dead, err)
			}
		},
		"T214 receiver answers 204": func(t *testing.T, r *rig) {
			r.receiver.behave(status(http.StatusNoContent))
			r.offer(occupied("1", "c"))
			time.Sleep(10 * time.Minute)
			wantNames(t, r.got(), "channel_occupied c")
		},
		"T215 receiver answers after 5 s": func(t *testing.T, r *rig) {
			var tries atomic.Int32
			r.receiver.behave(func(http.ResponseWriter, delivered) {
				if tries.Add(1) == 1 {
					time.Sleep(5 * time.Second)
				}
			})
			start := time.Now()
			r.offer(occupied("1", "c"))
			time.Sleep(10 * time.Minute)
			got := r.got()
			wantNames(t, got, "channel_occupied c", "channel_occupied c")
			if d := got[1].at.Sub(start); d < attemptTimeout+firstRetry*3/4 || d > attemptTimeout+firstRetry {
				t.Errorf("second try after %s, want 4 s time limit and about 1 s", d)
			}
		},
		"a redirect is a failure and not followed": func(t *testing.T, r *rig) {
			r.receiver.behave(func(w http.ResponseWriter, _ delivered) {
				w.Header().Set("Location", "http://elsewhere.test/")
				w.WriteHeader(http.StatusTemporaryRedirect)
			})
			r.offer(occupied("1", "c"))
			time.Sleep(1500 * time.Millisecond)
			got := r.got()
			wantNames(t, got, "channel_occupied c", "channel_occupied c")
			for _, d := range got {
				if d.host != "hooks.test" {
					t.Errorf("request to %s", d.host)
				}
			}
		},
	})
}

func TestBatches(t *testing.T) {
	batch := everything(hookURL)
	batch.Batch = true
	fill := func(r *rig, app string, n int) {
		for i := range n {
			r.offer(occupied(app, fmt.Sprintf("c%02d", i)))
		}
	}
	t.Run("T216 batch on, 50 events at once of each of two apps", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, newApp("1", batch), newApp("2", batch))
			fill(r, "1", 50)
			fill(r, "2", 50)
			time.Sleep(batchWindow)
			count := map[string]int{}
			for _, d := range r.got() {
				if len(d.Events) > batchSize {
					t.Errorf("%d events in a request", len(d.Events))
				}
				app := strings.TrimPrefix(d.header.Get("X-Pusher-Key"), "key-")
				if !protocol.Verify("secret-"+app, d.raw, d.header.Get("X-Pusher-Signature")) {
					t.Error("a request is not signed by its own app")
				}
				count[app] += len(d.Events)
			}
			if count["1"] != 50 || count["2"] != 50 {
				t.Errorf("events per app = %v, want 50 each", count)
			}
		})
	})
	t.Run("batch on, a few events within 250 ms", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, newApp("1", batch))
			r.offer(occupied("1", "a"))
			time.Sleep(100 * time.Millisecond)
			r.offer(occupied("1", "b"), clientEvent("1", "private-c", "{}"))
			time.Sleep(149 * time.Millisecond)
			wantNames(t, r.got())
			time.Sleep(time.Millisecond)
			got := r.got()
			wantNames(t, got, "channel_occupied a", "channel_occupied b", "client_event private-c")
			if len(got) != 1 {
				t.Errorf("%d requests, want one", len(got))
			}
		})
	})
	t.Run("T217 batch off, 3 events at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, newApp("1", everything(hookURL)))
			fill(r, "1", 3)
			got := r.got()
			if len(got) != 3 || len(names(got)) != 3 {
				t.Errorf("%d requests with %d events, want 3 with one each", len(got), len(names(got)))
			}
		})
	})
}

func TestOldestCredentialSigns(t *testing.T) {
	t.Run("T203 the documented body and secret give the documented signature", func(t *testing.T) {
		body := appendBody(nil, time.UnixMilli(1353088179000), [][]byte{newLetter(proxy.WebhookChannelOccupied, occupied("1", "test_channel")).Event})
		h := http.Header{}
		sign(h, proxy.Credential{Key: vendorKey, Secret: proxy.NewSecret(vendorSecret)}, body)
		if want := "06f2eb530e72a1a9711d494ec6072ea3268aa851481c75994d99ea5885fabad4"; h.Get("X-Pusher-Signature") != want {
			t.Errorf("signature of %s = %s, want %s", body, h.Get("X-Pusher-Signature"), want)
		}
	})
	t.Run("T218 app with two active tokens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			app := newApp("1", everything(hookURL))
			app.Credentials = append(app.Credentials, proxy.Credential{Key: "newer", Secret: proxy.NewSecret("newer")})
			r := newRig(t, app)
			r.offer(occupied("1", "c"))
			d := r.got()[0]
			if d.header.Get("X-Pusher-Key") != "key-1" || !protocol.Verify("secret-1", d.raw, d.header.Get("X-Pusher-Signature")) {
				t.Errorf("headers = %v, want the oldest token's", d.header)
			}
		})
	})
}
