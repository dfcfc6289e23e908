package host

import (
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

func TestWhatExceedsALimitIsRefused(t *testing.T) {
	declared := translators.Description{Limits: translators.Limits{
		PayloadBytes: 5, ChannelNameBytes: 4, EventNameBytes: 3, PublishesPerSecond: 1, PerChannelPerSecond: 1,
	}}
	said := func(l translators.Limits) plugins.Opened { return plugins.Opened{Limits: &l} }
	type publish struct{ channel, name, data string }
	for name, tc := range map[string]struct {
		opened    plugins.Opened
		publishes []publish
		want      string
	}{
		"at the declared sizes": {plugins.Opened{}, []publish{{"room", "abc", "12345"}}, "-"},
		"data above":            {plugins.Opened{}, []publish{{"room", "abc", "123456"}}, "REJECTED_SIZE"},
		"channel name above":    {plugins.Opened{}, []publish{{"rooms", "abc", "1"}}, "REJECTED_NAME"},
		"event name above":      {plugins.Opened{}, []publish{{"room", "abcd", "1"}}, "REJECTED_NAME"},
		"a rate that is only declared is the plugin's own to keep": {
			plugins.Opened{}, []publish{{"room", "abc", "1"}, {"room", "abc", "2"}}, "- -",
		},
		"what the session says is in force instead": {said(translators.Limits{PayloadBytes: 6}), []publish{{"rooms", "abcd", "123456"}}, "-"},
		"a session that says there are none":        {said(translators.Limits{}), []publish{{"rooms", "abcd", "123456"}}, "-"},
		"a channel's rate is its own": {
			said(translators.Limits{PerChannelPerSecond: 2}), []publish{{"a", "", ""}, {"a", "", ""}, {"b", "", ""}}, "- THROTTLED -",
		},
		"the session's rate is for all": {
			said(translators.Limits{PublishesPerSecond: 4}), []publish{{"a", "", ""}, {"b", "", ""}, {"c", "", ""}}, "- - THROTTLED",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := boundsOf(declared, tc.opened)
			var got []string
			for _, p := range tc.publishes {
				code := "-"
				it := item{event: &proxy.Event{Topic: proxy.Topic{Channel: protocol.ChannelName(p.channel)}, Name: p.name, Data: []byte(p.data)}}
				if r, exceeds := b.refuse(it, epoch); exceeds {
					code = r.Code.String()
				}
				got = append(got, code)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}

func TestARateRecovers(t *testing.T) {
	b := boundsOf(translators.Description{}, plugins.Opened{Limits: &translators.Limits{PerChannelPerSecond: 2}})
	for i, want := range []bool{true, false, true} {
		if got := b.paces("room", after(time.Duration(i)*300*time.Millisecond)); got != want {
			t.Errorf("after %d × 300 ms an event passes: %t, want %t", i, got, want)
		}
	}
}

// TestRefusedItemsTakeNoRoom: they are in no batch, and none of them is left in
// the book's sums.
func TestRefusedItemsTakeNoRoom(t *testing.T) {
	b := running(10, "a")
	b.bind(&bounds{limits: translators.Limits{PayloadBytes: 1}})
	for n := range 4 {
		e := event("a", n)
		if n%2 == 1 {
			e.Data = []byte("too long")
		}
		b.publish(e, epoch)
	}
	number, events := taken(b)
	if events != "a0 a2" {
		t.Errorf("the batch is %q", events)
	}
	if refused := b.refusals(); len(refused) != 2 || refused[1].event.ID.Seq != 3 || refused[1].result.Code != translators.CodeRejectedSize {
		t.Errorf("refused: %+v", refused)
	}
	if len(b.refusals()) != 0 {
		t.Error("they are told twice")
	}
	if b.answer(number, 2, 10); !b.empty() || b.bytes != 0 {
		t.Errorf("%d items of %d bytes are left", b.items, b.bytes)
	}
}
