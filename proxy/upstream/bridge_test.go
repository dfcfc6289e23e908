package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

// eventually fails the test unless holds within 5 s.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func (s *server) state(channel string) engine.ChannelState {
	s.t.Helper()
	state, err := s.engine.Channel(s.t.Context(), proxy.Topic{App: "1", Channel: protocol.ChannelName(channel)})
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

// only returns the next published event, which must be the one named and
// bring that data: nothing came twice and nothing was left out before it.
func (c *client) only(event, data string) {
	c.t.Helper()
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", event, err)
		}
		switch name := f.Get("event").String(); {
		case len(name) > 6 && name[:6] == "pusher":
		case name == event && f.Get("data").String() == data:
			return
		default:
			c.t.Fatalf("got %s, want %s %s", f.Raw, event, data)
		}
	}
}

// TestTwoPopulations runs the same conversation at each stage at which some
// clients are here and others still at the vendor: every event reaches
// everybody once, whoever says it and wherever.
func TestTwoPopulations(t *testing.T) {
	for _, stage := range []proxy.Stage{proxy.StageMirror, proxy.StageCutover} {
		t.Run(stage.String(), func(t *testing.T) {
			r := open(t, stage)
			here, also, there := dial(t, r.gateway.addr, query), dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
			clients := []*client{here, also, there}
			for _, c := range clients {
				c.subscribe("private-x", "")
				c.subscribe("x", "")
			}
			atVendor := map[proxy.Stage]int{proxy.StageMirror: 3, proxy.StageCutover: 2}[stage]
			for _, channel := range []string{"private-x", "x"} {
				eventually(t, "the vendor's subscriptions to "+channel, func() bool {
					return r.vendor.state(channel).SubscriptionCount == atVendor
				})
			}
			publish(t, r.gateway.addr, "private-x", "by-gateway", "1")
			for _, c := range clients {
				c.only("by-gateway", "1")
			}
			publish(t, r.vendor.addr, "private-x", "by-vendor", "2")
			for _, c := range clients {
				c.only("by-vendor", "2")
			}
			here.send(`{"event":"client-here","channel":"private-x","data":"3"}`)
			also.only("client-here", "3")
			there.only("client-here", "3")
			there.send(`{"event":"client-there","channel":"private-x","data":{"n":4}}`)
			here.only("client-there", `{"n":4}`)
			also.only("client-there", `{"n":4}`)
			// An excluded socket is one here, whatever side its channel is on.
			body := fmt.Sprintf(`{"name":"but","channels":["private-x"],"data":"5","socket_id":%q}`, here.id)
			if status, text := call(t, r.gateway.addr, "POST", "/apps/1/events", "", body); status != 200 {
				t.Fatal(text)
			}
			also.only("but", "5")
			there.only("but", "5")
			for i := range 30 { // in order, in batches
				publish(t, r.gateway.addr, "x", "n", fmt.Sprint(i))
			}
			for _, c := range clients {
				for i := range 30 {
					c.only("n", fmt.Sprint(i))
				}
			}
		})
	}
}

// TestAMirroredClientIsAMemberAtTheVendor: presence is the vendor's own.
func TestAMirroredClientIsAMemberAtTheVendor(t *testing.T) {
	r := open(t, proxy.StageMirror)
	there := dial(t, r.vendor.addr, query)
	there.subscribe("presence-room", "1")
	here := dial(t, r.gateway.addr, query)
	here.send(here.subscription("presence-room", "2"))
	f := here.await("pusher_internal:subscription_succeeded")
	if want := `{"presence":{"count":2,"ids":["1","2"],"hash":{"1":{},"2":{}}}}`; f.Get("data").String() != want {
		t.Errorf("members %s", f.Get("data"))
	}
	there.await("pusher_internal:member_added")
	here.send(`{"event":"pusher:unsubscribe","data":{"channel":"presence-room"}}`)
	there.await("pusher_internal:member_removed")
	here.subscribe("presence-room", "2")
	there.await("pusher_internal:member_added")
	here.ws.Close()
	there.await("pusher_internal:member_removed")
}

