package session

import (
	"strconv"
	"strings"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Protocol versions that are served (vendor documentation: WebSocket
// protocol, version history).
const (
	oldestProtocol = 4
	newestProtocol = 7
	// In-band errors are sent up to this version; later ones have close frames.
	lastInBand = 5
)

// maxClientText bounds what is kept of the client's name and version.
const maxClientText = 100

// Request is what a client says when it connects, whatever the transport.
type Request struct {
	Key       string  // from the path
	Protocol  *string // query parameter; nil: absent
	Library   string  // query parameter "client"
	Version   string  // query parameter "version"
	Origin    string  // header; empty: absent
	Remote    string  // peer address
	Transport string  // "ws", "xhr_streaming", "xhr_polling"
	TLS       bool
	Via       string // CDN-Loop header; empty: absent
}

// client returns what is known of the client, and why its protocol version is
// refused, if it is.
func (r Request) client() (proxy.Client, *protocol.Error) {
	c := proxy.Client{
		Key:       r.Key,
		Library:   clip(r.Library),
		Version:   clip(r.Version),
		Transport: r.Transport,
		Remote:    r.Remote,
		TLS:       r.TLS,
		Via:       protocol.ClipVia(r.Via),
	}
	if r.Protocol == nil {
		return c, protocol.ErrNoVersion
	}
	version, err := strconv.Atoi(*r.Protocol)
	if err != nil {
		return c, protocol.ErrBadVersion
	}
	c.Protocol = version
	if version < oldestProtocol || version > newestProtocol {
		return c, protocol.ErrUnsupported
	}
	return c, nil
}

// originAllowed reports whether the app takes connections from pages of that
// origin. Only browsers send the header, and only they are bound by it: where
// it is absent there is nothing to check.
func originAllowed(app *proxy.App, origin string) bool {
	if len(app.Origins) == 0 || origin == "" {
		return true
	}
	for _, pattern := range app.Origins {
		if proxy.MatchPattern(strings.ToLower(pattern), strings.ToLower(origin)) {
			return true
		}
	}
	return false
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxClientText)], "") }
