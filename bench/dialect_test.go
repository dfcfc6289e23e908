package bench

import (
	"strings"
	"testing"
	"time"
)

// TestPusherSignature uses the vendor's own worked example of the HTTP API's
// authentication.
func TestPusherSignature(t *testing.T) {
	p := newPusher(Target{AppID: "3", Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}, true)
	p.now = func() time.Time { return time.Unix(1353088179, 0) }
	body := []byte(`{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`)
	got := string(p.appendSignature([]byte("/apps/3/events"), 0, body))
	want := "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0" +
		"&body_md5=ec365a775a4cd0599faeb73354201b6f" +
		"&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
	if got != want {
		t.Errorf("signed path\n got %s\nwant %s", got, want)
	}
}

// TestPusherChannelAuth uses the vendor's worked examples of channel
// authorization.
func TestPusherChannelAuth(t *testing.T) {
	p := newPusher(Target{Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}, true)
	got := string(p.subscribe(nil, "private-foobar", "1234.1234", ""))
	const mac = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
	if !strings.Contains(got, `"auth":"278d425bdf160c739803:`+mac+`"`) {
		t.Errorf("subscribe = %s, want the MAC %s", got, mac)
	}
}

func TestClassify(t *testing.T) {
	ps := newPusher(Target{}, true)
	cf := &centrifugo{}
	for name, tc := range map[string]struct {
		dialect dialect
		text    string
		want    kind
	}{
		"pusher greets":               {ps, `{"event":"pusher:connection_established","data":"{}"}`, greeted},
		"pusher confirms":             {ps, `{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"c"}`, subscribed},
		"pusher, keys in any order":   {ps, `{"channel":"c","event":"pusher_internal:member_added","data":"{}"}`, joined},
		"pusher removes a member":     {ps, `{"event":"pusher_internal:member_removed","channel":"c","data":"{}"}`, left},
		"pusher refuses":              {ps, `{"event":"pusher:error","data":{"code":4009}}`, refused},
		"pusher refuses to subscribe": {ps, `{"event":"pusher:subscription_error","data":{}}`, refused},
		"pusher pings":                {ps, `{"event":"pusher:ping","data":{}}`, pinged},
		"pusher says something else":  {ps, `{"event":"pusher_internal:subscription_count","data":"{}"}`, other},
		"pusher says nonsense":        {ps, `}`, other},
		"centrifugo greets":           {cf, `{"id":1,"connect":{"client":"x","ping":25,"pong":true}}`, greeted},
		"centrifugo confirms":         {cf, `{"id":1,"subscribe":{}}`, subscribed},
		"centrifugo pings":            {cf, `{}`, pinged},
		"centrifugo refuses":          {cf, `{"id":1,"error":{"code":103}}`, refused},
		"centrifugo took a publish":   {cf, `{"id":1,"publish":{}}`, other},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.dialect.classify([]byte(tc.text)); got != tc.want {
				t.Errorf("classify(%s) = %d, want %d", tc.text, got, tc.want)
			}
		})
	}
}

func TestPusherReadsGreetingAndMembers(t *testing.T) {
	p := newPusher(Target{}, true)
	greeting := `{"event":"pusher:connection_established","data":"{\"socket_id\":\"12.34\",\"activity_timeout\":120}"}`
	if got := p.socketID([]byte(greeting)); got != "12.34" {
		t.Errorf("socketID = %q, want 12.34", got)
	}
	confirmation := `{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":27,\"ids\":[]}}"}`
	if got := p.members([]byte(confirmation)); got != 27 {
		t.Errorf("members = %d, want 27", got)
	}
	if got := p.members([]byte(`{"data":"{}"}`)); got != 0 {
		t.Errorf("members of a public channel = %d, want 0", got)
	}
}

func TestPublishRequests(t *testing.T) {
	one, two := [][]byte{[]byte("a")}, [][]byte{[]byte("a"), []byte("b")}
	target := Target{Addr: "h:1", AppID: "3", Key: "k", PathPrefix: "/ws"}
	for name, tc := range map[string]struct {
		dialect  dialect
		payloads [][]byte
		want     string
	}{
		"plain, one event": {newPusher(target, false), one,
			"POST /ws/apps/3/events HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n" +
				`{"name":"bench","channel":"c","data":"a"}`},
		"plain, a batch": {newPusher(target, false), two,
			"POST /ws/apps/3/batch_events HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\nContent-Length: 95\r\n\r\n" +
				`{"batch":[{"name":"bench","channel":"c","data":"a"},{"name":"bench","channel":"c","data":"b"}]}`},
		"centrifugo, one event": {&centrifugo{host: "h:1", key: "k"}, one,
			"POST /api/publish HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\nX-API-Key: k\r\nContent-Length: 26\r\n\r\n" +
				`{"channel":"c","data":"a"}`},
		"centrifugo, a batch": {&centrifugo{host: "h:1", key: "k"}, two,
			"POST /api/batch HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\nX-API-Key: k\r\nContent-Length: 92\r\n\r\n" +
				`{"commands":[{"publish":{"channel":"c","data":"a"}},{"publish":{"channel":"c","data":"b"}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(tc.dialect.publish(nil, "c", tc.payloads)); got != tc.want {
				t.Errorf("publish =\n%q, want\n%q", got, tc.want)
			}
		})
	}
}
