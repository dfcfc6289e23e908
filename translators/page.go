package translators

import (
	"fmt"
	"slices"
	"strings"
)

// Page returns a description as a page for operators: its settings, what
// survives, and its bounds, in Markdown.
func (d Description) Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n## Settings\n\n%s\n## What survives\n\n| feature | fidelity | |\n|---|---|---|\n", d.Name, d.Settings.Markdown())
	for _, feature := range Features() {
		f := d.Features[feature]
		fmt.Fprintf(&b, "| %s | %s | %s |\n", feature, f.Level, f.Note)
	}
	fmt.Fprintf(&b, "\nOrdering %s, guarantee %s, echo control %s.\n", d.Ordering, d.Guarantee, d.Echo)
	if bounds := d.Limits.Known(); len(bounds) > 0 {
		b.WriteString("\n## Limits\n\n")
		for _, bound := range bounds {
			fmt.Fprintf(&b, "- %.0f %s\n", bound.Value, bound.Of)
		}
	}
	return b.String()
}

// Bound is one of the Limits.
type Bound struct {
	Value float64
	Of    string // what is bounded, such as "bytes of an event's data"
}

// Known returns the bounds that are known.
func (l Limits) Known() []Bound {
	all := []Bound{
		{float64(l.PayloadBytes), "bytes of an event's data"}, {float64(l.ChannelNameBytes), "bytes of a channel name"},
		{float64(l.EventNameBytes), "bytes of an event name"}, {float64(l.Channels), "channels observed by one session"},
		{l.PublishesPerSecond, "publishes per second"}, {l.PerChannelPerSecond, "publishes per second on one channel"},
		{float64(l.PresenceMembers), "members of a presence channel"},
	}
	return slices.DeleteFunc(all, func(b Bound) bool { return b.Value == 0 })
}
