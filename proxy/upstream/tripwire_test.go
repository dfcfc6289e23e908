package upstream_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/upstream"
)

// openTripped starts a vendor and a gateway whose tripwire lasts that long.
func openTripped(t *testing.T, stage proxy.Stage, long time.Duration) *rig {
	t.Helper()
	vendors, err := apps.New([]*proxy.App{newApp(proxy.StageExited)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, seen: newRecords()}
	r.vendor, _ = serve(t, 1, vendors, nil, nil)
	r.startGateway(stage, &proxy.Upstream{WebSocket: "ws://" + r.vendor.addr, API: "http://" + r.vendor.addr, Tripwire: long})
	return r
}

func (r *rig) saw(what, channel, name string) bool {
	t, _ := r.relay.Tripwire("1")
	return slices.ContainsFunc(t.Seen, func(s upstream.Sighting) bool {
		return s.What == what && string(s.Channel) == channel && s.Name == name && !s.First.IsZero() && !s.Last.IsZero()
	})
}

// TestTheTripwireNamesWhoWasForgotten: clients and publishers that are still
// at the vendor after the exit.
func TestTheTripwireNamesWhoWasForgotten(t *testing.T) {
	r := openTripped(t, proxy.StageCutover, time.Hour)
	if _, ok := r.relay.Tripwire("1"); ok {
		t.Error("a tripwire before the exit")
	}
	there := dial(t, r.vendor.addr, query)
	there.subscribe("private-x", "")
	there.subscribe("presence-room", "laggard")
	r.move(proxy.StageExited)
	long(t, "subscribers", func() bool { return r.saw("subscribers", "private-x", "") && r.saw("subscribers", "presence-room", "") })
	long(t, "the member", func() bool { return r.saw("member", "presence-room", "laggard") })
	long(t, "the publisher", func() bool {
		publish(t, r.vendor.addr, "private-x", "forgotten", "1")
		return r.saw("event", "private-x", "forgotten")
	})
	long(t, "the client's event", func() bool {
		there.send(`{"event":"client-forgotten","channel":"private-x","data":"1"}`)
		return r.saw("client event", "private-x", "client-forgotten")
	})
	// What is published here does not reach the vendor any more, and the
	// tripwire does not take itself for a client.
	publish(t, r.gateway.addr, "private-x", "here", "1")
	there.ws.Close()
	last := func() time.Time {
		trip, _ := r.relay.Tripwire("1")
		for _, s := range trip.Seen {
			if s.What == "subscribers" && s.Channel == "private-x" {
				return s.Last
			}
		}
		return time.Time{}
	}
	eventually(t, "the vendor is empty", func() bool { return !r.vendor.state("private-x").Occupied })
	before := last()
	looked, _ := r.relay.Tripwire("1")
	long(t, "looked once more", func() bool { now, _ := r.relay.Tripwire("1"); return now.Looked.After(looked.Looked.Add(time.Second)) })
	if r.saw("event", "private-x", "here") {
		t.Error("an event from here was seen at the vendor")
	}
	if last().Sub(before) > 500*time.Millisecond {
		t.Error("the tripwire sees itself")
	}
	r.move(proxy.StageCutover)
	long(t, "gone", func() bool { _, ok := r.relay.Tripwire("1"); return !ok })
}

func TestTheTripwireEndsByItself(t *testing.T) {
	r := openTripped(t, proxy.StageCutover, 2*time.Second)
	r.move(proxy.StageExited)
	long(t, "there", func() bool { trip, ok := r.relay.Tripwire("1"); return ok && !trip.Looked.IsZero() })
	long(t, "ended", func() bool { _, ok := r.relay.Tripwire("1"); return !ok })
	history, err := r.router.History("1")
	if err != nil || !strings.HasPrefix(history[len(history)-1].Note, "ended, 0 clients") {
		t.Errorf("journal %+v, %v", history, err)
	}
}

// TestNobodyIsWatchedWhoWasNeverMoved: an app that is configured as exited
// leaves its vendor alone.
func TestNobodyIsWatchedWhoWasNeverMoved(t *testing.T) {
	r := openTripped(t, proxy.StageExited, time.Hour)
	time.Sleep(500 * time.Millisecond)
	if _, ok := r.relay.Tripwire("1"); ok {
		t.Error("watched")
	}
}
