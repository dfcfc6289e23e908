package protocol

import "strings"

// ViaHeader names the services that a request came through, so that one that
// goes in a circle is found out (RFC 8586, CDN-Loop).
const ViaHeader = "CDN-Loop"

// MaxVia is how much of a ViaHeader is kept, in bytes. It has room for more
// gateways than a request may come through.
const MaxVia = 512

// ClipVia keeps at most MaxVia bytes of a ViaHeader. Of a longer one that is
// its end, where the nearest services are.
func ClipVia(text string) string {
	if len(text) > MaxVia {
		text = text[len(text)-MaxVia:]
	}
	return strings.ToValidUTF8(text, "")
}
