package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptQueues is how many listeners share the port. Each has a queue of
// connections that wait to be accepted, whose length the system limits; where
// it overflows, the peer's kernel tries again only after a second. A storm of
// reconnecting clients is spread over all of them.
const acceptQueues = 4

// Listen opens the public port, addr being host:port, as one or more
// listeners for Front.Run.
func Listen(ctx context.Context, addr string) ([]net.Listener, error) {
	// Listeners that share a port do so with those of other processes as
	// well. One that does not share finds out whether somebody is there.
	probe, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	addr = probe.Addr().String() // with the port that was chosen for port 0
	if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	listeners := make([]net.Listener, 0, acceptQueues)
	for range acceptQueues {
		l, err := sharing.Listen(ctx, "tcp", addr)
		if err != nil {
			for _, l := range listeners {
				err = errors.Join(err, l.Close())
			}
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// sendBuffer bounds what the kernel keeps for a peer that does not read, in
// bytes. Left alone it would grow to some megabytes for each, outside of every
// limit of ours. It is passed on to what the listener accepts.
const sendBuffer = 256 << 10

// sharing is how the port is opened. Keep-alive probes are off, as silent
// peers are found by WebSocket pings and by the HTTP server's timeouts.
var sharing = net.ListenConfig{KeepAlive: -1, Control: socketOptions}

func socketOptions(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer),
		)
	})
	return errors.Join(err, failed)
}
