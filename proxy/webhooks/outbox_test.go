package webhooks

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offramp/offramp/proxy"
)

func TestRestart(t *testing.T) {
	cases(t, map[string]func(*testing.T, *rig){
		"what was occupied and nobody comes back": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "presence-a"), added("1", "presence-a", "7"), occupied("1", "b"))
			r.got()
			r.restart()
			time.Sleep(2999 * time.Millisecond)
			wantNames(t, r.got())
			time.Sleep(time.Millisecond)
			got := map[string]bool{}
			for _, name := range names(r.got()) {
				got[name] = true
			}
			want := map[string]bool{"member_removed presence-a": true, "channel_vacated presence-a": true, "channel_vacated b": true}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			r.restart()
			time.Sleep(time.Minute)
			wantNames(t, r.got())
		},
		"what was occupied and is again in time": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "presence-a"), added("1", "presence-a", "7"))
			r.got()
			r.restart()
			time.Sleep(2 * time.Second)
			r.offer(occupied("1", "presence-a"), added("1", "presence-a", "7"))
			time.Sleep(time.Minute)
			wantNames(t, r.got())
			r.offer(left("1", "presence-a", "7"), vacated("1", "presence-a"))
			time.Sleep(3 * time.Second)
			wantNames(t, r.got(), "member_removed presence-a", "channel_vacated presence-a")
		},
		"what had left within the delay": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "c"), vacated("1", "c"))
			r.got()
			r.restart()
			time.Sleep(3 * time.Second)
			wantNames(t, r.got(), "channel_vacated c")
		},
		"members leave before their channel": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "presence-a"), added("1", "presence-a", "7"), added("1", "presence-a", "8"))
			r.got()
			r.restart()
			time.Sleep(time.Minute)
			wantNames(t, r.got(), "member_removed presence-a", "member_removed presence-a", "channel_vacated presence-a")
		},
		"letters that were not delivered": func(t *testing.T, r *rig) {
			r.receiver.unplug(true)
			for i := range 3 {
				r.offer(clientEvent("1", "private-a", fmt.Sprint(i)))
			}
			r.got()
			r.receiver.unplug(false)
			r.restart()
			if got := datas(r.got()); got != "0 1 2" {
				t.Errorf("data = %q, want 0 1 2", got)
			}
		},
		"a request that failed keeps its body and its clock": func(t *testing.T, r *rig) {
			r.receiver.behave(status(500))
			r.offer(occupied("1", "c"))
			time.Sleep(4 * time.Minute)
			first := r.got()[0]
			r.stop()
			time.Sleep(time.Hour)
			r.start()
			time.Sleep(time.Second)
			again := r.got()
			if len(again) == 0 || again[0].raw != first.raw {
				t.Fatalf("after the restart %v, want the body %s again", again, first.raw)
			}
			time.Sleep(2 * time.Minute)
			r.got()
			if dead, err := r.outbox.Dead(Filter{}); err != nil || len(dead) == 0 || dead[0].Type != proxy.WebhookChannelOccupied {
				t.Errorf("dead letters = %v, %v, want the request given up after 5 minutes of running", dead, err)
			}
		},
	})
}

// datas returns the data of client events, in order of arrival.
func datas(got []delivered) string {
	var all []string
	for _, d := range got {
		for _, e := range d.Events {
			all = append(all, fmt.Sprint(e["data"]))
		}
	}
	return strings.Join(all, " ")
}

func TestOrder(t *testing.T) {
	batch := everything(hookURL)
	batch.Batch = true
	for name, hook := range map[string]proxy.Webhook{"batch off": everything(hookURL), "batch on": batch} {
		t.Run(name+": a receiver that fails now and then gets a channel's events in order", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newApp("1", hook))
				r.receiver.behave(func(w http.ResponseWriter, d delivered) {
					if d.at.UnixMilli()/1000%3 == 0 {
						w.WriteHeader(503)
					}
				})
				next := map[string]int{}
				for i := range 200 {
					r.offer(clientEvent("1", "private-a", fmt.Sprint(i)), clientEvent("1", "private-b", fmt.Sprint(i)))
					time.Sleep(37 * time.Millisecond)
				}
				time.Sleep(6 * time.Minute)
				for _, d := range r.got() {
					if d.at.UnixMilli()/1000%3 == 0 {
						continue // not taken
					}
					for _, e := range d.Events {
						channel := e["channel"].(string)
						if want := fmt.Sprint(next[channel]); e["data"] != want {
							t.Fatalf("%s: got %v, want %s", channel, e["data"], want)
						}
						next[channel]++
					}
				}
				if next["private-a"] != 200 || next["private-b"] != 200 {
					t.Errorf("received %v, want 200 of each", next)
				}
			})
		})
	}
}

