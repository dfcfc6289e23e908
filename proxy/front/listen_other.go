//go:build !linux

package front

import (
	"context"
	"fmt"
	"net"
)

// Listen opens the public port, addr being host:port, for Front.Run.
func Listen(ctx context.Context, addr string) ([]net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return []net.Listener{l}, nil
}
