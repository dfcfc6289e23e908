package protocol

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecode(t *testing.T) {
	for name, tc := range map[string]struct {
		raw                  string
		event, channel, data string
		fails                bool
	}{
		"a command":                        {raw: `{"event":"pusher:subscribe","data":{"channel":"c"}}`, event: "pusher:subscribe", data: `{"channel":"c"}`},
		"white space everywhere":           {raw: " \n{ \"event\" :\t\"e\" , \"data\" : [ 1 , 2 ] } ", event: "e", data: "[ 1 , 2 ]"},
		"a blank after the colon, no data": {raw: `{"event": "pusher:ping"}`, event: "pusher:ping"},
		"data first, then the event":       {raw: `{"data":"x","channel":"c","event":"e"}`, event: "e", channel: "c", data: `"x"`},
		"null for data":                    {raw: `{"event":"e","data":null}`, event: "e", data: "null"},
		"null for a channel":               {raw: `{"event":"e","channel":null,"data":1}`, event: "e", data: "1"},
		"keys nobody knows":                {raw: `{"user_id":"7","a.b":{"event":"x"},"event":"e","*":1}`, event: "e"},
		"a key written with escapes":       {raw: `{"\u0065vent":"e"}`, event: "e"},
		"escapes in the name":              {raw: `{"event":"App\\Events\\\u00e4"}`, event: `App\Events\ä`},
		"a key twice: the last counts":     {raw: `{"event":"a","event":"b","data":1,"data":{"x":[]}}`, event: "b", data: `{"x":[]}`},
		"an event of another type, last":   {raw: `{"event":"a","event":7}`, fails: true},
		"nothing":                          {raw: ``, fails: true},
		"no JSON":                          {raw: `not json`, fails: true},
		"more than one text":               {raw: `{"event":"e"}{}`, fails: true},
		"an array":                         {raw: `[]`, fails: true},
		"a string":                         {raw: `"x"`, fails: true},
		"no event":                         {raw: `{}`, fails: true},
		"null for an event":                {raw: `{"event":null}`, fails: true},
		"a comma too many":                 {raw: `{"event":"e",}`, fails: true},
		"cut off":                          {raw: `{"event":"e"`, fails: true},
		"nesting as deep as allowed":       {raw: `{"event":"e","data":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}`, event: "e", data: strings.Repeat("[", 511) + strings.Repeat("]", 511)},
		"nesting deeper than that":         {raw: `{"event":"e","data":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`, fails: true},
		"brackets in a string do not nest": {raw: `{"event":"e","data":"` + strings.Repeat("[", 5000) + `\""}`, event: "e", data: `"` + strings.Repeat("[", 5000) + `\""`},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Decode([]byte(tc.raw))
			if (err != nil) != tc.fails || err != nil && err != ErrBadFrame {
				t.Fatalf("Decode: error %v, want one: %t", err, tc.fails)
			}
			if f.Event != tc.event || f.Channel != tc.channel || string(f.Data) != tc.data {
				t.Errorf("Decode = %q, %q, %s; want %q, %q, %s", f.Event, f.Channel, f.Data, tc.event, tc.channel, tc.data)
			}
		})
	}
}

func TestClientData(t *testing.T) {
	for data, want := range map[string]string{
		`{"a": 1}`:               `{"a": 1}`,
		`[1,2]`:                  `[1,2]`,
		`7.50`:                   `7.50`,
		`null`:                   `null`,
		`true`:                   `true`,
		`"text"`:                 `text`,
		`""`:                     ``,
		`"{\"a\":1}"`:            `{"a":1}`,
		`"\u00e4\n\ud83d\ude00"`: "ä\n😀",
	} {
		if got, ok := (Frame{Data: []byte(data)}).ClientData(); !ok || string(got) != want {
			t.Errorf("ClientData(%s) = %q, %t; want %q", data, got, ok, want)
		}
	}
	if _, ok := (Frame{}).ClientData(); ok {
		t.Error("ClientData without data: ok")
	}
}

