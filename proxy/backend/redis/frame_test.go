package redis

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

func sample() *proxy.Event {
	return &proxy.Event{
		ID: proxy.EventID{Node: 1 << 63, Seq: 7}, Topic: proxy.Topic{App: "app", Channel: "private-a"}, Name: "e",
		Data: []byte("x"), Except: "1.2", UserID: "u", Socket: "3.4", Publisher: proxy.ByClient, Origin: proxy.LegVendor, Via: "offramp;node=1",
		At: time.Unix(0, 12345),
	}
}

func toKeep() *proxy.Event {
	ev := sample()
	ev.Topic.Channel, ev.Publisher, ev.Order = "cache-a", proxy.ByServer, 1764000000000000
	return ev
}

func TestParseFrameRefuses(t *testing.T) {
	good := string(appendFrame(nil, sample()))
	change := func(f func(*proxy.Event)) string {
		ev := sample()
		f(ev)
		return string(appendFrame(nil, ev))
	}
	for name, frame := range map[string]string{
		"nothing":                   "",
		"an order cut off":          "o17640",
		"an order of letters":       "o00000000000000ab" + good,
		"an order behind an order":  "o0000000000000001o0000000000000001" + good,
		"an order for no cache":     "o0000000000000001" + good,
		"a version before this one": "\x01" + good[1:],
		"too many texts":            good[:frameHead] + "\x7f" + good[frameHead+1:],
		"too few texts":             good[:frameHead] + "\x07" + good[frameHead+1:],
		"fewer texts than it says":  good[:frameHead] + "\x40" + good[frameHead+1:],
		"a place that is none":      placed(sample(), "12-x"),
		"half a place":              placed(sample(), "12"),
		"a place beyond all":        placed(sample(), "1-99999999999999999999"),
		"a publisher nobody is":     good[:1] + "\x03" + good[2:],
		"less than its lengths say": good[:frameHead+4],
		"a length without end":      good[:frameHead+1] + strings.Repeat("\xff", 12),
		"more than a frame may be":  good + strings.Repeat("x", maxFrame),
		"no app":                    change(func(e *proxy.Event) { e.Topic.App = "" }),
		"no channel":                change(func(e *proxy.Event) { e.Topic.Channel = "" }),
		"a socket id that is none":  change(func(e *proxy.Event) { e.Except = "x" }),
		"a name too long":           change(func(e *proxy.Event) { e.Name = strings.Repeat("x", maxName+1) }),
		"a name that is no text":    change(func(e *proxy.Event) { e.Name = "\xff" }),
	} {
		if ev, _, err := parseFrame(frame); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v, %v; want %v", name, ev, err, ErrFrame)
		}
	}
	if _, _, err := parseFrame(good); err != nil {
		t.Errorf("the one they were made from: %v", err)
	}
}

// A node of a later release sends fields that this one does not know: they are
// passed over.
func TestParseFrameOfALaterVersion(t *testing.T) {
	good := string(appendFrame(nil, sample()))
	head, texts, data := good[:frameHead], good[frameHead+1:len(good)-1], good[len(good)-1:]
	later := "\x07" + head[1:] + "\x0a" + texts + "\x03new" + data
	if got, _, err := parseFrame(later); err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("parseFrame = %v, %v; want %v", got, err, sample())
	}
}

// placed is a frame as Redis passes it on.
func placed(ev *proxy.Event, at string) string {
	return string(appendHead(nil, ev)) + string(rune(len(at))) + at + string(ev.Data)
}

func TestParseFrameHasItsPlace(t *testing.T) {
	for text, want := range map[string]place{"": {}, "1764000000000-12": {1764000000000, 12}} {
		got, at, err := parseFrame(placed(sample(), text))
		if err != nil || at != want || !reflect.DeepEqual(got, sample()) {
			t.Errorf("parseFrame with place %q = %v at %v, %v", text, got, at, err)
		}
	}
}

// A node of the release before this one has no place in its frames.
func TestParseFrameOfThePreviousVersion(t *testing.T) {
	good := string(appendFrame(nil, sample()))
	texts := good[frameHead+1 : len(good)-2]
	if got, at, err := parseFrame("\x02" + good[1:frameHead] + texts + "x"); err != nil || at != (place{}) || !reflect.DeepEqual(got, sample()) {
		t.Errorf("parseFrame = %v at %v, %v; want %v", got, at, err, sample())
	}
}

// Whatever parses is written and read again as the same event.
func FuzzParseFrame(f *testing.F) {
	f.Add(string(appendFrame(nil, sample())))
	f.Add(string(appendFrame(nil, &proxy.Event{Topic: proxy.Topic{App: "a", Channel: "#user-1"}, Publisher: proxy.ByEngine, At: time.Unix(0, 0)})))
	f.Add("\x01\x00")
	f.Add("\x04" + string(appendFrame(nil, sample()))[1:frameHead] + "\x09\x01a\x01b\x00\x00\x00\x00\x00\x00\x01x")
	f.Add(placed(sample(), "1764000000000-12"))
	f.Add(string(appendOrdered(nil, toKeep())))
	f.Add("o1")
	f.Fuzz(func(t *testing.T, frame string) {
		ev, at, err := parseFrame(frame)
		if err != nil {
			return
		}
		encode := appendFrame
		if ev.Order != 0 {
			encode = appendOrdered
		}
		if again, ok := parsePlace(at.String()); !ok || again != at {
			t.Errorf("place %v becomes %v", at, again)
		}
		again, _, err := parseFrame(string(encode(nil, ev)))
		if err != nil || !reflect.DeepEqual(ev, again) {
			t.Errorf("%+v becomes %+v, %v", ev, again, err)
		}
	})
}
