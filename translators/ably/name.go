package ably

import (
	"strings"

	"github.com/offramp/offramp/proxy/protocol"
)

// Ably's Pusher adapter turns the prefixes private- and presence- into the
// namespaces private: and presence:, puts all others into public:, and turns
// ";" into ":", which Pusher does not allow (vendor documentation: "Pusher
// adapter"). Both directions are total on what the other makes.

const (
	namespacePublic   = "public:"
	namespacePrivate  = "private:"
	namespacePresence = "presence:"
)

// ablyName returns the name of a channel on Ably.
func ablyName(channel protocol.ChannelName) string {
	namespace, rest := namespacePublic, string(channel)
	if private, ok := strings.CutPrefix(rest, "private-"); ok {
		namespace, rest = namespacePrivate, private
	} else if presence, ok := strings.CutPrefix(rest, "presence-"); ok {
		namespace, rest = namespacePresence, presence
	}
	return namespace + strings.ReplaceAll(rest, ";", ":")
}
