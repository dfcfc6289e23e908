package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// FuzzHandle sends a whole connection's frames, one a line, to an engine that
// another client is connected to. Whatever they are, the connection stays
// open, both clients are sent well-formed frames only, and nothing is left
// once both have gone. Seeds are signed for the only socket id there is.
func FuzzHandle(f *testing.F) {
	id := protocol.SocketID(socketPrefix(7) + "2")
	auth := func(channel, data string) string {
		signed := &data
		if data == "" {
			signed = nil
		}
		return testKey + ":" + protocol.Sign(testSecret, protocol.ChannelString(id, protocol.ChannelName(channel), signed))
	}
	member := `{"user_id":"7","user_info":{"n":1}}`
	user := `{"id":"u","watchlist":["a","b"]}`
	frames := []string{
		`{"event":"pusher:subscribe","data":{"channel":"c"}}`,
		`{"event":"pusher:subscribe","data":{"channel":"cache-c"}}`,
		`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"` + auth("private-a", "") + `"}}`,
		`{"event":"client-x","channel":"private-a","data":{"a":[1,null]}}`,
		`{"event":"client-x","channel":"private-a","data":"text"}`,
		string(append(append([]byte(`{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"`+auth("presence-a", member)+`","channel_data":`), protocol.AppendString(nil, member)...), "}}"...)),
		`{"event":"client-x","channel":"presence-a","data":1}`,
		string(append(append([]byte(`{"event":"pusher:signin","data":{"auth":"`+testKey+":"+protocol.Sign(testSecret, protocol.UserString(id, user))+`","user_data":`), protocol.AppendString(nil, user)...), "}}"...)),
		`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-u","auth":""}}`,
		`{"event":"pusher:unsubscribe","data":{"channel":"presence-a"}}`,
		`{"event":"pusher:ping","data":{}}`,
		`not json`,
		`{"event":"pusher:subscribe","data":"x"}`,
	}
	for _, frame := range frames {
		f.Add([]byte(frame))
	}
	f.Add([]byte(strings.Join(frames, "\n")))
	f.Fuzz(func(t *testing.T, input []byte) {
		n := run(t, nodeSettings{kinds: proxy.AllKinds, app: func(a *proxy.App) { a.SubscriptionCounting = true }})
		other, c := n.dial(), n.dial()
		other.subscribe("private-a", "")
		other.subscribe("presence-a", `{"user_id":"8"}`)
		other.signin(`{"id":"a","watchlist":["u"]}`)
		for frame := range bytes.SplitSeq(input, []byte("\n")) {
			c.conn.Handle(frame)
		}
		c.conn.Close(1000, "")
		other.conn.Close(1000, "")
		if code, reason := c.closed(); code != 0 {
			t.Errorf("closed with %d %s", code, reason)
		}
		for _, text := range append(c.take(), other.take()...) {
			if err := wellFormed(text); err != nil {
				t.Errorf("frame %q: %v", text, err)
			}
		}
		n.tenant(testApp).each(func(ch *channel) { t.Errorf("channel %s is left over", ch.name) })
	})
}

func wellFormed(text string) error {
	var frame map[string]any
	if err := json.Unmarshal([]byte(text), &frame); err != nil {
		return err
	}
	event, _ := frame["event"].(string)
	_, isText := frame["data"].(string)
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("not UTF-8")
	case event == "":
		return fmt.Errorf("no event")
	case isText == (event == "pusher:error"):
		return fmt.Errorf("data is %T", frame["data"])
	}
	return nil
}
