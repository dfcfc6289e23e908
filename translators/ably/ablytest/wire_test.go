package ablytest

import (
	"reflect"
	"testing"
)

func TestCapability(t *testing.T) {
	for name, tc := range map[string]struct {
		capability, channel, operation string
		want                           bool
	}{
		"everything":                    {`{"*":["*"]}`, "a:b", "publish", true},
		"one channel":                   {`{"a":["*"]}`, "b", "publish", false},
		"one operation":                 {`{"a":["subscribe"]}`, "a", "publish", false},
		"a namespace":                   {`{"a:*":["publish"]}`, "a:b", "publish", true},
		"a namespace is no name":        {`{"a:*":["publish"]}`, "ab", "publish", false},
		"what one resource forbids not": {`{"a":["subscribe"],"*":["publish"]}`, "a", "publish", true},
		"nothing":                       {`{}`, "a", "publish", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parseCapability(tc.capability)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.allows(tc.channel, tc.operation); got != tc.want {
				t.Errorf("allows = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestDataInBothEncodings(t *testing.T) {
	for name, tc := range map[string]struct{ sent, kept, asJSON Message }{
		"text":             {Message{Data: "x"}, Message{Data: "x"}, Message{Data: "x"}},
		"base64 is binary": {Message{Data: "AP8=", Encoding: "base64"}, Message{Data: []byte{0, 255}}, Message{Data: "AP8=", Encoding: "base64"}},
		"a cipher stays":   {Message{Data: "AP8=", Encoding: "utf-8/cipher/base64"}, Message{Data: []byte{0, 255}, Encoding: "utf-8/cipher"}, Message{Data: "AP8=", Encoding: "utf-8/cipher/base64"}},
		"an object":        {Message{Data: map[string]any{"a": 1.0}}, Message{Data: `{"a":1}`, Encoding: "json"}, Message{Data: `{"a":1}`, Encoding: "json"}},
		"binary":           {Message{Data: []byte{1}}, Message{Data: []byte{1}}, Message{Data: "AQ==", Encoding: "base64"}},
	} {
		t.Run(name, func(t *testing.T) {
			kept, err := tc.sent.normal()
			if err != nil || !reflect.DeepEqual(kept, tc.kept) {
				t.Errorf("kept %+v, %v; want %+v", kept, err, tc.kept)
			}
			if got := kept.in(formatJSON); !reflect.DeepEqual(got, tc.asJSON) {
				t.Errorf("as JSON %+v, want %+v", got, tc.asJSON)
			}
			if got := kept.in(formatMsgpack); !reflect.DeepEqual(got, kept) {
				t.Errorf("as MessagePack %+v, want %+v", got, kept)
			}
		})
	}
}

// FuzzFrame: whatever a client sends in either encoding, reading it does no
// harm, and a frame that was read is written and read back.
func FuzzFrame(f *testing.F) {
	enter := presenceEnter
	for _, seed := range []frame{
		{Action: actionMessage, Channel: "c", Messages: []Message{{Name: "n", Data: "d"}, {Data: []byte{0, 255}}}},
		{Action: actionPresence, Channel: "c", Presence: []Message{{ClientID: "u", Action: &enter}}},
		{Action: actionAttach, Channel: "c", Params: map[string]string{"rewind": "1"}, Flags: flagAllModes},
	} {
		for _, encoding := range []format{formatJSON, formatMsgpack} {
			raw, err := encoding.marshal(seed)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw, encoding == formatMsgpack)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, binary bool) {
		encoding := formatJSON
		if binary {
			encoding = formatMsgpack
		}
		var read frame
		if encoding.unmarshal(raw, &read) != nil {
			return
		}
		for i, m := range read.Messages {
			m, err := m.normal()
			if err != nil {
				return
			}
			read.Messages[i] = m.in(encoding)
		}
		written, err := encoding.marshal(read)
		if err != nil {
			return // extras that are no text
		}
		var again frame
		if err := encoding.unmarshal(written, &again); err != nil {
			t.Errorf("%q was read as %+v and written as %q, which cannot be read: %v", raw, read, written, err)
		}
	})
}
