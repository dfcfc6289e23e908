package shadow

import "github.com/offramp/offramp/proxy"

// legKind is how a leg is observed.
type legKind uint8

const (
	kindBackend legKind = iota // through its plugin, which also says what it took
	kindEngine                 // once per event and channel, with the subscribers' number
	kindVendor                 // once per relayed socket
)

func kindOf(name proxy.Leg) legKind {
	switch name {
	case proxy.LegEngine:
		return kindEngine
	case proxy.LegVendor:
		return kindVendor
	default:
		return kindBackend
	}
}

// accepted reports whether a backend's result code says that it took the
// event: anything else is a refusal, which is no loss.
func accepted(code string) bool { return code == "OK" || code == "DUPLICATE" }
