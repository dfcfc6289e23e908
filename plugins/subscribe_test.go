package plugins

import (
	"context"
	"slices"
	"testing"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// telling is a Subscriber that tells states while Subscribe is under way.
type telling []translators.State

func (s telling) Subscribe(_ context.Context, _ protocol.ChannelName, o translators.Observer) (func(), error) {
	for _, state := range s {
		o.State(translators.ChannelState{State: state})
	}
	return func() {}, nil
}

func TestWhatATranslatorTellsIsNotContradicted(t *testing.T) {
	const attached, detached, gap = translators.StateAttached, translators.StateDetached, translators.StateGap
	for name, tc := range map[string]struct{ told, want []translators.State }{
		"it tells nothing":                              {nil, []translators.State{attached}},
		"it is attached itself":                         {[]translators.State{attached}, []translators.State{attached}},
		"it loses the channel before Subscribe returns": {[]translators.State{detached}, []translators.State{detached}},
		"it loses it and has it again":                  {[]translators.State{detached, attached}, []translators.State{detached, attached}},
		"it tells of a gap only":                        {[]translators.State{gap}, []translators.State{gap, attached}},
		"it gives up":                                   {[]translators.State{translators.StateError}, []translators.State{translators.StateError}},
	} {
		t.Run(name, func(t *testing.T) {
			box := newOutbox()
			w := &watchers{subscriber: telling(tc.told), box: box}
			w.subscribe(t.Context(), "c")
			var got []translators.State
			for _, n := range box.queue {
				_, s := wire.ToState(n.state)
				got = append(got, s.State)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("the gateway was told %v, want %v", got, tc.want)
			}
		})
	}
}
