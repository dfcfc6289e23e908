package plugins

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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

// Contracts are majors of the plugin contract, and how each is spoken. A
// gateway offers several, and go-plugin picks the highest that the plugin has
// in common with it.
type Contracts map[int]goplugin.PluginSet

// Served returns the majors that this release serves: the current one and,
// once there has been another, the one before it, so that plugins outlive a
// gateway's upgrade. There has been none before 1.
func Served() Contracts {
	return Contracts{ContractVersion: {serviceName: &shim{}}}
}

// Serve reports whether a major is among them.
func (c Contracts) Serve(major int) bool { return c[major] != nil }

// Majors returns them, the lowest first.
func (c Contracts) Majors() []int { return slices.Sorted(maps.Keys(c)) }

// ContractError is why a plugin and a gateway cannot talk: they have no major
// version of the contract in common.
type ContractError struct {
	Plugin  int   // what the plugin speaks
	Gateway []int // what the gateway serves, the lowest first
}

// Error implements error: what both speak, and how to fix it.
func (e *ContractError) Error() string {
	texts := make([]string, len(e.Gateway))
	for i, major := range e.Gateway {
		texts[i] = strconv.Itoa(major)
	}
	fix := "rebuild the plugin with github.com/offramp/offramp of the gateway's release"
	if len(e.Gateway) > 0 && e.Plugin > slices.Max(e.Gateway) {
		fix = "upgrade the gateway, or " + fix
	}
	return fmt.Sprintf("the plugin speaks contract version %d, this gateway %s: %s", e.Plugin, strings.Join(texts, " and "), fix)
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
