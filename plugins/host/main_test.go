package host_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/ably"
	"github.com/offramp/offramp/translators/faulty"
	"github.com/offramp/offramp/translators/nats"
)

// TestMain makes the test binary a plugin, as the gateway's own binary is, when
// it is run as "BINARY plugin serve NAME", and a host when run as "BINARY host".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && slices.Equal(os.Args[1:3], []string{"plugin", "serve"}) {
		if os.Args[3] == "future" {
			serveFuture()
			return
		}
		if err := plugins.Serve(servable(os.Args[3])); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "host" {
		if err := runHost(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func servable(name string) translators.Translator {
	switch name {
	case "nats":
		return faulty.Wrap(nats.New())
	case "ably":
		return ably.New()
	case "bare":
		return bare{nats.New()}
	case "panics":
		panic("a translator that cannot even be made")
	default:
		return scripted{name: name}
	}
}

// serveFuture is a plugin of a later contract.
func serveFuture() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: plugins.Handshake(), GRPCServer: goplugin.DefaultGRPCServer,
		VersionedPlugins: map[int]goplugin.PluginSet{plugins.ContractVersion + 1: {"backend": futurePlugin{}}},
	})
}

type futurePlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (futurePlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (futurePlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}
