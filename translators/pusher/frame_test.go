package pusher

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

func TestDecodeFrame(t *testing.T) {
	for name, tc := range map[string]struct {
		raw  string
		want translators.Envelope
	}{
		"data in a string":        {`{"event":"e","channel":"c","data":"{\"a\":1}"}`, translators.Envelope{Event: "e", Channel: "c", Data: []byte(`{"a":1}`)}},
		"data that is no string":  {`{"event":"e","channel":"c","data":{ "a":1 }}`, translators.Envelope{Event: "e", Channel: "c", Data: []byte(`{ "a":1 }`)}},
		"a client event":          {`{"event":"client-e","channel":"presence-c","data":"1","user_id":"7"}`, translators.Envelope{Event: "client-e", Channel: "presence-c", Data: []byte("1"), UserID: "7", Kind: translators.KindClientEvent}},
		"a user id as a number":   {`{"event":"client-e","channel":"c","data":"","user_id":7}`, translators.Envelope{Event: "client-e", Channel: "c", UserID: "7", Kind: translators.KindClientEvent}},
		"escapes and a zero byte": {`{"event":"e","channel":"c","data":"\u0000\ud83d\ude80\/"}`, translators.Envelope{Event: "e", Channel: "c", Data: []byte("\x00🚀/")}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := decodeFrame([]byte(tc.raw))
			if err != nil {
				t.Fatal(err)
			}
			got := f.envelope()
			if string(got.Data) != string(tc.want.Data) || got.Event != tc.want.Event || got.Channel != tc.want.Channel ||
				got.UserID != tc.want.UserID || got.Kind != tc.want.Kind {
				t.Errorf("decoded %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestDecodeEstablished(t *testing.T) {
	for name, tc := range map[string]struct {
		raw, want string
		timeout   time.Duration
	}{
		"the vendor's":             {`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":30}"}`, "", 30 * time.Second},
		"without a timeout":        {`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\"}"}`, "", defaultActivityTimeout},
		"an absurd timeout":        {`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":1e300}"}`, "", maxActivityTimeout},
		"no such app":              {`{"event":"pusher:error","data":{"code":4001,"message":"App key x not in this cluster."}}`, "refuses the connection: 4001 App key x", 0},
		"something else":           {`{"event":"hello"}`, `began with "hello"`, 0},
		"a socket id that is none": {`{"event":"pusher:connection_established","data":"{\"socket_id\":\"../x\"}"}`, "a socket id", 0},
		"not JSON":                 {`hello`, "Invalid", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeEstablished([]byte(tc.raw))
			if tc.want == "" && (err != nil || got.timeout != tc.timeout) {
				t.Errorf("decoded %+v, %v; want a timeout of %v", got, err, tc.timeout)
			}
			if tc.want != "" && (err == nil || tc.want != "Invalid" && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

// FuzzDecodeFrame: an event that a server frames is read back as it was, and
// nothing that a server sends does harm.
func FuzzDecodeFrame(f *testing.F) {
	for _, seed := range []string{
		`{"event":"e","channel":"c","data":"{\"a\":1}"}`, `{"event":"pusher:error","data":{"code":4001,"message":"m"}}`,
		`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\"}"}`, `{"event":1}`, "[", `{"event":"e","user_id":`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = decodeEstablished(raw)
		_ = decodeError(raw)
		got, err := decodeFrame(raw)
		if err != nil || got.user != "" || !utf8.Valid(raw) { // text frames are UTF-8 (RFC 6455, 5.6)
			return
		}
		again, err := decodeFrame(protocol.AppendEvent(nil, got.channel, got.event, got.data, ""))
		if err != nil || again.event != got.event || again.channel != got.channel || string(again.data) != string(got.data) {
			t.Errorf("%+v was framed and read back as %+v, %v", got, again, err)
		}
	})
}
