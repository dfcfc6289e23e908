package httpstream

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// FuzzDecodeMessages: whatever is taken for messages must be what another
// reader of JSON takes it for, and nothing may end the process.
func FuzzDecodeMessages(f *testing.F) {
	for _, seed := range []string{
		`[]`, `["{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"c\"}}"]`, `["a","b"]`, ` [ "x" ] `, `["\u00e9\ud83d\ude00"]`,
		``, `null`, `{}`, `[1]`, `[null]`, `["x"`, `["\ud800"]`, "[\"\xff\"]", strings.Repeat("[", 20000), `[["x"]]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		messages, err := decodeMessages(body)
		if err != nil {
			return
		}
		var any []any
		if err := json.Unmarshal(body, &any); err != nil || len(any) != len(messages) {
			t.Fatalf("%q was read as %q", body, messages)
		}
		for _, m := range messages {
			if !utf8.ValidString(m) {
				t.Errorf("%q holds a message that is not UTF-8: %q", body, m)
			}
		}
	})
}

// FuzzMessagesFrame: a client gets back what was queued, in one line.
func FuzzMessagesFrame(f *testing.F) {
	f.Add("one", "two", 4001, "a reason")
	f.Add(`{"event":"e","data":"{\"a\":1}"}`, "é\u2028\u2029😀", 1011, `with "quotes" and \`)
	f.Add("", "\n\r\x00", 0, "\n")
	f.Add("\xff", "\xed\xa0\x80", -1, "")
	f.Fuzz(func(t *testing.T, first, second string, code int, reason string) {
		line := appendMessages(nil, []queued{{fanout.One([]byte(first)), 0}, {fanout.One([]byte(second)), 0}})
		var got []string
		decode(t, line, 'a', &got)
		want := []string{strings.ToValidUTF8(first, "\uFFFD"), strings.ToValidUTF8(second, "\uFFFD")}
		if len(got) != 2 || utf8.ValidString(first) && got[0] != want[0] || utf8.ValidString(second) && got[1] != want[1] {
			t.Errorf("%q and %q became %s", first, second, line)
		}
		var closed []any
		decode(t, appendClose(nil, &protocol.Error{Code: code, Message: reason}), 'c', &closed)
		if len(closed) != 2 || closed[0] != float64(code) || utf8.ValidString(reason) && closed[1] != reason {
			t.Errorf("%d %q became %v", code, reason, closed)
		}
	})
}

func decode(t *testing.T, line []byte, kind byte, into any) {
	t.Helper()
	if line[0] != kind || bytes.IndexByte(line, '\n') != len(line)-1 {
		t.Fatalf("not one line of kind %c: %q", kind, line)
	}
	if err := json.Unmarshal(line[1:], into); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
}

func TestJSLength(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "é": 1, "€": 1, "😀": 2, "a😀é": 4} {
		if got := jsLength([]byte(text)); got != want {
			t.Errorf("jsLength(%q) = %d, want %d", text, got, want)
		}
	}
}