func TestDecodeSubscribe(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, tc := range map[string]struct {
		data string
		want Subscribe
		err  *Error
	}{
		"the channel alone":             {`{"channel":"c"}`, Subscribe{Channel: "c"}, nil},
		"an empty auth":                 {`{"auth":"","channel":"c"}`, Subscribe{Channel: "c", Auth: text("")}, nil},
		"null for both":                 {`{"channel":"c","auth":null,"channel_data":null}`, Subscribe{Channel: "c"}, nil},
		"other types for both":          {`{"channel":"c","auth":{"a":1},"channel_data":[]}`, Subscribe{Channel: "c"}, nil},
		"both":                          {`{"channel":"c","auth":"k:s","channel_data":"{\"user_id\":\"7\"}"}`, Subscribe{Channel: "c", Auth: text("k:s"), ChannelData: text(`{"user_id":"7"}`)}, nil},
		"an empty channel":              {`{"channel":""}`, Subscribe{}, nil},
		"no channel":                    {`{}`, Subscribe{}, ErrMissing("channel")},
		"a number for a channel":        {`{"channel":7}`, Subscribe{}, ErrMissing("channel")},
		"no data at all":                {``, Subscribe{}, ErrNotHash},
		"a string":                      {`"c"`, Subscribe{}, ErrNotHash},
		"null":                          {`null`, Subscribe{}, ErrNotHash},
		"an array":                      {`[{"channel":"c"}]`, Subscribe{}, ErrNotHash},
		"a channel of another object":   {`{"x":{"channel":"c"}}`, Subscribe{}, ErrMissing("channel")},
		"a key like a path of a parser": {`{"x.channel":"c","channel":"d"}`, Subscribe{Channel: "d"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeSubscribe([]byte(tc.data))
			if !sameError(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if got.Channel != tc.want.Channel || !same(got.Auth, tc.want.Auth) || !same(got.ChannelData, tc.want.ChannelData) {
				t.Errorf("DecodeSubscribe = %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestDecodeSignin(t *testing.T) {
	for data, want := range map[string]*Error{
		`{"auth":"k:s","user_data":"{}"}`:   nil,
		`{"auth":"k:s"}`:                    ErrMissing("user_data"),
		`{"user_data":"{}"}`:                ErrMissing("auth"),
		`{"auth":"k:s","user_data":{}}`:     ErrMissing("user_data"),
		`{"auth":null,"user_data":"{}"}`:    ErrMissing("auth"),
		`"x"`:                               ErrNotHash,
		``:                                  ErrNotHash,
		`{"auth":"","user_data":"no JSON"}`: nil,
	} {
		if _, err := DecodeSignin([]byte(data)); !sameError(err, want) {
			t.Errorf("DecodeSignin(%s): %v, want %v", data, err, want)
		}
	}
}

func TestDecodeUser(t *testing.T) {
	u, err := DecodeUser(`{"watchlist":["a",7,null,"b"],"id":"u@1","user_info":{"name": "Ann"},"x":1}`)
	if err != nil || u.ID != "u@1" || string(u.Info) != `{"name": "Ann"}` || strings.Join(u.Watchlist, " ") != "a b" {
		t.Errorf("DecodeUser = %+v, %v", u, err)
	}
	if u, err := DecodeUser(`{"id":"u","user_info":"no object","watchlist":"no array"}`); err != nil || u.Info != nil || u.Watchlist != nil {
		t.Errorf("optional fields of other types: %+v, %v", u, err)
	}
	for name, data := range map[string]string{
		"no id":        `{}`,
		"a number":     `{"id":7}`,
		"an empty id":  `{"id":""}`,
		"no JSON":      `nonsense`,
		"an array":     `["id","u"]`,
		"nothing":      ``,
		"deep nesting": `{"id":"u","x":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`,
	} {
		if u, err := DecodeUser(data); err != ErrBadUser {
			t.Errorf("%s: %+v, %v; want %v", name, u, err, ErrBadUser)
		}
	}
	for name, data := range map[string]string{
		"an id of 129 characters":             `{"id":"` + strings.Repeat("x", 129) + `"}`,
		"an id that no channel name may have": `{"id":"a b"}`,
	} {
		if u, err := DecodeUser(data); err != ErrUserID {
			t.Errorf("%s: %+v, %v; want %v", name, u, err, ErrUserID)
		}
	}
}

func TestDecodeMember(t *testing.T) {
	const c = ChannelName("presence-a")
	for data, want := range map[string]struct{ id, info, err string }{
		`{"user_id":"7"}`:                         {id: "7"},
		`{"user_id":"7","user_info":null}`:        {id: "7"},
		`{"user_id":"7","user_info":{ "a" : 1 }}`: {id: "7", info: `{ "a" : 1 }`},
		`{"user_id":10}`:                          {id: "10"},
		`{"user_id":12345678901234567}`:           {id: "12345678901234567"},
		`{"user_id":-1.50e3}`:                     {id: "-1.50e3"},
		`{"user_id":"\u00e4"}`:                    {id: "ä"},
		`{"user_id":"a","user_id":"b"}`:           {id: "b"},
		`{"user_id":null}`:                        {err: ErrPresenceData(c, "it must have a user_id").Message},
		`{"user_id":{}}`:                          {err: ErrPresenceData(c, "it must have a user_id").Message},
		`{}`:                                      {err: ErrPresenceData(c, "it must have a user_id").Message},
		`{"user_id":""}`:                          {err: ErrPresenceData(c, "user_id must not be empty").Message},
		`7`:                                       {err: ErrPresenceData(c, "it must be a JSON object").Message},
		``:                                        {err: ErrPresenceData(c, "it must be a JSON object").Message},
		`{"user_id":"7"`:                          {err: ErrPresenceData(c, "it must be a JSON object").Message},
		`{"user_id":"7","user_info":"Ann"}`:       {err: ErrUserInfo.Message},
		`{"user_id":"7","user_info":[]}`:          {err: ErrUserInfo.Message},
		`{"user_id":"7","user_info":false}`:       {err: ErrUserInfo.Message},
		`{"user_id":"7","x":"` + strings.Repeat("x", 1024) + `"}`: {err: ErrPresenceData(c, "it has 1046 bytes, at most 1024 are allowed").Message},
	} {
		m, err := DecodeMember(c, data, 1024)
		text := ""
		if err != nil {
			text = err.Message
		}
		if m.UserID != want.id || string(m.Info) != want.info || text != want.err {
			t.Errorf("DecodeMember(%.60s) = %q, %s, %q; want %q, %s, %q", data, m.UserID, m.Info, text, want.id, want.info, want.err)
		}
	}
}

func same(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func sameError(a, b *Error) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// std decodes with the standard library, with the last of equal keys.
func std(raw []byte) (map[string]json.RawMessage, bool) {
	var object map[string]json.RawMessage
	if !json.Valid(raw) || json.Unmarshal(raw, &object) != nil || object == nil {
		return nil, false
	}
	return object, true
}

func stdString(raw json.RawMessage) (string, bool) {
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// comparable reports whether the two decoders agree on text: on halves of
// surrogate pairs and on bytes that are not UTF-8 they need not.
func comparable(raw []byte) bool {
	return utf8.Valid(raw) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ud`))
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"event":"pusher:subscribe","data":{"channel":"c"}}`, `{"event": "pusher:ping"}`, `{"event":"client-x","channel":"private-a","data":"{\"a\":1}"}`,
		`{"data":[1,{"a":null}],"event":"e","event":"f"}`, ` { "\u0065vent" : "e" } `, `not json`, `[]`, `{}`, `{"event":"e","data":7.50e1}`,
		`{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{\"id\":\"u\"}"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		frame, err := Decode(raw)
		object, ok := std(raw)
		event, named := stdString(object["event"])
		if err == nil && (!ok || !named) {
			t.Fatalf("Decode takes %q, the standard library does not", raw)
		}
		if err != nil {
			if ok && named && shallow(raw) {
				t.Fatalf("Decode refuses %q", raw)
			}
			return
		}
		if comparable(raw) {
			if channel, _ := stdString(object["channel"]); frame.Event != event || frame.Channel != channel {
				t.Fatalf("Decode(%q) = %q, %q; want %q, %q", raw, frame.Event, frame.Channel, event, channel)
			}
			if !bytes.Equal(frame.Data, object["data"]) {
				t.Fatalf("Decode(%q): data %q, want %q", raw, frame.Data, object["data"])
			}
		}
		if want, ok := stdString(frame.Data); ok && comparable(raw) {
			if got, _ := frame.ClientData(); string(got) != want {
				t.Fatalf("ClientData(%q) = %q, want %q", frame.Data, got, want)
			}
		}
	})
}

func FuzzDecodeSubscribe(f *testing.F) {
	for _, seed := range []string{`{"channel":"c"}`, `{"channel":"c","auth":null,"channel_data":"x"}`, `{}`, `"c"`, ``, `{"channel":7}`, `{"auth":"a","user_data":"{}"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !ValidJSON(data) {
			return // Decode has refused it
		}
		object, ok := std(data)
		got, err := DecodeSubscribe(data)
		if !ok {
			if !sameError(err, ErrNotHash) {
				t.Fatalf("DecodeSubscribe(%q): %v, want %v", data, err, ErrNotHash)
			}
			return
		}
		channel, has := stdString(object["channel"])
		if (err == nil) != has {
			t.Fatalf("DecodeSubscribe(%q): %v", data, err)
		}
		if err == nil && comparable(data) {
			auth, _ := stdString(object["auth"])
			if string(got.Channel) != channel || got.Auth != nil && *got.Auth != auth {
				t.Fatalf("DecodeSubscribe(%q) = %+v", data, got)
			}
		}
		if _, err := DecodeSignin(data); err != nil && err.Code != CodeNone {
			t.Fatalf("DecodeSignin(%q): %v", data, err)
		}
	})
}

func FuzzDecodeMember(f *testing.F) {
	for _, seed := range []string{`{"user_id":"7","user_info":{"n":1}}`, `{"user_id":10}`, `{"user_id":1e400}`, `{}`, `{"user_id":"7","user_info":true}`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		m, err := DecodeMember("presence-a", data, 1024)
		if err != nil {
			if err.Code != CodeNone || m.UserID != "" && err != ErrUserInfo {
				t.Fatalf("DecodeMember(%q) = %+v, %v", data, m, err)
			}
			return
		}
		if m.UserID == "" || len(data) > 1024 || utf8.RuneCountInString(m.UserID) > MaxUserIDLength {
			t.Fatalf("DecodeMember(%q) = %+v", data, m)
		}
		// Whatever was let in, the frames about it are JSON.
		for _, frame := range [][]byte{
			AppendMemberAdded(nil, "presence-a", m), AppendPresenceSucceeded(nil, "presence-a", []Member{m}), AppendMemberRemoved(nil, "presence-a", m.UserID),
		} {
			checkFrame(t, frame)
		}
	})
}

// checkFrame checks that a server frame is JSON, and its data as well.
func checkFrame(t *testing.T, frame []byte) {
	t.Helper()
	var f struct{ Data string }
	if err := json.Unmarshal(frame, &f); err != nil || !utf8.Valid(frame) {
		t.Fatalf("frame %q: %v", frame, err)
	}
	if !json.Valid([]byte(f.Data)) {
		t.Fatalf("data of frame %q", frame)
	}
}

func FuzzDecodeUser(f *testing.F) {
	for _, seed := range []string{`{"id":"u","user_info":{"n":1},"watchlist":["a","b"]}`, `{"id":7}`, `{"id":""}`, ``, `{"watchlist":[[],{}],"id":"u"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		u, err := DecodeUser(data)
		if err != nil {
			return
		}
		if !UserChannel(u.ID).Valid(MaxChannelNameLength) || len(u.ID) > MaxUserIDLength {
			t.Fatalf("DecodeUser(%q) = %+v: no channel name", data, u)
		}
		checkFrame(t, AppendSigninSuccess(nil, data))
		checkFrame(t, AppendWatchlist(nil, u.Watchlist, []string{u.ID}))
		checkFrame(t, AppendMemberAdded(nil, "presence-a", Member{UserID: u.ID, Info: u.Info}))
	})
}

// FuzzAppendString: what is appended reads back as it was, with U+FFFD for
// bytes that are not UTF-8, as the standard library has it.
func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "text", "\"\\\n\r\t\x00\x1f\x7f", "ä€😀", "\u2028\u2029<>&", "a\xffb\xc3", "\xed\xa0\x80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, encoded := range [][]byte{AppendString([]byte("x"), s), AppendString([]byte("x"), []byte(s))} {
			var got string
			if err := json.Unmarshal(encoded[1:], &got); err != nil || encoded[0] != 'x' {
				t.Fatalf("AppendString(%q) = %s: %v", s, encoded, err)
			}
			if want := strings.ToValidUTF8(s, "\uFFFD"); utf8.ValidString(s) && got != want {
				t.Fatalf("AppendString(%q) reads back as %q", s, got)
			}
			std, _ := json.Marshal(s)
			var want string
			if err := json.Unmarshal(std, &want); err != nil || got != want {
				t.Fatalf("AppendString(%q) reads back as %q, the standard library's as %q", s, got, want)
			}
		}
	})
}
