package upstream_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
)

// outlet is a fallback client's transport.
type outlet struct {
	t      *testing.T
	frames chan []byte
	closed chan int
}

func newOutlet(t *testing.T) *outlet {
	return &outlet{t: t, frames: make(chan []byte, 100), closed: make(chan int, 100)}
}

func (o *outlet) Send(b *fanout.Batch, from int) bool {
	for i := from; i < b.Len(); i++ {
		o.frames <- bytes.Clone(b.Payload(i))
	}
	return true
}

func (o *outlet) Close(code int, _ string) { o.closed <- code }

func (o *outlet) await(event string) gjson.Result {
	o.t.Helper()
	for {
		select {
		case text := <-o.frames:
			if f := gjson.ParseBytes(text); f.Get("event").String() == event {
				return f
			}
		case <-time.After(5 * time.Second):
			o.t.Fatalf("no %s", event)
		}
	}
}

func (o *outlet) end() int {
	o.t.Helper()
	select {
	case code := <-o.closed:
		return code
	case <-time.After(5 * time.Second):
		o.t.Fatal("it does not end")
		return 0
	}
}

func (r *rig) stream(o *outlet) (session.Conn, *protocol.Error) {
	app := newApp(proxy.StageObserve)
	app.Upstream = r.up
	return r.relay.Connect(app, proxy.Client{Key: key, Library: "js", Version: "8.4.0", Protocol: 7, Transport: "xhr_streaming"}, o)
}

func TestAFallbackClientIsRelayed(t *testing.T) {
	r := open(t, proxy.StageObserve)
	o := newOutlet(t)
	conn, refused := r.stream(o)
	if refused != nil {
		t.Fatal(refused)
	}
	greeting := o.await("pusher:connection_established")
	id := protocol.SocketID(gjson.Get(greeting.Get("data").String(), "socket_id").String())
	if states := r.vendor.engine.Connections("1"); len(states) != 1 || states[0].Socket != id || states[0].Client.Version != "8.4.0" {
		t.Errorf("the vendor has %+v, the client is %s", states, id)
	}
	conn.Handle([]byte(`{"event":"pusher:subscribe","data":{"channel":"c"}}`))
	o.await("pusher_internal:subscription_succeeded")
	publish(t, r.gateway.addr, "c", "e", "1")
	o.await("e")
	conn.Close(1000, "bye")
	gone := r.seen.await(t, "the end", func(rec proxy.Record) bool { return rec.Kind == proxy.KindDisconnected && rec.Socket == id })
	if gone.Code != 1000 || gone.Client.Transport != "xhr_streaming" {
		t.Errorf("record %+v", gone)
	}
}

func TestAFallbackClientIsToldHowItEnds(t *testing.T) {
	r := open(t, proxy.StageObserve)
	drained, cut := newOutlet(t), newOutlet(t)
	conn, refused := r.stream(drained)
	if refused != nil {
		t.Fatal(refused)
	}
	if err := r.relay.Drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if code := drained.end(); code != 4200 {
		t.Errorf("drained with %d", code)
	}
	conn.Close(4200, "")
	conn, refused = r.stream(cut)
	if refused != nil {
		t.Fatal(refused)
	}
	r.vendor.stop()
	comesBack(t, cut.end())
	conn.Close(0, "")
	if _, refused = r.stream(newOutlet(t)); refused == nil {
		t.Error("connected to an upstream that is down")
	} else {
		comesBack(t, refused.Code)
	}
}
