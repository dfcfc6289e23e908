package nats

import (
	"reflect"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

func TestMessageKeepsEveryField(t *testing.T) {
	full := translators.Envelope{
		ID: proxy.EventID{Node: 1, Seq: 2}, App: "1", Event: "new message: 100% é\r\n", Data: []byte("\x00\xff{"), UserID: "user 1",
		Except: "1.2", Kind: translators.KindClientEvent, Origin: "offramp", Hops: 1, Ingress: time.Unix(0, 1_700_000_000_000_000_001),
	}
	for name, e := range map[string]translators.Envelope{
		"all fields set":   full,
		"no optional ones": {App: "1", Event: "e", Data: []byte("{}")},
		"empty data":       {App: "1", Event: "e", Data: []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			m := encode("p.1.room", e)
			if got := decode("1", m.Header, m.Data); !reflect.DeepEqual(got, e) {
				t.Errorf("read back as %+v, want %+v", got, e)
			}
		})
	}
}

func TestDecodeOfAForeignMessage(t *testing.T) {
	got := decode("1", nil, []byte("hello"))
	want := translators.Envelope{App: "1", Data: []byte("hello")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, want %+v", got, want)
	}
}
