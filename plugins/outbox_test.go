package plugins

import (
	"testing"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/translators"
)

func TestOutbox(t *testing.T) {
	event := func(b *outbox, seq uint64) { b.put("c", notice{item: &wire.Envelope{Seq: seq}}) }
	state := func(b *outbox) {
		b.put("c", notice{state: wire.FromState("c", translators.ChannelState{State: translators.StateAttached})})
	}

	t.Run("without credit only states pass, and only those at the front", func(t *testing.T) {
		b := newOutbox()
		state(b)
		event(b, 1)
		state(b)
		if got := b.take(); len(got.Items) != 0 || len(got.States) != 1 {
			t.Fatalf("first batch %v", got)
		}
		if got := b.take(); got != nil {
			t.Fatalf("second batch %v without credit", got)
		}
		b.grant(1)
		if got := b.take(); len(got.Items) != 1 || len(got.States) != 1 {
			t.Errorf("batch with credit %v, want the event and the state after it", got)
		}
	})

	t.Run("events never pass a state", func(t *testing.T) {
		b := newOutbox()
		b.grant(10)
		event(b, 1)
		state(b)
		event(b, 2)
		if got := b.take(); len(got.Items) != 1 || got.Items[0].Seq != 1 || len(got.States) != 1 {
			t.Errorf("first batch %v", got)
		}
		if got := b.take(); len(got.Items) != 1 || got.Items[0].Seq != 2 {
			t.Errorf("second batch %v", got)
		}
	})

	t.Run("what does not fit becomes a gap of its channel", func(t *testing.T) {
		b := newOutbox()
		for seq := range uint64(maxOutbox + 3) {
			event(b, seq)
		}
		b.grant(maxOutbox)
		var items int
		var states []*wire.ChannelState
		for batch := b.take(); batch != nil; batch = b.take() {
			items += len(batch.Items)
			states = append(states, batch.States...)
		}
		if items != maxOutbox || len(states) != 1 || states[0].State != wire.State_GAP || states[0].Channel != "c" {
			t.Errorf("%d items and states %v, want %d and one gap of c", items, states, maxOutbox)
		}
	})
}
