package plugins

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/translators"
)

// ContractVersion is the version of the plugin contract that this package
// speaks: go-plugin's protocol number is its major, and a minor only adds.
const (
	ContractVersion = 1
	ContractMinor   = 0
)

// The one service that a plugin process offers.
const serviceName = "backend"

// Handshake returns the cookie that tells a plugin executable that a gateway
// started it. It is no security measure; mutual TLS is.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion:  ContractVersion,
		MagicCookieKey:   "OFFRAMP_PLUGIN_COOKIE",
		MagicCookieValue: "c1a8f9d2-offramp-backend",
	}
}

// Versions returns the plugin sets that a gateway can talk to, by contract
// version.
func Versions() map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{ContractVersion: {serviceName: &shim{}}}
}

// Dispense returns the client of a started plugin.
func Dispense(protocol goplugin.ClientProtocol) (*Client, error) {
	raw, err := protocol.Dispense(serviceName)
	if err != nil {
		return nil, err
	}
	return raw.(*Client), nil //nolint:forcetypeassert // the shim below made it
}

// shim joins both ends to go-plugin.
type shim struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server // nil in the gateway
}

// GRPCServer implements goplugin.GRPCPlugin.
func (s *shim) GRPCServer(_ *goplugin.GRPCBroker, registrar *grpc.Server) error {
	wire.RegisterBackendServer(registrar, s.server)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin.
func (*shim) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return newClient(conn), nil
}

// abilities returns what a session can do beyond publishing, as the wire says it.
func abilities(s translators.Session) []string {
	var names []string
	if _, ok := translators.Find[translators.Subscriber](s); ok {
		names = append(names, AbilitySubscribe)
	}
	if _, ok := translators.Find[translators.Presencer](s); ok {
		names = append(names, AbilityPresence)
	}
	if _, ok := translators.Find[translators.Querier](s); ok {
		names = append(names, AbilityQuery)
	}
	if _, ok := translators.Find[translators.Previewer](s); ok {
		names = append(names, AbilityPreview)
	}
	return names
}
