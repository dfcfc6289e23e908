package plugins

import (
	"context"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/offramp/offramp/plugins/internal/wire"
	"github.com/offramp/offramp/translators"
)

// Local runs a translator in this process, behind the same streams as in a
// process of its own, and returns its client. It is for tests; stop ends it
// and closes its session.
func Local(t translators.Translator) (client *Client, stop func(), err error) {
	listener := bufconn.Listen(1 << 20)
	conn, err := grpc.NewClient("passthrough:local", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		return nil, nil, err
	}
	s := newServer(t, newLogger(os.Stderr))
	rpc := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessageBytes))
	wire.RegisterBackendServer(rpc, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = rpc.Serve(listener) // ends with Stop
	}()
	return newClient(conn), func() {
		_ = conn.Close()
		rpc.Stop()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		s.drain(ctx)
	}, nil
}
