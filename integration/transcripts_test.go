package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/offramp/offramp/integration/conformance"
	"github.com/offramp/offramp/integration/transcript"
	"github.com/offramp/offramp/proxy/protocol"
)

// TestTranscripts runs every transcript against the engine in virtual time.
func TestTranscripts(t *testing.T) {
	scripts, err := transcript.Load("testdata/transcripts")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) == 0 {
		t.Fatal("no transcripts found")
	}
	long, err := transcript.Parse("written by longTranscripts", longTranscripts())
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range append(scripts, long...) {
		t.Run(strings.Join(script.IDs, " ")+": "+script.Title, func(t *testing.T) {
			conformance.Record(t, script.IDs...)
			runOnEngine(t, script)
		})
	}
}

func runOnEngine(t *testing.T, script transcript.Script) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		target := transcript.NewEngine()
		ended := make(chan error)
		go func() { ended <- target.Run(ctx) }()
		if err := script.Run(target); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// longTranscripts returns those that nobody would write by hand.
func longTranscripts() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	line("== T057: 500 channels on one connection")
	line("A connect")
	for i := range 500 {
		line("A joins c%d", i)
	}
	line("publish c0 e 1")
	line(`A < {"event":"e","channel":"c0","data":"1"}`)
	line("publish c499 e 2")
	line(`A < {"event":"e","channel":"c499","data":"2"}`)

	line("== T089 T090: a channel of 100 users takes their further sockets, and no further user")
	for i := range 102 {
		line("C%d connect", i)
	}
	for i := range 100 {
		line(`C%d subscribe presence-a {"user_id":"%d"}`, i, i)
		line(`C%d pass`, i)
	}
	line(`C100 subscribe presence-a {"user_id":"100"}`)
	line(`C100 < {"event":"pusher:error","data":{"code":null,"message":"Presence channel presence-a is full: at most 100 members"}}`)
	line(`C101 joins presence-a {"user_id":"1"}`)
	for i := range 100 {
		line(`C%d pass`, i)
	}

	line("== T110 T111: above 100 subscriptions a count at most each 5 s, and none without a change")
	line("app subscription_counting")
	for i := range 160 {
		line("C%d connect", i)
	}
	for i := range 150 {
		line("C%d subscribe c", i)
	}
	line("sleep 5s")
	for i := range 150 {
		line("C%d pass", i)
	}
	line("sleep 20s")
	line("C0 silent")
	for i := range 10 {
		line("C%d subscribe c", 150+i)
		line("sleep 100ms")
	}
	line(`C0 < {"event":"pusher_internal:subscription_count","channel":"c","data":"{\"subscription_count\":151}"}`)
	line("C0 silent")
	line("sleep 3s")
	line("C0 silent")
	line("sleep 2s")
	line(`C0 < {"event":"pusher_internal:subscription_count","channel":"c","data":"{\"subscription_count\":160}"}`)
	line("sleep 60s")
	for i := range 160 {
		line("C%d pass", i)
	}

	line("== T122 T123 T124: ten client events in a second, then no more until it has passed")
	line("app client_events")
	line("A connect")
	line("B connect")
	line("A joins private-a")
	line("B joins private-a")
	for i := range 30 {
		line(`A > {"event":"client-x","channel":"private-a","data":"%d"}`, i)
		if i < 10 {
			line(`B < {"event":"client-x","channel":"private-a","data":"%d"}`, i)
		} else {
			line(`A < {"event":"pusher:error","data":{"code":4301,"message":"Client event rejected due to rate limit"}}`)
		}
	}
	line("sleep 1s")
	line(`A > {"event":"client-x","channel":"private-a","data":"later"}`)
	line(`B < {"event":"client-x","channel":"private-a","data":"later"}`)

	ids := make([]string, 101)
	for i := range ids {
		ids[i] = fmt.Sprintf(`"u%d"`, i)
	}
	line("== T141: a watchlist of 101")
	line("app watchlist")
	line("A connect")
	line(`A signs-in {"id":"me","watchlist":[%s]}`, strings.Join(ids, ","))
	line(`A < {"event":"pusher:error","data":{"code":4302,"message":"Watchlist limit exceeded. Only the first 100 user IDs are accepted."}}`)
	offline := string(protocol.AppendString(nil, `{"events":[{"name":"offline","user_ids":[`+strings.Join(ids[:100], ",")+`]}]}`))
	line(`A < {"event":"pusher_internal:watchlist_events","data":%s}`, offline)
	line("B connect")
	line(`B signs-in {"id":"u100"}`)
	line("A silent")
	return b.String()
}

// TestSignatureVectors checks the vendor's published examples.
func TestSignatureVectors(t *testing.T) {
	const secret = "7ad3773142a6692b25b8"
	for id, tc := range map[string]struct{ signed, want string }{
		"T059": {protocol.ChannelString("1234.1234", "private-foobar", nil), "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"},
		"T126": {protocol.UserString("1234.1234", `{"id":"12345"}`), "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"},
		"T203": {`{"time_ms":1353088179000,"events":[{"name":"channel_occupied","channel":"test_channel"}]}`, "06f2eb530e72a1a9711d494ec6072ea3268aa851481c75994d99ea5885fabad4"},
	} {
		t.Run(id, func(t *testing.T) {
			conformance.Record(t, id)
			if !protocol.Verify(secret, tc.signed, tc.want) {
				t.Errorf("signature of %q = %s, want %s", tc.signed, protocol.Sign(secret, tc.signed), tc.want)
			}
		})
	}
}

// TestConformanceList holds the list together with the transcripts.
func TestConformanceList(t *testing.T) {
	items, err := conformance.Load("testdata/conformance.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i, item := range items {
		if want := fmt.Sprintf("T%03d", i+1); item.ID != want || item.Area == "" || item.Text == "" {
			t.Errorf("line %d: %+v, want %s complete", i+2, item, want)
		}
		ids = append(ids, item.ID)
	}
	scripts, err := transcript.Load("testdata/transcripts")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		for _, id := range s.IDs {
			if !slices.Contains(ids, id) {
				t.Errorf("%s: %q shows %s, which is not on the list", s.File, s.Title, id)
			}
		}
		if len(s.Steps) == 0 {
			t.Errorf("%s: %q has no steps", s.File, s.Title)
		}
	}
}
