package redis

import (
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// What a node has of a channel is taken over if Redis knows of nothing as
// late, and only then.
func TestLastTakesOverWhatIsLater(t *testing.T) {
	s := startServer(t)
	n := startNode(t, s, 1, DefaultLease)
	first, second := toKeep(), toKeep()
	second.ID.Seq++
	second.Order++
	for _, step := range []struct {
		name string
		have *proxy.Event
		want *proxy.Event
	}{
		{"nobody knows of any", nil, nil},
		{"the node does", second, second},
		{"it was taken over", nil, second},
		{"an earlier one is not", first, second},
	} {
		kept, err := n.Broker.Last(t.Context(), toKeep().Topic, proxy.Kept{Event: step.have, Left: time.Minute})
		switch {
		case err != nil:
			t.Fatal(err)
		case (kept.Event == nil) != (step.want == nil):
			t.Errorf("%s: %v, want %v", step.name, kept.Event, step.want)
		case step.want != nil && (kept.Event.ID != step.want.ID || kept.Event.Order != step.want.Order || kept.Left > time.Minute):
			t.Errorf("%s: %v with %v left, want %v", step.name, kept.Event, kept.Left, step.want)
		}
	}
}

func TestWhatIsKeptIsCheckedLikeTheBus(t *testing.T) {
	s := startServer(t)
	n := startNode(t, s, 1, DefaultLease)
	other := toKeep()
	other.Topic.Channel = "cache-b"
	for name, stored := range map[string]string{"no event": "o12", "an event of another channel": string(appendOrdered(nil, other))} {
		if err := n.client.Set(t.Context(), n.Broker.keys.kept(toKeep().Topic), stored, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		if kept, err := n.Broker.Last(t.Context(), toKeep().Topic, proxy.Kept{}); err != nil || kept.Event != nil {
			t.Errorf("%s: %v, %v; want nothing", name, kept.Event, err)
		}
	}
	if got := n.Broker.refused.Load(); got != 2 {
		t.Errorf("%d were counted, want 2", got)
	}
}