func TestAMirroredClientIsRefusedAsByTheVendor(t *testing.T) {
	r := open(t, proxy.StageMirror)
	c := dial(t, r.gateway.addr, query)
	c.send(`{"event":"pusher:subscribe","data":{"channel":"private-x","auth":"app-key:00"}}`)
	if f := c.await("pusher:error"); f.Get("data.code").Raw != "null" || f.Get("data.message").String()[:17] != "Invalid signature" {
		t.Errorf("refused with %s", f.Raw)
	}
	c.subscribe("private-x", "")
	c.send(c.subscription("private-x", ""))
	if f := c.await("pusher:error"); f.Get("data.message").String() != "Existing subscription to channel private-x" {
		t.Errorf("refused with %s", f.Raw)
	}
	user := `{"id":"u"}`
	c.send(fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":"%s:%s","user_data":%q}}`, key, protocol.Sign(secret, protocol.UserString(c.id, user)), user))
	c.await("pusher:signin_success")
	c.subscribe("#server-to-user-u", "")
	publish(t, r.vendor.addr, "#server-to-user-u", "mine", "1")
	c.only("mine", "1")
}

func TestTheTapIsThereOnlyForSubscribersHere(t *testing.T) {
	r := open(t, proxy.StageCutover)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("x", "")
	c.subscribe("y", "")
	eventually(t, "tapped", func() bool {
		return r.vendor.state("x").Occupied && r.vendor.state("y").Occupied
	})
	c.send(`{"event":"pusher:unsubscribe","data":{"channel":"x"}}`)
	eventually(t, "x left", func() bool { return !r.vendor.state("x").Occupied })
	c.ws.Close()
	eventually(t, "y left", func() bool { return !r.vendor.state("y").Occupied })
}

// TestACanaryMovesOnlyTheChannelsOfItsShare.
func TestACanaryMovesOnlyTheChannelsOfItsShare(t *testing.T) {
	r := open(t, proxy.StageMirror)
	canary := func(percent int) route.Request {
		return route.Request{App: "1", Channels: "room-*", Stage: proxy.StageCanary, Percent: percent, Who: "test"}
	}
	set := func(percent int) {
		if _, err := r.router.Set(t.Context(), canary(percent)); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	there := dial(t, r.vendor.addr, query)
	var clients []*client
	for i := range 20 {
		channel := fmt.Sprintf("room-%d", i)
		c := dial(t, r.gateway.addr, query)
		c.subscribe(channel, "")
		there.subscribe(channel, "")
		clients = append(clients, c)
	}
	set(40)
	var moved []int
	for i, c := range clients {
		channel := fmt.Sprintf("room-%d", i)
		app := newApp(proxy.StageMirror)
		p := route.Position{App: app.ID, Rules: []proxy.Rule{{Channels: "room-*", Stage: proxy.StageCanary, Percent: 40, By: proxy.ByChannel}}}
		if p.Serves(protocol.ChannelName(channel), "") != proxy.LegEngine {
			continue
		}
		moved = append(moved, i)
		if code, _ := c.closed(); code != 4200 {
			t.Errorf("%s: closed with %d", channel, code)
		}
		clients[i] = dial(t, r.gateway.addr, query)
		clients[i].subscribe(channel, "")
		if !r.gateway.state(channel).Occupied {
			t.Errorf("%s: not the engine's", channel)
		}
		eventually(t, "tap", func() bool { return r.vendor.state(channel).SubscriptionCount == 2 })
	}
	if len(moved) == 0 || len(moved) == len(clients) {
		t.Fatalf("%d of %d channels moved", len(moved), len(clients))
	}
	for i, c := range clients {
		channel := fmt.Sprintf("room-%d", i)
		publish(t, r.gateway.addr, channel, "g", "1")
		c.only("g", "1")
		there.only("g", "1")
		publish(t, r.vendor.addr, channel, "v", "2")
		c.only("v", "2")
		there.only("v", "2")
	}
}

// TestAVendorThatEndsNeverKeepsAClientAway: whatever it says, a client whose
// channels are only partly there comes back.
func TestAVendorThatEndsNeverKeepsAClientAway(t *testing.T) {
	r := open(t, proxy.StageMirror)
	c := dial(t, r.gateway.addr, query)
	c.subscribe("x", "")
	user := `{"id":"u"}`
	c.send(fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":"%s:%s","user_data":%q}}`, key, protocol.Sign(secret, protocol.UserString(c.id, user)), user))
	c.await("pusher:signin_success")
	eventually(t, "signed in at the vendor", func() bool {
		for _, s := range r.vendor.engine.Connections("1") {
			if s.UserID == "u" {
				return true
			}
		}
		return false
	})
	if status, text := call(t, r.vendor.addr, "POST", "/apps/1/users/u/terminate_connections", "", "{}"); status != 200 {
		t.Fatal(text)
	}
	code, _ := c.closed()
	comesBack(t, code)
}

// TestTheWalkUnderLoad goes from observe to cutover and back while events are
// published. Somebody who stays at the vendor gets each of them once; clients
// of the gateway are sent from side to side, and never away.
func TestTheWalkUnderLoad(t *testing.T) {
	r := open(t, proxy.StageObserve)
	there := dial(t, r.vendor.addr, query)
	there.subscribe("x", "")
	stop := make(chan struct{})
	published := make(chan int, 1)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				published <- n
				return
			default:
				publish(t, r.gateway.addr, "x", "n", fmt.Sprint(n))
				time.Sleep(2 * time.Millisecond)
			}
		}
	}()
	codes := make(chan int, 1000)
	type arrival struct {
		data string
		on   protocol.SocketID
		at   time.Time
	}
	seen := make(chan arrival, 100000)
	wandering := make(chan struct{})
	go func() {
		defer close(wandering)
		for {
			select {
			case <-stop:
				return
			default:
			}
			c := dial(t, r.gateway.addr, query)
			c.send(`{"event":"pusher:subscribe","data":{"channel":"x"}}`)
			for {
				f, err := c.read()
				var ended *websocket.CloseError
				if errors.As(err, &ended) {
					c.ws.Close()
					codes <- ended.Code
					break
				}
				if err != nil {
					codes <- 0
					return
				}
				if f.Get("event").String() == "n" {
					seen <- arrival{f.Get("data").String(), c.id, time.Now()}
				}
			}
		}
	}()
	time.Sleep(100 * time.Millisecond)
	for _, stage := range []proxy.Stage{
		proxy.StageShadow, proxy.StageMirror, proxy.StageCutover, proxy.StageMirror, proxy.StageObserve,
		proxy.StageCutover, proxy.StageObserve,
	} {
		t.Logf("%s: to %s", time.Now().Format("05.000"), stage)
		r.move(stage)
		time.Sleep(300 * time.Millisecond)
	}
	close(stop)
	n := <-published
	if n < 100 {
		t.Fatalf("only %d published", n)
	}
	for i := range n {
		there.only("n", fmt.Sprint(i))
	}
	r.relay.Drain(t.Context(), 0)
	<-wandering
	close(codes)
	moves := 0
	for code := range codes {
		moves++
		comesBack(t, code)
	}
	if moves < 4 {
		t.Errorf("the client was moved %d times", moves)
	}
	close(seen)
	times := map[string]arrival{}
	for a := range seen {
		if before, twice := times[a.data]; twice {
			t.Errorf("event %s reached the client twice: on %s at %s, and on %s at %s", a.data,
				before.on, before.at.Format("05.000"), a.on, a.at.Format("05.000"))
		}
		times[a.data] = a
	}
	if missed := n - len(times); missed > n/10 {
		t.Errorf("%d of %d events missed the client on its ways", missed, n)
	}
}

