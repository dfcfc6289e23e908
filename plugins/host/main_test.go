package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/ably"
	"github.com/offramp/offramp/translators/faulty"
	"github.com/offramp/offramp/translators/nats"
)

// TestMain makes the test binary a plugin, as the gateway's own binary is, when
// it is run as "BINARY plugin serve NAME", and a host when run as "BINARY host".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && slices.Equal(os.Args[1:3], []string{"plugin", "serve"}) {
		if strings.HasPrefix(os.Args[3], "speaks-") {
			serveContracts(os.Args[3])
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

// serveContracts is a plugin that speaks the majors in its name, such as
// "speaks-1-2". It can be described, and no more.
func serveContracts(name string) {
	speaks := map[int]goplugin.PluginSet{}
	for major := range strings.SplitSeq(strings.TrimPrefix(name, "speaks-"), "-") {
		n, err := strconv.Atoi(major)
		if err != nil {
			panic(err)
		}
		speaks[n] = goplugin.PluginSet{"backend": contractPlugin{name: "v" + major}}
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: plugins.Handshake(), GRPCServer: goplugin.DefaultGRPCServer, VersionedPlugins: speaks,
		Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true}),
	})
}

type contractPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	wire.UnimplementedBackendServer
	name string
}

func (p contractPlugin) Describe(context.Context, *wire.DescribeRequest) (*wire.DescribeResponse, error) {
	return wire.FromDescription(translators.Description{Name: p.name, Version: "1.0.0"}, 0)
}

func (p contractPlugin) GRPCServer(_ *goplugin.GRPCBroker, registrar *grpc.Server) error {
	wire.RegisterBackendServer(registrar, p)
	return nil
}

func (contractPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this is a plugin")
}
