package engine

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// sink is an outlet that takes everything and keeps nothing.
type sink struct{}

func (sink) Send(*fanout.Batch, int) bool { return true }
func (sink) Close(int, string)            {}

func connect(b *testing.B, n *node, client proxy.Client) *Conn {
	conn, err := n.Connect(n.app.Load(), client, sink{})
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

func subscribeFrame(channel string) []byte {
	return fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"auth":"","channel":"%s"}}`, channel)
}

func BenchmarkDeliver(b *testing.B) {
	data := make([]byte, 128)
	for i := range data {
		data[i] = 'a'
	}
	for _, subs := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("subs=%d", subs), func(b *testing.B) {
			n := run(b, nodeSettings{})
			for range subs {
				connect(b, n, proxy.Client{}).Handle(subscribeFrame("c"))
			}
			p := Publication{Channels: []protocol.ChannelName{"c"}, Name: "event", Data: data}
			app := n.app.Load()
			b.ReportAllocs()
			for b.Loop() {
				if err := n.Publish(context.Background(), app, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHandleClientEvent(b *testing.B) {
	n := run(b, nodeSettings{app: func(a *proxy.App) { a.Limits.ClientEventsPerSecond = 1 << 30 }})
	conns := make([]*Conn, 2)
	for i := range conns {
		c := connect(b, n, proxy.Client{})
		auth := testKey + ":" + protocol.Sign(testSecret, protocol.ChannelString(c.id, "private-a", nil))
		c.Handle(fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"auth":"%s","channel":"private-a"}}`, auth))
		conns[i] = c
	}
	frame := []byte(`{"event":"client-typing","channel":"private-a","data":{"who":"Ann","text":"some words of a message"}}`)
	b.ReportAllocs()
	for b.Loop() {
		conns[0].Handle(frame)
	}
	if got := n.Stats(testApp); got.Refusals > 0 {
		b.Fatalf("%d refused", got.Refusals)
	}
}

// BenchmarkSubscribe has a connection subscribe to many channels of its own.
// Beside the usual it reports what the subscriptions weigh.
func BenchmarkSubscribe(b *testing.B) {
	n := run(b, nodeSettings{})
	c := connect(b, n, proxy.Client{})
	before := liveHeap()
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		c.Handle(subscribeFrame(fmt.Sprintf("channel-%08d", i)))
		i++
	}
	b.ReportMetric(float64(liveHeap()-before)/float64(i), "live-B/sub")
	runtime.KeepAlive(c)
}

// BenchmarkConnect connects clients that each subscribe to a channel of their
// own, and reports what one weighs without its transport.
func BenchmarkConnect(b *testing.B) {
	n := run(b, nodeSettings{})
	before := liveHeap()
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		c := connect(b, n, proxy.Client{Key: testKey, Library: "js", Version: "8.6.0", Protocol: 7, Remote: fmt.Sprintf("127.0.0.1:%d", i)})
		c.Handle(subscribeFrame(fmt.Sprintf("channel-%08d", i)))
		i++
	}
	b.ReportMetric(float64(liveHeap()-before)/float64(i), "live-B/conn")
	runtime.KeepAlive(n)
}

func BenchmarkJoinPresence(b *testing.B) {
	for _, members := range []int{10, 100, 500} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			n := run(b, nodeSettings{app: func(a *proxy.App) { a.Limits.PresenceMembers = 1 << 20 }})
			join := func(c *Conn, user int) {
				data := fmt.Sprintf(`{"user_id":"%d","user_info":{"name":"Somebody"}}`, user)
				auth := testKey + ":" + protocol.Sign(testSecret, protocol.ChannelString(c.id, "presence-a", &data))
				quoted := protocol.AppendString(nil, data)
				c.Handle(fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"auth":"%s","channel":"presence-a","channel_data":%s}}`, auth, quoted))
			}
			for i := range members {
				join(connect(b, n, proxy.Client{}), i)
			}
			c := connect(b, n, proxy.Client{})
			b.ReportAllocs()
			for b.Loop() {
				join(c, members)
				c.Handle([]byte(`{"event":"pusher:unsubscribe","data":{"channel":"presence-a"}}`))
			}
		})
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
