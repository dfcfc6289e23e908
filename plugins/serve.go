package plugins

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"

	"github.com/offramp/offramp/translators"
)

const (
	// maxMessageBytes is gRPC's receive limit in a plugin: batches stay far
	// below it, but its default of 4 MiB is too close to one large event.
	maxMessageBytes = 16 << 20
	// LeaseExpiry is how long a plugin process outlives its gateway.
	LeaseExpiry = 10 * time.Second
	// startPatience is how long a new process waits for its first lease.
	startPatience = time.Minute
	// farewell is how long a process told to end may flush.
	farewell = 5 * time.Second
)

// ErrNotStartedByGateway is returned when a person runs a plugin executable.
var ErrNotStartedByGateway = errors.New("this is a translator plugin: name its path under \"backends\" in a gateway's " +
	"configuration, or try it with: offramp plugin test PATH")

// ErrHostGone is returned when the gateway has died and the plugin followed.
var ErrHostGone = errors.New("the gateway that started this plugin is gone")

// Serve runs a translator as this process until the gateway ends it. It must
// be the last thing a main function does; its error is for the exit status,
// and has been reported to the gateway.
func Serve(t translators.Translator) error {
	handshake := Handshake()
	if os.Getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue {
		return ErrNotStartedByGateway
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: os.Stderr, JSONFormat: true})
	if err := t.Describe().Check(); err != nil {
		err = fmt.Errorf("description of %T: %w", t, err)
		log.Error("plugin cannot start", "error", err.Error())
		return err
	}
	s := newServer(t, newLogger(os.Stderr))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	started := make(chan *grpc.Server, 1)
	go func() { ended <- s.untilTold(ctx, started) }()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{ContractVersion: {serviceName: &shim{server: s}}},
		Logger:           log,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			rpc := grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxMessageBytes))...)
			started <- rpc
			return rpc
		},
	})
	cancel()
	return <-ended
}

// newLogger returns a logger whose lines the gateway reads as its own.
func newLogger(out *os.File) zerolog.Logger {
	return zerolog.New(hclogWriter{out}).With().Logger()
}

// untilTold waits for a reason to end the process, and then ends the server.
func (s *server) untilTold(ctx context.Context, started <-chan *grpc.Server) error {
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	defer signal.Stop(terminate)
	var cause error
	select {
	case <-ctx.Done():
		return nil
	case <-terminate:
	case <-s.lease.lost(ctx):
		cause = ErrHostGone
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	s.drain(flush)
	select {
	case rpc := <-started:
		rpc.Stop()
	case <-ctx.Done():
	}
	return cause
}
