//go:build !linux

package websocket

import (
	"context"
	"errors"
)

// poller lets no connection rest: each keeps its goroutine.
type poller struct{}

func newPoller() (*poller, error) { return nil, nil }

func (*poller) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (*poller) add(*conn, int) error { return errors.ErrUnsupported }
func (*poller) watch(int) error      { return errors.ErrUnsupported }
func (*poller) forget(*conn, int)    {}
