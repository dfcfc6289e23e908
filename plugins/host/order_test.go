package host

import "testing"

// TestWhatIsSentAgainStaysBeforeWhatCameMeanwhile: nobody is observed in role
// mirror, and only channels with clients in role bridge, so nothing is held.
func TestWhatIsSentAgainStaysBeforeWhatCameMeanwhile(t *testing.T) {
	for name, demand := range map[string]bool{"mirror": false, "bridge": true} {
		t.Run(name, func(t *testing.T) {
			b := newBook(100, 1<<20, demand)
			b.demand = demand
			b.open(demand, 2)
			for n := range 3 {
				b.publish(event("a", n), epoch)
			}
			if _, events := taken(b); events != "a0 a1" {
				t.Fatalf("first batch %q", events)
			}
			b.lose(epoch, "it died")
			b.publish(event("a", 3), epoch)
			b.open(demand, 10)
			if _, events := taken(b); events != "a0 a1 a2 a3" {
				t.Errorf("after the restart %q, want a0 a1 a2 a3", events)
			}
		})
	}
}
