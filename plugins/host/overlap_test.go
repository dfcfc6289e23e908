package host

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// TestOverlap plays what two processes show, in steps: "old: 1 2" and "new: 1",
// "attached" when the new one confirms the channel, and "cut" when it takes
// over. Numbers are events with ids, letters are events without.
func TestOverlap(t *testing.T) {
	for name, tc := range map[string]struct{ steps, want string }{
		"the old one is ahead":                       {"old: 1 2 3; new: 1 2; cut; new: 3 4", "1 2 3 4"},
		"the new one is ahead":                       {"new: 1 2 3; old: 1; cut; old: 2 3; new: 4", "1 2 3 4"},
		"they take turns":                            {"old: 1; new: 1 2; old: 2 3; new: 3; cut; new: 4", "1 2 3 4"},
		"an event arrives twice on both":             {"old: 1 1; new: 1; cut; new: 1 2", "1 1 2"},
		"the new one began later":                    {"old: 1 2; new: 2; cut; new: 3", "1 2 3"},
		"the old one shows nothing any more":         {"new: 1 2; cut; old: 1 2; new: 3", "1 2 3"},
		"equal events without ids stay two":          {"attached; old: a; new: a a; cut; new: b", "a a b"},
		"an event without id from before the new":    {"old: a; attached; cut; new: a", "a a"},
		"an event without id that both show":         {"attached; old: a; cut; new: a b", "a b"},
		"the new one kept what the old one overtook": {"new: 1 2 3; old: 2; cut", "2 1 3"},
	} {
		t.Run(name, func(t *testing.T) {
			o, now := newOverlap(), time.Now()
			var shown []string
			show := func(items []translators.Envelope) {
				for _, e := range items {
					shown = append(shown, string(e.Data))
				}
			}
			for step := range strings.SplitSeq(tc.steps, "; ") {
				who, what, _ := strings.Cut(step, ": ")
				var in plugins.Inbound
				for text := range strings.FieldsSeq(what) {
					e := translators.Envelope{Channel: "room", Event: "e", Data: []byte(text)}
					if text < "a" {
						e.ID = proxy.EventID{Node: 1, Seq: uint64(text[0])}
					}
					in.Items = append(in.Items, e)
				}
				switch who {
				case "old":
					rest, _ := o.older(in)
					show(rest.Items)
				case "new":
					rest, _ := o.younger(in, now)
					show(rest.Items)
				case "attached":
					o.younger(plugins.Inbound{States: []plugins.ChannelState{stateOf("room", translators.StateAttached)}}, now)
				case "cut":
					items, _ := o.cut(now)
					show(items)
				}
			}
			if got := strings.Join(shown, " "); got != tc.want {
				t.Errorf("%s: told %s, want %s", tc.steps, got, tc.want)
			}
		})
	}

	t.Run("credit comes back for all that is not kept", func(t *testing.T) {
		o, now := newOverlap(), time.Now()
		events := make([]translators.Envelope, 3)
		for i := range events {
			events[i] = translators.Envelope{ID: proxy.EventID{Node: 1, Seq: uint64(i + 1)}, Channel: "room"}
		}
		_, kept := o.younger(plugins.Inbound{Items: slices.Clone(events[:2])}, now)
		_, freed := o.older(plugins.Inbound{Items: slices.Clone(events)})
		_, dropped := o.younger(plugins.Inbound{Items: slices.Clone(events[2:])}, now)
		if kept != 0 || freed != 2 || dropped != 1 {
			t.Errorf("credit of %d, %d and %d, want 0, 2 and 1", kept, freed, dropped)
		}
		if items, _ := o.cut(now); len(items) != 0 || len(o.shown) != 0 {
			t.Errorf("%d items and %d marks are left, want none", len(items), len(o.shown))
		}
	})

	t.Run("it is complete when all that is expected is observed, or one is refused", func(t *testing.T) {
		for name, tc := range map[string]struct {
			states   []plugins.ChannelState
			complete bool
			refused  bool
		}{
			"one of two": {states: []plugins.ChannelState{stateOf("a", translators.StateAttached)}},
			"both": {complete: true, states: []plugins.ChannelState{
				stateOf("b", translators.StateAttached), stateOf("a", translators.StateAttached),
			}},
			"one refused":     {states: []plugins.ChannelState{stateOf("a", translators.StateError)}, complete: true, refused: true},
			"another refused": {states: []plugins.ChannelState{stateOf("c", translators.StateError)}},
		} {
			o := newOverlap()
			o.expect([]protocol.ChannelName{"a", "b"})
			o.younger(plugins.Inbound{States: tc.states}, time.Now())
			complete := false
			select {
			case <-o.complete:
				complete = true
			default:
			}
			if complete != tc.complete || (o.refused != nil) != tc.refused {
				t.Errorf("%s: complete %v, refused %v", name, complete, o.refused)
			}
		}
	})
}

func stateOf(channel protocol.ChannelName, s translators.State) plugins.ChannelState {
	return plugins.ChannelState{Channel: channel, ChannelState: translators.ChannelState{State: s}}
}
