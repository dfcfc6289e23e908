package protocol

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", path, got, want)
	}
}

// serverFrames returns every kind of frame that a server sends, by a sentence.
func serverFrames() [][2]string {
	ann := Member{UserID: "7", Info: []byte(`{"name": "Ann", "n":1.50}`)}
	bo := Member{UserID: `8"\`}
	return [][2]string{
		{"the greeting", string(AppendEstablished(nil, "131160.155806628", 120))},
		{"a pong", string(AppendPong(nil))},
		{"an error of one command", string(AppendError(nil, ErrExisting("my-channel")))},
		{"an error with a code", string(AppendError(nil, ErrClientRate))},
		{"a subscription", string(AppendSubscriptionSucceeded(nil, "my-channel"))},
		{"a presence subscription, alone", string(AppendPresenceSucceeded(nil, "presence-a", []Member{ann}))},
		{"a presence subscription, among others", string(AppendPresenceSucceeded(nil, "presence-a", []Member{ann, bo}))},
		{"a member who comes", string(AppendMemberAdded(nil, "presence-a", ann))},
		{"a member who comes without user_info", string(AppendMemberAdded(nil, "presence-a", bo))},
		{"a member who goes", string(AppendMemberRemoved(nil, "presence-a", bo.UserID))},
		{"a count of subscriptions", string(AppendSubscriptionCount(nil, "my-channel", 37))},
		{"an empty cache channel", string(AppendCacheMiss(nil, "cache-a"))},
		{"a sign-in", string(AppendSigninSuccess(nil, `{"id":"12345","user_info":{"name":"Ann"}}`))},
		{"a watchlist with both", string(AppendWatchlist(nil, []string{"1", "2"}, []string{"3"}))},
		{"a watchlist of those online", string(AppendWatchlist(nil, []string{"1"}, nil))},
		{"a watchlist of those offline", string(AppendWatchlist(nil, nil, []string{"3"}))},
		{"an empty watchlist", string(AppendWatchlist(nil, nil, nil))},
		{"an event", string(AppendEvent(nil, "my-channel", "my-event", []byte(`{"hello":"world"}`), ""))},
		{"an event that names its sender", string(AppendEvent(nil, "presence-a", "client-x", []byte(`1`), "7"))},
		{"an event with text that needs escaping", string(AppendEvent(nil, "c", `App\Events\X`, []byte("<a href=\"x\">\n\t\r\x01\u2028ä€😀</a>"), ""))},
		{"an event with bytes that are not UTF-8", string(AppendEvent(nil, "c", "e", []byte("a\xffb\xc3"), ""))},
	}
}

// Every byte that a client can be sent, so that no release changes one unnoticed.
func TestServerFrames(t *testing.T) {
	var text strings.Builder
	for _, f := range serverFrames() {
		fmt.Fprintf(&text, "# %s\n%s\n", f[0], f[1])
	}
	golden(t, "server_frames.golden", text.String())
}

func TestServerFramesKeepTheGeneralRules(t *testing.T) {
	for _, f := range serverFrames() {
		var frame map[string]any
		if err := json.Unmarshal([]byte(f[1]), &frame); err != nil || !utf8.ValidString(f[1]) {
			t.Errorf("%s: %s: %v, UTF-8 %t", f[0], f[1], err, utf8.ValidString(f[1]))
			continue
		}
		name, _ := frame["event"].(string)
		if name == "" {
			t.Errorf("%s has no event name: %s", f[0], f[1])
		}
		switch data := frame["data"].(type) {
		case string:
			if name == "pusher:error" {
				t.Errorf("%s: data is a string", f[0])
			}
		case map[string]any:
			_, hasCode := data["code"]
			_, hasText := data["message"].(string)
			if name != "pusher:error" || !hasCode || !hasText || frame["channel"] != nil {
				t.Errorf("%s: data is an object: %s", f[0], f[1])
			}
		default:
			t.Errorf("%s: data is %T", f[0], data)
		}
	}
}

// errorTexts returns every error there is, once.
func errorTexts() []*Error {
	return []*Error{
		ErrSSLOnly, ErrNoApp("K"), ErrAppDisabled, ErrOverQuota, ErrPathNotFound, ErrBadVersion, ErrUnsupported, ErrNoVersion,
		ErrUnauthorized, ErrTerminated, ErrOrigin, ErrSlow, ErrUnavailable, ErrReconnect, ErrDraining, ErrPongTimeout,
		ErrNotHash, ErrClientShape, ErrClientOff, ErrClientRate, ErrWatchlist, ErrSigninFormat, ErrUserInfo, ErrBadFrame, ErrBadUser,
		ErrUserID, ErrSignedIn, ErrUserChannel,
		ErrMissing("channel"), ErrExisting("C"), ErrNotSubscribed("C"), ErrAuthRequired("C"), ErrAuthFormat("C"), ErrAuthKey("K"), ErrSigninKey("K"),
		ErrAuthSignature("SOCKET:C", "SIG"), ErrUnsupportedEvent("NAME"), ErrNotMember("C"), ErrChannelName("a b", 164), ErrClientChannel("C"),
		ErrClientSize(10241, 10240), ErrEventName(200), ErrPresenceData("C", "why"), ErrPresenceFull("C", 100),
	}
}

func TestErrorTexts(t *testing.T) {
	var text strings.Builder
	for _, e := range errorTexts() {
		fmt.Fprintf(&text, "%s\n", AppendError(nil, e))
	}
	golden(t, "errors.golden", text.String())
}

func TestErrorsCloseByRange(t *testing.T) {
	for code, want := range map[int]bool{0: false, 4000: true, 4009: true, 4100: true, 4200: true, 4299: true, 4300: false, 4301: false, 4302: false} {
		if got := (&Error{Code: code}).Closes(); got != want {
			t.Errorf("%d closes: %t, want %t", code, got, want)
		}
	}
}

// A close reason has at most 123 bytes (RFC 6455, section 5.5).
func TestCloseReasonsFitACloseFrame(t *testing.T) {
	for _, e := range append(errorTexts(), ErrNoApp(strings.Repeat("k", 1000))) {
		if e.Closes() && len(e.Message) > 123 {
			t.Errorf("%v: %d bytes", e, len(e.Message))
		}
	}
}

func TestForeignTextInErrorsIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	for _, e := range []*Error{
		ErrNoApp(long), ErrNotSubscribed(ChannelName(long)), ErrAuthKey(long), ErrSigninKey(long), ErrAuthSignature("", long),
		ErrUnsupportedEvent(long), ErrNotMember(ChannelName(long)), ErrChannelName(ChannelName(long), 164), ErrClientChannel(ChannelName(long)),
	} {
		if len(e.Message) > 400 {
			t.Errorf("%d bytes: %.60s", len(e.Message), e.Message)
		}
	}
}