func TestReceiverOutage(t *testing.T) {
	cases(t, map[string]func(*testing.T, *rig){
		"down for 4 minutes: every event arrives, in order": func(t *testing.T, r *rig) {
			r.receiver.unplug(true)
			for i := range 100 {
				r.offer(clientEvent("1", "private-a", fmt.Sprint(i)), occupied("1", fmt.Sprintf("c%d", i)))
			}
			time.Sleep(4 * time.Minute)
			r.receiver.unplug(false)
			time.Sleep(time.Minute)
			got := r.got()
			var want []string
			for i := range 100 {
				want = append(want, fmt.Sprint(i))
			}
			var data []delivered
			for _, d := range got {
				if d.Events[0]["name"] == "client_event" {
					data = append(data, d)
				}
			}
			if got := datas(data); got != strings.Join(want, " ") {
				t.Errorf("client events arrived as %s", got)
			}
			if len(got) != 200 {
				t.Errorf("%d events arrived, want 200", len(got))
			}
		},
		"down for 6 minutes: every event is a dead letter and can be replayed": func(t *testing.T, r *rig) {
			r.receiver.unplug(true)
			for i := range 50 {
				r.offer(clientEvent("1", "private-a", fmt.Sprint(i)), occupied("1", fmt.Sprintf("c%d", i)))
			}
			time.Sleep(6*time.Minute + 10*time.Second)
			synctest.Wait()
			if s := r.outbox.Status()[0]; s.Dead != 100 || s.Pending != 0 || !s.Down {
				t.Fatalf("status = %+v, want 100 dead and none pending", s)
			}
			r.receiver.unplug(false)
			n, err := r.outbox.Replay(t.Context(), Filter{Type: proxy.WebhookClientEvent, Limit: 40})
			if err != nil || n != 40 {
				t.Fatalf("Replay = %d, %v", n, err)
			}
			time.Sleep(time.Minute)
			got := r.got()
			for i, d := range got {
				if d.Events[0]["data"] != fmt.Sprint(i) {
					t.Fatalf("replayed event %d is %v", i, d.Events[0])
				}
				if age := d.at.UnixMilli() - d.TimeMS; age > 1000 {
					t.Errorf("time_ms of a replayed event is %d ms old: server SDKs would refuse it", age)
				}
			}
			if len(got) != 40 {
				t.Errorf("%d events replayed, want 40", len(got))
			}
			if s := r.outbox.Status()[0]; s.Dead != 60 || s.Pending != 0 || s.Down {
				t.Errorf("status = %+v, want 60 dead left", s)
			}
		},
		"an event it never takes holds up its own channel only": func(t *testing.T, r *rig) {
			r.receiver.behave(func(w http.ResponseWriter, d delivered) {
				if d.Events[0]["data"] == "poison" {
					w.WriteHeader(400)
				}
			})
			r.offer(clientEvent("1", "private-a", "poison"), clientEvent("1", "private-a", "behind"))
			time.Sleep(time.Minute)
			r.got()
			r.offer(clientEvent("1", "private-b", "other"))
			if got := datas(r.got()); got != "other" {
				t.Errorf("other channel: %q", got)
			}
			time.Sleep(5 * time.Minute)
			if got := datas(r.got()); !strings.HasSuffix(got, "poison behind") {
				t.Errorf("own channel: %q, want the event behind once the first is given up", got)
			}
		},
		"many events it never takes do not keep others away": func(t *testing.T, r *rig) {
			r.receiver.behave(func(w http.ResponseWriter, d delivered) {
				if d.Events[0]["data"] == "poison" {
					w.WriteHeader(400)
				}
			})
			for i := range 3 * concurrency {
				r.offer(clientEvent("1", fmt.Sprintf("private-%d", i), "poison"))
			}
			time.Sleep(4 * time.Minute) // each of them has been tried, if only one every freshEvery
			r.got()
			r.offer(clientEvent("1", "private-b", "other"))
			time.Sleep(freshEvery + time.Second)
			if got := datas(r.got()); !strings.Contains(got, "other") {
				t.Errorf("other channel: %q", got)
			}
		},
		"a receiver that is down is not hammered": func(t *testing.T, r *rig) {
			r.receiver.behave(status(503))
			for i := range 1000 {
				r.offer(occupied("1", fmt.Sprintf("c%d", i)))
			}
			time.Sleep(4 * time.Minute)
			if n := len(r.got()); n > 500 {
				t.Errorf("%d requests in 4 minutes for 1000 events", n)
			}
		},
	})
}

func TestSlowReceiverDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newApp("slow", everything("http://slow.test/")), newApp("quick", everything("http://quick.test/")))
		r.receiver.behave(func(_ http.ResponseWriter, d delivered) {
			if d.host == "slow.test" {
				time.Sleep(3900 * time.Millisecond)
			}
		})
		for i := range 100 {
			r.offer(occupied("slow", fmt.Sprint("c", i)), occupied("quick", fmt.Sprint("c", i)))
		}
		start := time.Now()
		count := map[string]int{}
		for _, d := range r.got() {
			count[d.host]++
			if d.host == "quick.test" && d.at.Sub(start) > 0 {
				t.Errorf("an event of the quick app came %s late", d.at.Sub(start))
			}
		}
		if count["quick.test"] != 100 || count["slow.test"] > concurrency {
			t.Errorf("requests at once = %v, want 100 quick and at most %d slow", count, concurrency)
		}
		time.Sleep(time.Minute)
		r.got()
	})
}

func TestBounds(t *testing.T) {
	small := func(t *testing.T, change func(*Settings)) *rig {
		t.Helper()
		r := newRig(t, newApp("1", everything(hookURL)))
		r.stop()
		change(&r.settings)
		return r
	}
	t.Run("the queue in memory is full", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := small(t, func(s *Settings) { s.QueueRecords = 4 })
			o, err := New(r.settings) // not running
			if err != nil {
				t.Fatal(err)
			}
			var client, state int
			for i := range 20 {
				e, c := clientEvent("1", "private-a", "{}"), occupied("1", fmt.Sprint(i))
				e.Leg, c.Leg = proxy.LegEngine, proxy.LegEngine
				if o.Offer(e) {
					client++
				}
				if o.Offer(c) {
					state++
				}
			}
			if client != 2 || client+state != 8 {
				t.Errorf("accepted %d client events and %d others, want 2 and 6", client, state)
			}
		})
	})
	t.Run("a receiver's outbox is full: the oldest die, the oldest dead go", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const limit = 100_000
			r := small(t, func(s *Settings) { s.ReceiverBytes = limit })
			r.receiver.unplug(true)
			r.start()
			for i := range 400 {
				r.offer(clientEvent("1", fmt.Sprintf("private-%d", i%40), strings.Repeat("x", 1000)))
				if i%10 == 9 {
					r.got()
				}
			}
			s := r.outbox.Status()[0]
			if s.PendingBytes > limit+20_000 || s.PendingBytes < limit/2 {
				t.Errorf("pending = %d bytes, limit %d", s.PendingBytes, limit)
			}
			dead, err := r.outbox.Dead(Filter{})
			if err != nil || len(dead) == 0 || len(dead) != s.Dead || len(dead) > limit/1000 {
				t.Fatalf("%d dead letters, status says %d, %v", len(dead), s.Dead, err)
			}
			pending, err := r.outbox.Pending(Filter{})
			if err != nil || len(pending) != s.Pending {
				t.Fatalf("%d pending letters, status says %d, %v", len(pending), s.Pending, err)
			}
			if dead[len(dead)-1].Seq > pending[len(pending)-1].Seq || !strings.Contains(dead[0].Reason, "outbox full") {
				t.Errorf("dead letter %+v, want the oldest", dead[len(dead)-1])
			}
			r.receiver.unplug(false)
			time.Sleep(2 * time.Minute)
			r.got()
			if s := r.outbox.Status()[0]; s.Pending != 0 || s.PendingBytes != 0 {
				t.Errorf("after delivery %d letters, %d bytes pending", s.Pending, s.PendingBytes)
			}
		})
	})
}

