package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

// between is how close to the end of a client's connection an event may be
// published and miss it, as with any Pusher client that comes back.
const between = time.Second

// enough is how many arrivals a drill must be able to count.
const enough = 200

// load publishes through the gateway (event "g") and at the vendor (event
// "v"), and lets clients talk (event "client-ID"), until it is stopped. Then
// it counts what arrived.
type load struct {
	d *drill

	stop    chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	said []spoken
	// excused are stretches of time in which an event need not arrive: "g" or
	// "v" at the clients with such ids.
	excused []excuse
	again   string // "CLIENT EVENT ": some of these may arrive twice
}

// mostAgain is how many copies may be in the calls that two troubles leave
// without an answer. Such a call is made again: the vendor may have done it.
const mostAgain = 2 * 10

// spoken is an accepted event.
type spoken struct {
	event, data string
	from, to    time.Time // of the call
	by          string    // the client who said it
}

type excuse struct {
	event    string
	at       []string // client ids; empty: all
	from, to time.Time
}

// start begins to publish, with a pause after each event.
func (l *load) start(pause time.Duration, talkers ...string) {
	l.stop = make(chan struct{})
	for event, addr := range map[string]string{"g": l.d.gateway.Addr, "v": l.d.vendor.addr} {
		client := pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: addr}
		l.repeat(pause, func(n int) {
			p := spoken{event: event, data: strconv.Itoa(n), from: time.Now()}
			if err := client.Trigger(drillChannel, event, n); err == nil {
				p.to = time.Now()
				l.note(p)
			}
		})
	}
	for _, id := range talkers {
		l.repeat(150*time.Millisecond, func(n int) {
			now := time.Now()
			l.d.fleet.say(id, "client-"+id, n)
			l.note(spoken{event: "client-" + id, data: strconv.Itoa(n), from: now, to: now, by: id})
		})
	}
}

func (l *load) repeat(pause time.Duration, do func(n int)) {
	l.running.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-l.stop:
				return
			case <-time.After(pause):
				do(n)
			}
		}
	})
}

func (l *load) note(p spoken) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, p)
}

// excuse says that until the function that it returns is called, events need
// not arrive.
func (l *load) excuse(event string, at ...string) (end func()) {
	from := time.Now()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.excused = append(l.excused, excuse{event, at, from, time.Now().Add(between)})
	}
}

// end stops publishing and waits until what was said has arrived.
func (l *load) end() {
	close(l.stop)
	l.running.Wait()
	time.Sleep(between)
}

// stay is a stretch of time in which a client was subscribed.
type stay struct{ from, to time.Time }

// stays returns when each client was on the drill's channel.
func stays(all []happening) map[string][]stay {
	on := map[string][]stay{}
	for _, h := range all {
		at := time.UnixMilli(h.T)
		list := on[h.ID]
		switch {
		case h.What == "subscribed" && h.Name == drillChannel:
			on[h.ID] = append(list, stay{from: at})
		case h.What == "state" && h.Name != "connected" && len(list) > 0 && list[len(list)-1].to.IsZero():
			list[len(list)-1].to = at
		}
	}
	return on
}

// check counts: nothing arrives twice, and what was published while a client
// was there arrives.
func (l *load) check(t *testing.T) {
	t.Helper()
	all := l.d.fleet.all()
	arrived := map[string]int{}
	for _, h := range all {
		if h.What == "event" {
			arrived[h.ID+" "+h.Name+" "+h.Data]++
		}
	}
	again := 0
	for what, times := range arrived {
		switch {
		case times == 2 && l.again != "" && strings.HasPrefix(what, l.again) && again < mostAgain:
			again++
		case times > 1:
			t.Errorf("%q arrived %d times", what, times)
		}
	}
	due, lost := 0, []string{}
	on := stays(all)
	for id := range on {
		for _, p := range l.said {
			if !l.due(p, id, on) {
				continue
			}
			due++
			if arrived[id+" "+p.event+" "+p.data] == 0 {
				lost = append(lost, fmt.Sprintf("%s %s %s (%s)", id, p.event, p.data, p.from.Format("05.000")))
			}
		}
	}
	t.Logf("%d events published, %d arrivals counted, %d of %d due are missing", len(l.said), len(arrived), len(lost), due)
	if len(lost) > 0 {
		t.Errorf("%d of %d events did not arrive: %s …", len(lost), due, strings.Join(lost[:min(len(lost), 20)], ", "))
	}
	if due < enough {
		t.Errorf("only %d arrivals were due of %d events: the drill proves nothing", due, len(l.said))
	}
}

// due reports whether an event must have arrived at a client.
func (l *load) due(p spoken, id string, on map[string][]stay) bool {
	subscribed := func(id string) bool {
		return slices.ContainsFunc(on[id], func(s stay) bool { return s.during(p) })
	}
	if p.by == id || !subscribed(id) || p.by != "" && !subscribed(p.by) {
		return false
	}
	return !slices.ContainsFunc(l.excused, func(e excuse) bool {
		return strings.HasPrefix(p.event, e.event) && (len(e.at) == 0 || slices.Contains(e.at, id)) && p.to.After(e.from) && p.from.Before(e.to)
	})
}

func (s stay) during(p spoken) bool {
	return p.from.After(s.from) && (s.to.IsZero() || p.to.Add(between).Before(s.to))
}
