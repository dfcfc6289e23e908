package translators

import (
	"fmt"
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
	if bounds := d.Limits.list(); len(bounds) > 0 {
		fmt.Fprintf(&b, "\n## Limits\n\n%s", strings.Join(bounds, ""))
	}
	return b.String()
}

// list returns a line for each bound that is known.
func (l Limits) list() []string {
	var lines []string
	for _, bound := range []struct {
		name  string
		value float64
	}{
		{"bytes of an event's data", float64(l.PayloadBytes)}, {"bytes of a channel name", float64(l.ChannelNameBytes)},
		{"bytes of an event name", float64(l.EventNameBytes)}, {"channels observed by one session", float64(l.Channels)},
		{"publishes per second", l.PublishesPerSecond}, {"publishes per second on one channel", l.PerChannelPerSecond},
		{"members of a presence channel", float64(l.PresenceMembers)},
	} {
		if bound.value > 0 {
			lines = append(lines, fmt.Sprintf("- %.0f %s\n", bound.value, bound.name))
		}
	}
	return lines
}
