package webhooks

import (
	"slices"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Beside other nodes, a node keeps nothing but the departures it holds back:
// what it has told as there may be told as gone by another.
func TestSharedTruthKeepsDeparturesOnly(t *testing.T) {
	truth := newTruth(true)
	s := subject{topic: proxy.Topic{App: "app", Channel: "c"}}
	start := time.Unix(1000, 0)
	for i := range 2 { // the second time after a departure that another node has told
		if !truth.arrive(s, onEngine) || len(truth.told) != 0 {
			t.Errorf("arrival %d is no news, or is kept", i)
		}
	}
	truth.depart(s, onEngine, start)
	if truth.arrive(s, onEngine) || len(truth.told) != 0 {
		t.Error("a return in time is news, or is kept")
	}
	truth.depart(s, onEngine, start.Add(time.Second))
	truth.depart(s, onEngine, start.Add(2*time.Second)) // another node has seen it return in between
	if gone := truth.departed(start.Add(time.Second)); len(gone) != 0 {
		t.Errorf("departed too early: %v", gone)
	}
	if gone := truth.departed(start.Add(2 * time.Second)); !slices.Equal(gone, []subject{s}) || len(truth.told) != 0 {
		t.Errorf("departed = %v, %d kept; want the one, and none", gone, len(truth.told))
	}
}