// wire is the network between a gateway and its vendor, which can be cut.
type wire struct {
	t      *testing.T
	to     string
	addr   string
	mu     sync.Mutex
	l      net.Listener
	passed []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	w := &wire{t: t, to: to, addr: "127.0.0.1:0"}
	w.heal()
	t.Cleanup(w.cut)
	return w
}

func (w *wire) heal() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.l, w.addr = l, l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			to := w.to
			w.mu.Unlock()
			v, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			w.mu.Lock()
			if w.l != l { // cut meanwhile
				w.mu.Unlock()
				c.Close()
				v.Close()
				return
			}
			w.passed = append(w.passed, c, v)
			w.mu.Unlock()
			go func() { _, _ = io.Copy(c, v); c.Close() }()
			go func() { _, _ = io.Copy(v, c); v.Close() }()
		}
	}()
}

// lead makes the wire lead elsewhere.
func (w *wire) lead(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.l != nil {
		w.l.Close()
	}
	for _, c := range w.passed {
		c.Close()
	}
	w.l, w.passed = nil, nil
}

func openWired(t *testing.T, stage proxy.Stage) (*rig, *wire) {
	t.Helper()
	return openWiredWhen(t, stage, proxy.WhenDownRefuse)
}

func openWiredWhen(t *testing.T, stage proxy.Stage, down proxy.WhenDown) (*rig, *wire) {
	t.Helper()
	vendors, err := apps.New([]*proxy.App{newApp(proxy.StageExited)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, seen: newRecords()}
	r.vendor, _ = serve(t, 1, vendors, nil, nil)
	w := newWire(t, r.vendor.addr)
	r.startGateway(stage, &proxy.Upstream{WebSocket: "ws://" + w.addr, API: "http://" + w.addr, WhenDown: down})
	return r, w
}

// TestABridgeThatIsCutHeals: what was published meanwhile arrives at the
// vendor in its order, and nobody here notices.
func TestABridgeThatIsCutHeals(t *testing.T) {
	r, w := openWired(t, proxy.StageCutover)
	here, there := dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
	here.subscribe("x", "")
	there.subscribe("x", "")
	eventually(t, "tapped", func() bool { return r.vendor.state("x").SubscriptionCount == 2 })
	w.cut()
	for i := range 25 {
		publish(t, r.gateway.addr, "x", "n", fmt.Sprint(i))
		here.only("n", fmt.Sprint(i))
	}
	w.heal()
	for i := range 25 {
		there.only("n", fmt.Sprint(i))
	}
	eventually(t, "tapped again", func() bool { return r.vendor.state("x").SubscriptionCount == 2 })
	publish(t, r.vendor.addr, "x", "after", "1")
	here.only("after", "1")
	there.only("after", "1")
	publish(t, r.gateway.addr, "x", "end", "1")
	here.only("end", "1")
	there.only("end", "1")
}

// TestAVendorThatRefusesIsNotInTheWay: over quota there, served here.
func TestAVendorThatRefusesIsNotInTheWay(t *testing.T) {
	full := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "API call failed since (daily) message quota exceeded", http.StatusForbidden)
	}), ReadHeaderTimeout: time.Second}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = full.Serve(l) }()
	defer full.Close()
	r := &rig{t: t, seen: newRecords()}
	r.startGateway(proxy.StageCutover, &proxy.Upstream{WebSocket: "ws://" + l.Addr().String(), API: "http://" + l.Addr().String()})
	c := dial(t, r.gateway.addr, query)
	c.subscribe("x", "")
	publish(t, r.gateway.addr, "x", "e", "1")
	c.only("e", "1")
	gap := r.seen.await(t, "gap", of(proxy.KindGap, proxy.LegVendor, "x"))
	if gap.Text != "not accepted by the upstream" || gap.From.IsZero() {
		t.Errorf("record %+v", gap)
	}
}

// TestNothingReturnsWhileTheTapConnects: the first events on a channel go to
// the vendor while the tap is on its way there, and cannot be kept from it.
func TestNothingReturnsWhileTheTapConnects(t *testing.T) {
	for range 5 {
		r := open(t, proxy.StageCutover)
		c, there := dial(t, r.gateway.addr, query), dial(t, r.vendor.addr, query)
		there.subscribe("x", "")
		c.subscribe("x", "")
		for i := range 10 {
			publish(t, r.gateway.addr, "x", "n", fmt.Sprint(i))
		}
		for _, s := range []*client{c, there} {
			for i := range 10 {
				s.only("n", fmt.Sprint(i))
			}
		}
		eventually(t, "tapped", func() bool { return r.vendor.state("x").SubscriptionCount == 2 })
		publish(t, r.vendor.addr, "x", "end", "1")
		c.only("end", "1")
		there.only("end", "1")
	}
}
