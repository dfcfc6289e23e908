package shadow

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// anything makes records from bytes: every kind, a few channels, legs,
// sockets, users, ids and payloads, in any order and with times that jump.
func anything(script []byte, start time.Time) []proxy.Record {
	at := start
	var out []proxy.Record
	for len(script) >= 4 {
		a, b, c, d := script[0], script[1], script[2], script[3]
		script = script[4:]
		at = at.Add(time.Duration(int(d)-20) * 50 * time.Millisecond)
		topic := proxy.Topic{App: testApp, Channel: [...]protocol.ChannelName{"room-1", "presence-room-1", "cache-x", ""}[b%4]}
		r := proxy.Record{
			Kind: proxy.Kind(a % 20), At: at, Leg: [...]proxy.Leg{proxy.LegVendor, proxy.LegEngine, testBackend, "stranger"}[b>>2%4],
			Topic: topic, Socket: [...]protocol.SocketID{"", "1.1", "1.2", "1.3"}[b>>4%4], UserID: [...]string{"", "ann", "bob"}[c%3],
			Count: int(c % 4), Code: int(c), Action: "subscribe", Text: [...]string{"OK", "THROTTLED", ""}[c%3],
		}
		if r.Kind == proxy.KindGap {
			r.From = at.Add(-time.Duration(c) * 100 * time.Millisecond)
		}
		if c%16 != 15 {
			r.Event = &proxy.Event{
				ID: proxy.EventID{Node: uint64(c >> 7), Seq: uint64(c >> 3 % 16)}, Topic: topic, Name: [...]string{"m", "n", "pusher:x"}[c%3],
				Data: []byte{'0' + c%5}, UserID: r.UserID, Publisher: proxy.Publisher(c % 2), At: at, Except: r.Socket,
			}
		}
		out = append(out, r)
	}
	return out
}

// FuzzObserve holds whatever comes against what must always be so.
func FuzzObserve(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 20 {
		script := make([]byte, 800)
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		f.Add(script, rng.IntN(2) == 0, uint8(rng.IntN(40)))
	}
	f.Fuzz(func(t *testing.T, script []byte, relayed bool, small uint8) {
		c := Config{}
		if small > 0 {
			c.ChannelWindow, c.OpenWindow, c.Bodies = int(small), 10*int(small), 10
		}
		s := newState(c.withDefaults(), testApps(relayed))
		now := int64(0)
		for i, r := range anything(script, s.start) {
			s.observe(&r)
			if now = max(now, s.nanos(r.At)); i%7 == 0 {
				s.sweep(now)
			}
			if i%31 == 0 {
				s.snapshot(testApp, time.Time{}, now)
			}
		}
		s.closeAll(now+int64(time.Second), true)
		if s.open != 0 || s.bodies != 0 {
			t.Errorf("after closing, %d events and arrivals and %d bytes are still held", s.open, s.bodies)
		}
		for k, e := range s.ledger.cells {
			c := &e.counts
			if c.Expected != c.Matched+c.Missing+c.PayloadDiffers || c.SameJSON > c.PayloadDiffers || c.ReferenceMissing > c.Expected {
				t.Errorf("%+v does not add up: %+v", k, c)
			}
		}
	})
}
