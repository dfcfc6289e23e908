package upstream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// line is a record in short form.
func line(r proxy.Record) string {
	parts := []string{r.Kind.String(), string(r.Leg), string(r.Topic.Channel)}
	if r.Event != nil {
		parts = append(parts, r.Event.Name, string(r.Event.Data))
	}
	if r.UserID != "" {
		parts = append(parts, "user="+r.UserID)
	}
	if r.Count != 0 {
		parts = append(parts, fmt.Sprint("count=", r.Count))
	}
	if r.Action != "" {
		parts = append(parts, r.Action)
	}
	if r.Code != 0 {
		parts = append(parts, fmt.Sprint(r.Code))
	}
	return strings.Join(parts, " ")
}

// linesOf returns the records of a socket in order, but for what is timed by
// others, and for how frames are built.
func (r *records) linesOf(id protocol.SocketID) []string {
	var lines []string
	for _, rec := range r.where(func(rec proxy.Record) bool {
		return rec.Socket == id && rec.Kind != proxy.KindSubscriptionCount && rec.Kind != proxy.KindFrame
	}) {
		lines = append(lines, line(rec))
	}
	return lines
}

func TestWhatPassesIsRecorded(t *testing.T) {
	r := open(t, proxy.StageObserve)
	a, b := dial(t, r.gateway.addr, query), dial(t, r.gateway.addr, query)
	a.subscribe("presence-a", "1")
	r.seen.await(t, "a on presence-a", of(proxy.KindSubscribed, proxy.LegVendor, "presence-a"))
	b.subscribe("presence-a", "2")
	a.await("pusher_internal:member_added")
	a.send(`{"event":"pusher:subscribe","data":{"channel":"private-x","auth":"app-key:00"}}`)
	a.await("pusher:error")
	a.send(`{"event":"client-e","channel":"presence-a","data":{"n":1}}`)
	b.await("client-e")
	r.seen.await(t, "client event published", of(proxy.KindPublished, proxy.LegVendor, "presence-a"))
	publish(t, r.gateway.addr, "presence-a", "e", "1")
	a.await("e")
	b.await("e")
	a.send(`{"event":"pusher:unsubscribe","data":{"channel":"presence-a"}}`)
	b.await("pusher_internal:member_removed")
	a.ws.Close()
	r.seen.await(t, "a's end", func(rec proxy.Record) bool { return rec.Kind == proxy.KindDisconnected && rec.Socket == a.id })
	want := []string{
		"connected vendor ",
		"allowed engine presence-a subscribe",
		"allowed vendor presence-a subscribe",
		"subscribed vendor presence-a user=1 count=1",
		"member_added vendor presence-a user=1",
		"member_added vendor presence-a user=2",
		"refused engine private-x subscribe",
		"refused vendor private-x subscribe",
		`published vendor presence-a client-e {"n":1} user=1`,
		"delivered vendor presence-a e 1 count=1",
		"unsubscribed vendor presence-a user=1 count=1",
		"disconnected vendor ",
	}
	got := r.seen.linesOf(a.id)
	// b's confirmation may be seen before a is told of b: whoever is first
	// records the arrival.
	want = slices.DeleteFunc(want, func(l string) bool {
		return l == "member_added vendor presence-a user=2" && !slices.Contains(got, l)
	})
	if !slices.Equal(got, want) {
		t.Errorf("a:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.ws.Close()
	r.seen.await(t, "b's end", func(rec proxy.Record) bool { return rec.Kind == proxy.KindDisconnected && rec.Socket == b.id })
	for _, l := range []string{
		"subscribed vendor presence-a user=2 count=2", `delivered vendor presence-a client-e {"n":1} user=1 count=1`,
		"member_removed vendor presence-a user=1", "unsubscribed vendor presence-a user=2",
	} {
		if got := r.seen.linesOf(b.id); !slices.Contains(got, l) {
			t.Errorf("b has no %q in\n%s", l, strings.Join(got, "\n"))
		}
	}
	for _, user := range []string{"1", "2"} {
		arrivals := r.seen.where(func(rec proxy.Record) bool {
			return rec.Kind == proxy.KindMemberAdded && rec.UserID == user && rec.Leg == proxy.LegVendor
		})
		if len(arrivals) != 1 {
			t.Errorf("user %s arrived %d times", user, len(arrivals))
		}
	}
	published := r.seen.await(t, "publish", func(rec proxy.Record) bool { return rec.Kind == proxy.KindPublished && rec.Event.Name == "e" })
	if ev := published.Event; published.Leg != proxy.LegVendor || ev.ID.IsZero() || ev.Publisher != proxy.ByServer || ev.Origin != proxy.LegVendor || ev.At.IsZero() {
		t.Errorf("published %+v", published)
	}
}

// TestARefusedClientEventIsNotPublished: the vendor answers only bad ones.
func TestARefusedClientEventIsNotPublished(t *testing.T) {
	r := open(t, proxy.StageObserve)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("public", "")
	c.send(`{"event":"client-e","channel":"public","data":"1"}`)
	c.await("pusher:error")
	refused := r.seen.await(t, "refused", of(proxy.KindRefused, proxy.LegVendor, "public"))
	if refused.Action != "client event" || refused.Text == "" {
		t.Errorf("record %+v", refused)
	}
	c.ws.Close()
	r.seen.await(t, "the end", func(rec proxy.Record) bool { return rec.Kind == proxy.KindDisconnected })
	if found := r.seen.where(of(proxy.KindPublished, proxy.LegVendor, "public")); len(found) != 0 {
		t.Errorf("published %+v", found)
	}
}

func TestAPICallsAreForwardedAsTheyAre(t *testing.T) {
	r := open(t, proxy.StageObserve)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("presence-a=b,c", "1")
	direct := dial(t, r.vendor.addr, query)
	direct.subscribe("presence-a=b,c", "2")
	for name, tc := range map[string]struct{ method, path, params, body string }{
		"publish with info":           {"POST", "/apps/1/events", "", `{"name":"e","channels":["presence-a=b,c","x"],"data":"1","info":"user_count,subscription_count"}`},
		"batch":                       {"POST", "/apps/1/batch_events", "", `{"batch":[{"name":"e","channel":"x","data":"1"}]}`},
		"too many":                    {"POST", "/apps/1/batch_events", "", `{"batch":[` + strings.TrimSuffix(strings.Repeat(`{},`, 11), ",") + `]}`},
		"legacy":                      {"POST", "/apps/1/channels/x/events", "&name=e", "raw"},
		"channels":                    {"GET", "/apps/1/channels", "&filter_by_prefix=presence-&info=user_count", ""},
		"a channel with a raw name":   {"GET", "/apps/1/channels/presence-a=b,c", "&info=user_count,subscription_count", ""},
		"an unknown path":             {"GET", "/apps/1/nothing", "", ""},
		"a parameter that is escaped": {"GET", "/apps/1/channels/presence-a=b,c", "&info=user_count%2Csubscription_count", ""},
		"the Python SDK's path":       {"POST", "/users/u/terminate_connections", "", "{}"},
		"a body that is refused":      {"POST", "/apps/1/events", "", `{"name":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := call(t, r.gateway.addr, tc.method, tc.path, tc.params, tc.body)
			wantStatus, wantBody := call(t, r.vendor.addr, tc.method, tc.path, tc.params, tc.body)
			if status != wantStatus || body != wantBody {
				t.Errorf("relayed %d %q, direct %d %q", status, body, wantStatus, wantBody)
			}
		})
	}
	t.Run("a signature that is wrong", func(t *testing.T) {
		target := "/apps/1/events?auth_key=" + key + "&auth_timestamp=1&auth_version=1.0&body_md5=x&auth_signature=y"
		status, body := request(t, r.gateway.addr, "POST", target, "{}")
		if status != 401 || !strings.HasPrefix(body, "Timestamp expired") {
			t.Errorf("%d %s", status, body)
		}
		refused := func(leg proxy.Leg) func(proxy.Record) bool {
			return func(rec proxy.Record) bool {
				return rec.Kind == proxy.KindRefused && rec.Leg == leg && rec.Code == 401 && rec.Action == "http events"
			}
		}
		r.seen.await(t, "the vendor's decision", refused(proxy.LegVendor))
		r.seen.await(t, "our decision", refused(proxy.LegEngine))
	})
	if found := r.seen.where(of(proxy.KindPublished, proxy.LegVendor, "x")); len(found) != 3 {
		t.Errorf("%d accepted publishes on x were recorded, want 3", len(found))
	}
}

// TestShadow compares, record by record, what the vendor delivered to a
// relayed socket with what the engine would have.
func TestShadow(t *testing.T) {
	r := open(t, proxy.StageShadow)
	a, b := dial(t, r.gateway.addr, query), dial(t, r.gateway.addr, query)
	for _, c := range []*client{a, b} {
		c.subscribe("presence-a", string(c.id))
		c.subscribe("private-b", "")
		c.subscribe("c", "")
	}
	for _, c := range []*client{a, b} {
		for _, channel := range []string{"presence-a", "private-b", "c"} {
			r.seen.await(t, "double on "+channel, func(rec proxy.Record) bool {
				return rec.Kind == proxy.KindSubscribed && rec.Leg == proxy.LegEngine && rec.Socket == c.id && string(rec.Topic.Channel) == channel
			})
		}
	}
	for i := range 20 {
		publish(t, r.gateway.addr, []string{"presence-a", "private-b", "c"}[i%3], "e", fmt.Sprint(i))
	}
	body := fmt.Sprintf(`{"name":"but","channels":["c","private-b"],"data":"x","socket_id":%q}`, a.id)
	if status, text := call(t, r.gateway.addr, "POST", "/apps/1/events", "", body); status != 200 {
		t.Fatal(text)
	}
	a.send(`{"event":"client-e","channel":"presence-a","data":{"from":"a"}}`)
	b.await("client-e")
	publish(t, r.gateway.addr, "c", "end", "1")
	for _, c := range []*client{a, b} {
		r.seen.await(t, "the double's last", func(rec proxy.Record) bool {
			return rec.Kind == proxy.KindDelivered && rec.Leg == proxy.LegEngine && rec.Socket == c.id && rec.Event.Name == "end"
		})
	}
	r.seen.await(t, "the client event", func(rec proxy.Record) bool {
		return rec.Kind == proxy.KindDelivered && rec.Leg == proxy.LegEngine && rec.Socket == b.id && rec.Event.Name == "client-e"
	})
	for _, c := range []*client{a, b} {
		for _, channel := range []string{"presence-a", "private-b", "c"} {
			vendor, engine := r.delivered(proxy.LegVendor, c.id, channel), r.delivered(proxy.LegEngine, c.id, channel)
			if len(vendor) < 6 || !slices.Equal(vendor, engine) {
				t.Errorf("%s on %s: the vendor delivered\n%q, the engine\n%q", c.id, channel, vendor, engine)
			}
		}
	}
	// The vendor is a gateway, too, and builds its frames the same way.
	for _, c := range []*client{a, b} {
		vendor, engine := r.frames(proxy.LegVendor, c.id), r.frames(proxy.LegEngine, c.id)
		for which, text := range vendor {
			if double, both := engine[which]; both && text != double {
				t.Errorf("%s: the vendor builds %s as\n%s, the engine\n%s", c.id, which, text, double)
			}
		}
		for _, which := range []string{"pusher:connection_established", "pusher_internal:subscription_succeeded", "event", "first frame"} {
			if vendor[which] == "" || engine[which] == "" {
				t.Errorf("%s: the vendor builds %s as %q, the engine as %q", c.id, which, vendor[which], engine[which])
			}
		}
	}
	if n := len(r.gateway.engine.Connections("1")); n != 0 {
		t.Errorf("the serving engine has %d connections", n)
	}
	a.ws.Close()
	r.seen.await(t, "the double's end", func(rec proxy.Record) bool {
		return rec.Kind == proxy.KindUnsubscribed && rec.Leg == proxy.LegEngine && rec.Socket == a.id && rec.Topic.Channel == "private-b" && rec.Count == 1
	})
	eventually(t, "one double is left", func() bool { return len(r.shadow.Connections("1")) == 1 })
}

// frames returns the structures of the frames that a leg sent to a socket, by
// kind.
func (r *rig) frames(leg proxy.Leg, id protocol.SocketID) map[string]string {
	lists := make(map[string][]string)
	for _, rec := range r.seen.where(func(rec proxy.Record) bool {
		return rec.Kind == proxy.KindFrame && rec.Leg == leg && rec.Socket == id
	}) {
		lists[rec.Action] = append(lists[rec.Action], rec.Text)
	}
	all := make(map[string]string)
	for which, list := range lists {
		slices.Sort(list)
		all[which] = strings.Join(slices.Compact(list), " ")
	}
	return all
}

// delivered lists what a leg delivered to a socket on a channel. A client
// event reaches the engine only when the vendor has had time to refuse it, so
// it is listed last.
func (r *rig) delivered(leg proxy.Leg, id protocol.SocketID, channel string) []string {
	var lines, last []string
	for _, rec := range r.seen.where(of(proxy.KindDelivered, leg, channel)) {
		switch text := rec.Event.Name + " " + string(rec.Event.Data) + " " + rec.UserID; {
		case rec.Socket != id:
		case strings.HasPrefix(rec.Event.Name, "client-"):
			last = append(last, text)
		default:
			lines = append(lines, text)
		}
	}
	return append(lines, last...)
}

func TestDoublesFollowTheStage(t *testing.T) {
	r := open(t, proxy.StageObserve)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("c", "")
	r.seen.await(t, "subscribed", of(proxy.KindSubscribed, proxy.LegVendor, "c"))
	if n := len(r.shadow.Connections("1")); n != 0 {
		t.Errorf("%d doubles at observe", n)
	}
	r.move(proxy.StageShadow)
	r.seen.await(t, "double", of(proxy.KindSubscribed, proxy.LegEngine, "c"))
	publish(t, r.gateway.addr, "c", "e", "1")
	c.await("e") // the connection was kept
	r.seen.await(t, "delivered", of(proxy.KindDelivered, proxy.LegEngine, "c"))
	r.move(proxy.StageObserve)
	r.seen.await(t, "double gone", of(proxy.KindUnsubscribed, proxy.LegEngine, "c"))
}
