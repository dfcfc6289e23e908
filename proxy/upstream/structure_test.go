package upstream

import (
	"testing"

	"github.com/offramp/offramp/proxy"
)

func TestStructureTellsKeysAndTypes(t *testing.T) {
	for name, tc := range map[string]struct{ frame, want string }{
		"JSON in a string": {
			`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}`,
			`{data:"{activity_timeout:number,socket_id:string}",event:string}`,
		},
		"an object with an error's code": {
			`{"data":{"message":"no","code":4009},"event":"pusher:error"}`, `{data:{code:4009,message:string},event:string}`,
		},
		"an error without a code": {
			`{"event":"pusher:error","data":{"code":null,"message":"no"}}`, `{data:{code:null,message:string},event:string}`,
		},
		"members, of whom nothing is told": {
			`{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":1,\"ids\":[\"u\"],\"hash\":{\"u\":{\"name\":\"Ann\"}}}}"}`,
			`{channel:string,data:"{presence:{count:number,hash:object,ids:array}}",event:string}`,
		},
		"no data": {
			`{"event":"pusher_internal:subscription_succeeded","channel":"a"}`, `{channel:string,event:string}`,
		},
		"an app's own event": {
			`{"event":"e","channel":"a","data":"{\"secret\":1}","user_id":"u"}`, `{channel:string,data:string,event:string,user_id:string}`,
		},
		"a list of objects": {
			`{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[]}]}"}`,
			`{data:"{events:[{name:string,user_ids:array}]}",event:string}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := readServerFrame([]byte(tc.frame))
			if got := structure([]byte(tc.frame), f.internal()); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestStructuresAreSampled(t *testing.T) {
	var s structures
	text := []byte(`{"event":"e","channel":"a","data":"x"}`)
	f, _ := readServerFrame(text)
	var firsts, others int
	for range 100 {
		for _, r := range s.see(text, f) {
			if r.Kind != proxy.KindFrame {
				t.Errorf("a record of kind %s", r.Kind)
			}
			if r.Action == "first frame" {
				firsts++
			} else {
				others++
			}
		}
	}
	if firsts != 1 || others != sampledFrames {
		t.Errorf("of 100 equal frames, %d are first and %d described, want 1 and %d", firsts, others, sampledFrames)
	}
}

func FuzzStructure(f *testing.F) {
	f.Add([]byte(`{"event":"pusher:error","data":"{\"a\":[{}]}"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if frame, ok := readServerFrame(text); ok {
			if got := structure(text, frame.internal()); len(got) > maxStructure {
				t.Errorf("%d bytes", len(got))
			}
		}
	})
}
