package shadow

import "github.com/offramp/offramp/proxy"

// legKind is how a leg is observed.
type legKind uint8

const (
	kindBackend legKind = iota // through its plugin, which also says what it took
	kindChannel                // once per event and channel, with the subscribers' number
	kindSockets                // once per relayed socket, or once per its double in the engine
)

// kind returns how a leg of the channel is observed. The engine tells of whole
// channels where it serves the clients itself, and else of each relayed
// client's double.
func (w *window) kind(leg int) legKind {
	switch name := w.legs[leg].name; {
	case name == proxy.LegVendor, name == proxy.LegEngine && leg > 0:
		return kindSockets
	case name == proxy.LegEngine:
		return kindChannel
	default:
		return kindBackend
	}
}

// accepted reports whether a backend's result code says that it took the
// event: anything else is a refusal, which is no loss.
func accepted(code string) bool { return code == "OK" || code == "DUPLICATE" }

// nothingToCompare reports whether a channel has no candidate, and a
// reference that leaves nothing to find out.
func nothingToCompare(legs []proxy.Leg) bool { return len(legs) == 1 && legs[0] == proxy.LegEngine }
