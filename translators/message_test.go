package translators_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

func TestMessage(t *testing.T) {
	full := translators.Envelope{
		ID: proxy.EventID{Node: 1, Seq: 2}, Event: "e", Data: []byte("{\"a\": 1}\n\u2028"), UserID: "u", Except: "1.2",
		Kind: translators.KindClientEvent, Origin: "o", Hops: 3, Ingress: time.Unix(0, 1_700_000_000_000_000_001),
	}
	bytes := full
	bytes.Data = []byte("\xff\x00")
	for name, want := range map[string]translators.Envelope{
		"all fields": full, "data that is not text": bytes,
		"only what must be": {ID: proxy.EventID{Seq: 1}, Data: []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := translators.EncodeMessage(want)
			if err != nil {
				t.Fatal(err)
			}
			if got := translators.DecodeMessage(raw); !reflect.DeepEqual(got, want) {
				t.Errorf("%s reads back as %+v, want %+v", raw, got, want)
			}
		})
	}
	for name, raw := range map[string]string{
		"no JSON": "hello", "JSON of somebody else": `{"id":"7","event":"x"}`, "a list": "[]", "nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			got := translators.DecodeMessage([]byte(raw))
			if want := (translators.Envelope{Data: []byte(raw)}); !reflect.DeepEqual(got, want) {
				t.Errorf("reads as %+v, want it as data", got)
			}
		})
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add([]byte(`{"id":"00000000000000010000000000000002","event":"e","data":"x"}`))
	f.Add([]byte(`{"id":"00000000000000010000000000000002","bytes":"/w=="}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		first := translators.DecodeMessage(raw)
		again, err := translators.EncodeMessage(first)
		if err != nil {
			t.Fatal(err)
		}
		if first.ID.IsZero() {
			return
		}
		if second := translators.DecodeMessage(again); !reflect.DeepEqual(first, second) {
			t.Errorf("%q reads as %+v, and then as %+v", raw, first, second)
		}
	})
}
