package shadow

import (
	"reflect"
	"testing"

	"github.com/offramp/offramp/proxy"
)

func (s *scene) frame(leg proxy.Leg, library, which, text string) {
	s.offer(proxy.Record{
		Kind: proxy.KindFrame, At: s.at(10), Leg: leg, Client: &proxy.Client{Library: library, Version: "8.4"}, Action: which, Text: text,
	})
}

func TestFramesAreComparedByLibrary(t *testing.T) {
	s := newScene(true)
	const succeeded = "pusher_internal:subscription_succeeded"
	for range 3 {
		for _, leg := range []proxy.Leg{proxy.LegVendor, proxy.LegEngine} {
			s.frame(leg, "js", succeeded, "{channel:string,data:string,event:string}")
			s.frame(leg, "swift", "pusher:error", "{data:{code:4009,message:string},event:string}")
		}
	}
	s.frame(proxy.LegEngine, "swift", succeeded, "{channel:string,event:string}")
	s.frame(proxy.LegVendor, "swift", succeeded, "{channel:string,data:string,event:string}")
	s.frame(proxy.LegVendor, "swift", "pusher:pong", "{data:string,event:string}")

	cells := map[string]Counts{}
	for k, e := range s.state.ledger.cells {
		if frame, ok := Framed(k.Key); ok {
			cells[k.Key.Pattern+" "+frame] = e.counts
		}
	}
	for name, want := range map[string]struct {
		differ bool
		all    []Structure
	}{
		"js 8.4 " + succeeded:    {false, []Structure{{"{channel:string,data:string,event:string}", 3, 3}}},
		"swift 8.4 pusher:error": {false, []Structure{{"{data:{code:4009,message:string},event:string}", 3, 3}}},
		"swift 8.4 " + succeeded: {true, []Structure{{"{channel:string,data:string,event:string}", 1, 0}, {"{channel:string,event:string}", 0, 1}}},
		"swift 8.4 pusher:pong":  {false, []Structure{{"{data:string,event:string}", 1, 0}}},
	} {
		counts := cells[name]
		if all, differ := counts.SplitStructures(); differ != want.differ || !reflect.DeepEqual(all, want.all) {
			t.Errorf("%s: got %+v, differ %v, want %+v", name, all, differ, want)
		}
	}
}
