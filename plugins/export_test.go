package plugins

import (
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/translators"
)

// ServeAltered runs a translator as this process like Serve, but with what
// alter makes of the service: a plugin that was not written with this package.
func ServeAltered(t translators.Translator, alter func(wire.BackendServer) wire.BackendServer) {
	served := alter(newServer(t, newLogger(os.Stderr)))
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  Handshake(),
		VersionedPlugins: map[int]goplugin.PluginSet{ContractVersion: {serviceName: &altered{server: served}}},
		Logger:           hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true}),
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

type altered struct {
	shim
	server wire.BackendServer
}

func (a *altered) GRPCServer(_ *goplugin.GRPCBroker, registrar *grpc.Server) error {
	wire.RegisterBackendServer(registrar, a.server)
	return nil
}
