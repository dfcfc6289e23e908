package engine

import (
	"context"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Publication is an event on one or more channels, validated by the caller.
type Publication struct {
	Channels []protocol.ChannelName // distinct
	Name     string
	Data     []byte            // content of the "data" string; kept, so never changed afterwards
	Except   protocol.SocketID // skipped on delivery; empty: nobody
	Origin   proxy.Leg         // where it entered; empty: this engine
}

// Publish accepts an event on each of its channels, in their order. Cache
// channels keep it for newcomers. A nil error means that it was accepted.
func (e *Engine) Publish(ctx context.Context, app *proxy.App, p Publication) error { return nil }

// TerminateUser closes every connection that is signed in as that user, on
// all nodes, with code 4009.
func (e *Engine) TerminateUser(ctx context.Context, app *proxy.App, userID string) error { return nil }