func TestReload(t *testing.T) {
	swap := func(t *testing.T, r *rig, all ...*proxy.App) {
		t.Helper()
		if err := r.registry.Swap(all); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	cases(t, map[string]func(*testing.T, *rig){
		"a second receiver is added": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "a"))
			r.got()
			swap(t, r, newApp("1", everything(hookURL), everything("http://second.test/")))
			r.offer(occupied("1", "b"))
			wantNames(t, r.got(), "channel_occupied b", "channel_occupied b")
		},
		"a receiver is removed while letters wait, and comes back": func(t *testing.T, r *rig) {
			r.receiver.behave(status(500))
			r.offer(occupied("1", "a"), clientEvent("1", "private-b", "{}"))
			r.got()
			swap(t, r, newApp("1"))
			time.Sleep(time.Minute)
			r.got()
			dead, err := r.outbox.Dead(Filter{})
			if err != nil || len(dead) != 2 || dead[0].Reason != removed {
				t.Fatalf("dead letters = %+v, %v", dead, err)
			}
			if n, err := r.outbox.Replay(t.Context(), Filter{}); n != 0 || err != nil {
				t.Errorf("Replay to a removed receiver = %d, %v", n, err)
			}
			r.receiver.behave(nil)
			swap(t, r, newApp("1", everything(hookURL)))
			if n, err := r.outbox.Replay(t.Context(), Filter{App: "1"}); n != 2 || err != nil {
				t.Errorf("Replay = %d, %v, want 2", n, err)
			}
			if got := r.got(); len(got) != 2 {
				t.Errorf("%d events replayed, want 2", len(got))
			}
		},
		"a receiver is removed while the gateway is stopped": func(t *testing.T, r *rig) {
			r.receiver.unplug(true)
			r.offer(occupied("1", "a"))
			r.got()
			r.stop()
			swap(t, r, newApp("1"))
			r.receiver.unplug(false)
			r.start()
			time.Sleep(time.Minute)
			wantNames(t, r.got())
			if s := r.outbox.Status(); len(s) != 1 || s[0].Configured || s[0].Dead != 1 || s[0].Pending != 0 {
				t.Errorf("status = %+v, want one dead letter of a receiver not configured", s)
			}
		},
		"a channel that was occupied before its webhook was configured": func(t *testing.T, r *rig) {
			swap(t, r, newApp("1"))
			r.offer(occupied("1", "a"))
			swap(t, r, newApp("1", everything(hookURL)))
			r.offer(vacated("1", "a"))
			time.Sleep(3 * time.Second)
			wantNames(t, r.got(), "channel_vacated a")
		},
		"a channel that was occupied when its webhook was taken away for a time": func(t *testing.T, r *rig) {
			r.offer(occupied("1", "a"))
			r.got()
			swap(t, r, newApp("1"))
			swap(t, r, newApp("1", everything(hookURL)))
			r.offer(occupied("1", "a"))
			wantNames(t, r.got(), "channel_occupied a")
		},
		"a credential is rotated while a request fails": func(t *testing.T, r *rig) {
			r.receiver.behave(status(500))
			r.offer(occupied("1", "a"))
			r.got()
			next := newApp("1", everything(hookURL))
			next.Credentials[0].Key = "rotated"
			swap(t, r, next)
			time.Sleep(time.Second)
			if got := r.got(); len(got) != 1 || got[0].header.Get("X-Pusher-Key") != "rotated" {
				t.Errorf("got %v, want the key of now", got)
			}
		},
	})
}

func TestStopLetsRequestsInFlightEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newApp("1", everything(hookURL)))
		r.receiver.behave(func(http.ResponseWriter, delivered) { time.Sleep(3 * time.Second) })
		r.offer(occupied("1", "a"))
		synctest.Wait()
		r.stop()
		if r.outbox.Offer(proxy.Record{Kind: proxy.KindOccupied, Leg: proxy.LegEngine, Topic: topic("1", "late")}) {
			t.Error("a record was accepted after the end")
		}
		r.start()
		r.offer(occupied("1", "a")) // still there: no channel_vacated either
		time.Sleep(time.Minute)
		wantNames(t, r.got(), "channel_occupied a")
	})
}
